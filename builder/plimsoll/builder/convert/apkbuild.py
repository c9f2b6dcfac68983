"""Alpine's APKBUILD files: read, never run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from plimsoll.arch import Arch, UnknownArchitectureError
from plimsoll.builder.convert.apksteps import Body, steps_of, subpackage
from plimsoll.builder.convert.draft import ConvertError, Draft
from plimsoll.builder.convert.registry import plain_name
from plimsoll.builder.convert.shell import Script, parse

if TYPE_CHECKING:
    from collections.abc import Iterator

_ARCHIVES = (".tar", ".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".zip")
_PATCHES = (".patch", ".diff")
#: Functions whose bodies become the pipeline, in the order in which abuild runs them.
_FUNCTIONS = ("prepare", "build", "check", "package")
_SUMS = ("sha512sums", "sha256sums")


def convert(text: str) -> Draft:
    """A first configuration.

    Raises:
        ConvertError: it is no APKBUILD.
    """
    try:
        return _draft(parse(text))
    except RecursionError:
        raise ConvertError("it is nested too deeply", hint="this is no APKBUILD") from None


def _draft(script: Script) -> Draft:
    values = script.values
    if missing := [name for name in ("pkgname", "pkgver") if not values.get(name)]:
        raise ConvertError(
            f"it sets no {' and no '.join(missing)}", hint="give the file called APKBUILD"
        )
    draft = Draft(values["pkgname"], values["pkgver"], is_shell=True)
    draft.epoch = int(release) if (release := values.get("pkgrel", "0")).isdecimal() else 0
    draft.description, draft.url = values.get("pkgdesc", ""), values.get("url", "")
    draft.licences = [values.get("license", "")]
    draft.archs = _archs(values.get("arch", ""))
    draft.packages = ["busybox", "build-base"]
    for name in ("makedepends", "makedepends_build", "makedepends_host", "checkdepends"):
        draft.packages += _needs(values.get(name, ""), draft)
    draft.runtime = _needs(values.get("depends", ""), draft)
    draft.provides = values.get("provides", "").split()
    patches = _sources(script, draft)
    for name in _FUNCTIONS:
        if name in script.functions:
            body = Body(script, name, patches)
            if name == "check" and _without_check(script):
                continue
            draft.steps += steps_of(body, draft)
    if patches and "prepare" not in script.functions:
        # What abuild does where there is no such function.
        position = sum(step.get("uses") == "fetch" for step in draft.steps)
        draft.steps.insert(position, {"uses": "patch", "with": {"patches": "\n".join(patches)}})
    draft.steps.append({"uses": "strip"})
    draft.subpackages = [
        subpackage(script, item, draft) for item in values.get("subpackages", "").split()
    ]
    _notes(script, draft)
    return draft


def _without_check(script: Script) -> bool:
    return "options" not in script.unknown and "!check" in script.values.get("options", "").split()


def _notes(script: Script, draft: Draft) -> None:
    if script.fault:
        draft.note(f"line {script.fault} of it is not understood")
    if script.unknown:
        names = ", ".join(sorted(script.unknown))
        draft.note(f"these depend on what only running it would tell: {names}")
    for name in ("install", "triggers", "pkgusers", "pkggroups", "replaces", "install_if"):
        if value := script.values.get(name, "").strip():
            draft.note(f"it sets {name}={value!r}, which is not taken over")
    draft.note("packages are called as in Alpine; other distributions call some otherwise")
    draft.note("it has no test: add 'test:'")


def _archs(text: str) -> list[str]:
    """The architectures that are named; none where all are meant."""
    found = []
    for word in text.split():
        if word in {"all", "noarch"}:
            return []
        try:
            found.append(Arch.parse(word).apk)
        except UnknownArchitectureError:
            continue
    return found


def _needs(text: str, draft: Draft) -> list[str]:
    found = []
    for word in text.split():
        if word.startswith("!"):
            draft.note(f"it conflicts with {word[1:]}")
        else:
            found.append(word)
    return found


def _sources(script: Script, draft: Draft) -> list[str]:
    """Steps that fetch the sources; returns names of patches."""
    sums = dict(_checksums(script))
    patches = []
    archives = 0
    for item in script.values.get("source", "").split():
        name, renamed, url = item.rpartition("::")
        file = name if renamed else url.rpartition("/")[2]
        if "://" not in url:
            if file.endswith(_PATCHES):
                patches.append(file)
            else:
                draft.note(f"put {file} beside the configuration, in a folder of its name")
            continue
        inputs = {"uri": url.replace(draft.version, "${{package.version}}")}
        if file in sums:
            algorithm, digest = sums[file]
            inputs[f"expected-{algorithm}"] = digest
        else:
            draft.note(f"there is no checksum of {file}: add it")
            inputs["expected-none"] = "true"
        if file.endswith(_PATCHES):
            patches.append(file)
        archive = any(end in file for end in _ARCHIVES)
        if not archive or archives:
            inputs["extract"] = "false"
            if archive:
                draft.note(f"{file} is a second archive: unpack it where it belongs")
        archives += archive
        draft.steps.append({"uses": "fetch", "with": inputs})
    if patches:
        draft.packages.append("patch")
        draft.note(f"put {', '.join(patches)} beside it, in a folder {plain_name(draft.name)}")
    return patches


def _checksums(script: Script) -> Iterator[tuple[str, tuple[str, str]]]:
    for variable in reversed(_SUMS):
        lines = script.values.get(variable, "").splitlines()
        for line in lines:
            if match := re.fullmatch(r"\s*([0-9a-f]{64,128})\s+(\S+)\s*", line):
                yield match[2], (variable.removesuffix("sums"), match[1])

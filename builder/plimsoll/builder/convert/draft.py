"""A first configuration of a package, and how it is written."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from plimsoll.builder.licences import NO_ASSERTION, Licences
from plimsoll.builder.package.load import load_text
from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import Sequence

_WIDTH = 100
_MAX_TEXT = 300
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_~-]*")
_ACTS = re.compile(r"[\"'`$\\;|<>(){}\x00-\x09\x0b-\x1f]")


class ConvertError(Error):
    """A project that no configuration can be made of."""

    reason = "CannotConvert"


@dataclass(slots=True)
class Draft:
    """What is known of a package.

    Attributes:
        name: of the package; valid for APK.
        version: as upstream writes it.
        licences: SPDX expressions.
        packages: for the guest.
        steps: the pipeline, as YAML holds it.
        runtime: dependencies.
        variables: ``vars``.
        subpackages: as YAML holds them.
        tests: steps of the test.
        update: how new versions are noticed; empty to leave it out.
        notes: what a person should look at.
        is_shell: it was made from shell script, so steps may hold what shells act on.
    """

    name: str
    version: str
    description: str = ""
    url: str = ""
    licences: Sequence[str] = ()
    packages: list[str] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)
    runtime: list[str] = field(default_factory=list)
    provides: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    subpackages: list[dict[str, Any]] = field(default_factory=list)
    tests: list[dict[str, Any]] = field(default_factory=list)
    update: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    epoch: int = 0
    archs: list[str] = field(default_factory=list)
    is_shell: bool = False

    def note(self, text: str) -> None:
        """Remember something that a person should look at."""
        if text not in self.notes:
            self.notes.append(text)


class _Dumper(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: FBT001, FBT002  (the base class's)
        """Lists are indented below their key."""
        del indentless
        super().increase_indent(flow, indentless=False)

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def write(draft: Draft, source: str) -> str:
    """The configuration as YAML, with what a person should look at on top.

    Args:
        draft: what is known.
        source: what it was made from, for the first line.

    Raises:
        ConvertError: what is known makes no valid configuration.
    """
    _check(draft)
    package: dict[str, Any] = {
        "name": draft.name,
        "version": draft.version,
        "epoch": draft.epoch,
        "description": _one_line(draft.description),
    }
    if draft.url:
        package["url"] = draft.url
    if draft.archs:
        package["target-architecture"] = draft.archs
    package["copyright"] = [{"license": item} for item in _licences(draft)]
    dependencies = {"runtime": draft.runtime, "provides": draft.provides}
    if kept := {key: value for key, value in dependencies.items() if value}:
        package["dependencies"] = kept
    content: dict[str, Any] = {"package": package}
    if draft.variables:
        content["vars"] = draft.variables
    content["environment"] = {"contents": {"packages": sorted(set(draft.packages))}}
    content["pipeline"] = draft.steps
    if draft.subpackages:
        content["subpackages"] = draft.subpackages
    if draft.tests:
        content["test"] = {"pipeline": draft.tests}
    if draft.update:
        content["update"] = draft.update
    parts = [
        yaml.dump(
            {key: value}, Dumper=_Dumper, sort_keys=False, width=_WIDTH, allow_unicode=True
        ).rstrip()
        + "\n"
        for key, value in content.items()
    ]
    head = [f"# Made from {source}. Read it before you build it."]
    head += [f"# - {line}" for note in draft.notes for line in note.splitlines()]
    text = "\n".join(head) + "\n" + "\n".join(parts)
    try:
        load_text(text, f"{draft.name}.yaml")
    except Error as error:
        raise ConvertError(
            f"what is known of {draft.name} makes no valid configuration: {error.message}",
            hint="write it by hand",
        ) from None
    return text


def _check(draft: Draft) -> None:
    """What registries say is put into shell scripts, so it must be nothing that a shell acts on."""
    if not _VERSION.fullmatch(draft.version):
        raise ConvertError(
            f"{draft.version[:40]!r} cannot be the version of a package", hint="write it by hand"
        )
    if draft.is_shell:
        return
    for step in (*draft.steps, *draft.tests):
        for name, value in step.get("with", {}).items():
            left = str(value).replace("${{package.version}}", "")
            if found := _ACTS.search(left):
                raise ConvertError(
                    f"the registry gives {found[0]!r} as part of {name}", hint="write it by hand"
                )


def _one_line(text: str) -> str:
    line = " ".join(text.replace("${{", "{{").split())
    return line if len(line) <= _MAX_TEXT else f"{line[:_MAX_TEXT]}…"


def _licences(draft: Draft) -> list[str]:
    table = Licences()
    found = [table.expression(item) for item in draft.licences if item]
    if not found or NO_ASSERTION in found:
        draft.note("the licence is not known; see the sources")
    elif table.extracted:
        draft.note(f"SPDX does not list the licence: {', '.join(sorted(table.extracted))}")
    return found or [NO_ASSERTION]

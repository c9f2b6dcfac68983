"""A new version of a package: version, epoch, checksums and commits of its configuration."""

from __future__ import annotations

import asyncio
import hashlib
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plimsoll import yaml12
from plimsoll.apk.version import InvalidVersionError, Version
from plimsoll.builder.package.edit import Editor, steps
from plimsoll.builder.package.errors import PackageConfigError
from plimsoll.builder.package.load import load_text
from plimsoll.builder.package.substitute import references, replace_known
from plimsoll.builder.package.variables import as_text, resolve

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from plimsoll.http import Http

    Path_ = tuple[str | int, ...]

MAX_SOURCE = 8 << 30
_SUMS = ("expected-sha256", "expected-sha512")


@dataclass(frozen=True, slots=True)
class Checkout:
    """A ``git-checkout`` that gets a new commit.

    Attributes:
        repository: its URL.
        tag: the tag of the new version, empty where a branch is checked out.
    """

    path: Path_
    repository: str
    tag: str


@dataclass(frozen=True, slots=True)
class Fetch:
    """A ``fetch`` that gets new checksums: where from, and which it has."""

    path: Path_
    uri: str
    sums: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Bump:
    """What a new version asks for.

    Attributes:
        version: the new version.
        epoch: the new epoch.
        fetches: sources whose address changes with the version.
        checkouts: repositories whose tag does.
    """

    version: str
    epoch: int
    fetches: tuple[Fetch, ...]
    checkouts: tuple[Checkout, ...]


def plan(text: str, file: str, version: str) -> Bump:
    """What a new version asks for.

    Args:
        text: the configuration.
        file: names it in errors.
        version: the new version; the same one asks for a new epoch only.

    Raises:
        PackageConfigError: the configuration or the version is not valid.
    """
    document = yaml12.load(text, file)
    raw = document.value if isinstance(document.value, dict) else {}
    package = raw.get("package")
    if not isinstance(package, dict) or not package.get("version"):
        raise PackageConfigError(
            f"{document.place(('package',))}: package.version is missing",
            hint="this is no package configuration",
        )
    old = as_text(package["version"])
    if "${{" in old:
        raise PackageConfigError(
            f"{document.place(('package', 'version'))}: the version is made of variables",
            hint="change the variables",
        )
    try:
        Version.parse(f"{version}-r0")
    except InvalidVersionError as error:
        raise PackageConfigError(f"{version!r} is no version: {error.message}") from None
    epoch = as_text(package.get("epoch"))
    same = old == version
    package["version"] = version
    known = resolve(yaml12.Document(raw, document.places, document.file))
    found = list(steps(raw))
    return Bump(
        version=version,
        epoch=int(epoch if epoch.isdigit() else 0) + 1 if same else 0,
        fetches=() if same else tuple(_fetches(found, raw, known)),
        checkouts=tuple(_checkouts(found, raw, known)),
    )


def _with(step: Mapping[str, Any]) -> dict[str, str]:
    given = step.get("with")
    return {k: as_text(v) for k, v in given.items()} if isinstance(given, dict) else {}


def _fetches(
    found: list[tuple[Path_, dict[str, Any]]], raw: dict[str, Any], known: Mapping[str, str]
) -> list[Fetch]:
    result = []
    for path, step in found:
        given = _with(step)
        sums = tuple(name for name in _SUMS if given.get(name))
        if step["uses"] == "fetch" and sums and _changes(given.get("uri", ""), raw):
            uri = replace_known(given["uri"], known)
            if "${{" in uri:
                raise PackageConfigError(
                    f"the address {uri} of a fetch holds variables that only a build knows",
                    hint="set its checksum by hand",
                )
            result.append(Fetch((*path, "with"), uri, sums))
    return result


def _checkouts(
    found: list[tuple[Path_, dict[str, Any]]], raw: dict[str, Any], known: Mapping[str, str]
) -> list[Checkout]:
    """Those whose tag comes from the version; else the only one."""
    all_ = [(path, _with(step)) for path, step in found if step["uses"] == "git-checkout"]
    chosen = [item for item in all_ if _changes(item[1].get("tag", ""), raw)]
    if not chosen and len(all_) == 1:
        chosen = all_
    return [
        Checkout(
            (*path, "with"),
            replace_known(given.get("repository", ""), known),
            replace_known(given.get("tag", ""), known),
        )
        for path, given in chosen
        if given.get("expected-commit")
    ]


def _changes(text: str, raw: dict[str, Any]) -> bool:
    """Whether a text depends on the version, through variables too."""
    values = raw.get("vars") if isinstance(raw.get("vars"), dict) else {}
    sources = {f"vars.{name}": as_text(value) for name, value in (values or {}).items()}
    for item in raw.get("var-transforms") or []:
        if isinstance(item, dict):
            sources[f"vars.{as_text(item.get('to'))}"] = as_text(item.get("from"))
    seen: set[str] = set()
    pending = references(text)
    while pending:
        name = pending.pop()
        if name in {"package.version", "package.full-version"}:
            return True
        if name not in seen:
            seen.add(name)
            pending += references(sources.get(name, ""))
    return False


async def apply(
    text: str,
    file: str,
    bump: Bump,
    *,
    http: Http,
    commit_of: Callable[[Checkout], Awaitable[str]],
) -> str:
    """The configuration of the new version.

    Args:
        text: the configuration.
        file: names it in errors.
        bump: what ``plan`` said of it.
        http: fetches sources.
        commit_of: the commit of a checkout, empty to leave it as it is.

    Raises:
        Error: a source cannot be had, or the result is not valid.
    """
    editor = Editor(text, file)
    editor.set(("package", "version"), bump.version, quote=True)
    editor.set(("package", "epoch"), str(bump.epoch))
    for fetch in bump.fetches:
        sums = await _checksums(http, fetch.uri)
        for name in fetch.sums:
            editor.set((*fetch.path, name), sums[name])
    for checkout in bump.checkouts:
        commit = await commit_of(checkout)
        if commit:
            editor.set((*checkout.path, "expected-commit"), check_commit(commit))
    result = editor.result()
    load_text(result, file)
    return result


def check_commit(commit: str) -> str:
    """A full commit; raises ``PackageConfigError``."""
    if not re.fullmatch(r"[0-9a-f]{40}", commit):
        raise PackageConfigError(
            f"{commit!r} is no commit: it has 40 hexadecimal digits", hint="give all of it"
        )
    return commit


async def _checksums(http: Http, uri: str) -> dict[str, str]:
    with tempfile.TemporaryDirectory(prefix="plimsoll-bump-") as folder:
        path = Path(folder, "source")
        await http.download(uri, path, max_size=MAX_SOURCE)
        return await asyncio.to_thread(_digests, path)


def _digests(path: Path) -> dict[str, str]:
    result = {}
    for name in _SUMS:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, name.removeprefix("expected-"))
        result[name] = digest.hexdigest()
    return result

"""All that a package was made of, as far as its files tell."""

from __future__ import annotations

import io
import json
import re
from typing import TYPE_CHECKING

from plimsoll.apk.tarfmt import Type
from plimsoll.builder.vendored.archives import is_archive, libraries
from plimsoll.builder.vendored.gobinary import read_go_build
from plimsoll.builder.vendored.model import Component, component
from plimsoll.builder.vendored.rustbinary import crates
from plimsoll.builder.vendored.specifications import composer, gem, is_composer, is_gem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plimsoll.builder.sca.tree import Entry, Tree

_PYTHON = re.compile(
    r"(?:.*/)?[^/]+\.(?:dist-info/METADATA|egg-info/PKG-INFO|egg-info)", re.IGNORECASE
)
_NPM = re.compile(r"(?:.*/)?node_modules/((?:@[^/]+/)?[^/@][^/]*)/package\.json")
_MAX_METADATA = 1 << 20
_MAX_LIST = 32 << 20
#: Most components of one package.
MAX_COMPONENTS = 200_000


def inventory(tree: Tree) -> list[Component]:
    """Modules of Go programs, crates of Rust programs, Python, npm, Ruby, PHP and Java libraries.

    Sorted by path and package URL, without duplicates. What is broken is passed over: this is a
    list of what can be known, not a check.

    Raises:
        OSError: a file cannot be read.
    """
    found: set[Component] = set()
    for entry in tree:
        if entry.type is not Type.FILE:
            continue
        for item in _components(entry):
            if item is not None:
                found.add(item)
        if len(found) > MAX_COMPONENTS:
            break
    return sorted(found, key=lambda item: (item.path, item.purl))


def _components(entry: Entry) -> Iterator[Component | None]:
    path = entry.path
    if entry.elf is not None:
        yield from _go(entry)
        for name, version in crates(entry):
            yield component("cargo", name, version, path)
    elif _PYTHON.fullmatch(path):
        yield _python(entry)
    elif path.endswith("/package.json") and (match := _NPM.fullmatch(path)):
        yield _npm(entry, match[1])
    elif is_gem(path) or is_composer(path):
        yield from _listed(entry)
    elif is_archive(path):
        with entry.open() as source:
            for name, version, place in libraries(io.BufferedReader(source), path):
                kind = "maven" if ":" in name else "generic"
                yield component(kind, name, version, place)


def _go(entry: Entry) -> Iterator[Component | None]:
    build = read_go_build(entry)
    if build is None:
        return
    toolchain = build.version.removeprefix("go").partition(" ")[0]
    if build.version.startswith("go"):
        yield component("golang", "stdlib", toolchain, entry.path)
    for module in (build.main, *build.modules):
        if module is not None:
            yield component("golang", module.path, module.version, entry.path)


def _listed(entry: Entry) -> Iterator[Component | None]:
    """What RubyGems and Composer wrote down."""
    if is_gem(entry.path):
        found = gem(_read(entry))
        yield component("gem", *found, entry.path) if found else None
        return
    for name, version in composer(_read(entry, _MAX_LIST)):
        yield component("composer", name.lower(), version, entry.path)


def _python(entry: Entry) -> Component | None:
    headers: dict[str, str] = {}
    for line in _read(entry).splitlines():
        if not line:
            break
        key, colon, value = line.partition(":")
        if colon and not line[0].isspace():
            headers.setdefault(key.lower(), value.strip())
    return component("pypi", headers.get("name", ""), headers.get("version", ""), entry.path)


def _npm(entry: Entry, directory: str) -> Component | None:
    try:
        found = json.loads(_read(entry))
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    name, version = found.get("name", directory), found.get("version")
    if not isinstance(name, str) or not isinstance(version, str):
        return None
    return component("npm", name, version, entry.path)


def _read(entry: Entry, most: int = _MAX_METADATA) -> str:
    with entry.open() as source:
        return source.read_at(0, most).decode(errors="replace")

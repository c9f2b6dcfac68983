"""Linters that look into files."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from typing import TYPE_CHECKING

from elftools.elf.constants import SH_FLAGS
from elftools.elf.enums import ENUM_E_MACHINE

from plimsoll.apk.tarfmt import Type
from plimsoll.builder.licencefiles import is_licence_file
from plimsoll.builder.sca.elf import RELOCATABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plimsoll.arch import Arch
    from plimsoll.builder.linters.model import LintFacts
    from plimsoll.builder.sca.elf import Elf
    from plimsoll.builder.sca.tree import Entry, Tree

_LIBRARY = re.compile(r".+\.(a|so|dylib)(\..*)?")
_DEBUG = re.compile(r"\.z?debug(_.*)?|\.stab(str)?|\.gnu\.debuglto_.*")
_SITE_PACKAGES = re.compile(r"usr/lib/(python3\.[^/]+)/site-packages/([^/]+)(?:/.*)?")
_NO_MODULE = (".egg-info", ".dist-info", ".pth")
#: Copies of smaller files are not worth a link.
_MIN_DUPLICATE = 1024
_MACHINES = {
    "EM_X86_64": "amd64",
    "EM_AARCH64": "arm64",
    "EM_386": "386",
    "EM_ARM": "arm",
    "EM_PPC64": "ppc64le",
    "EM_S390": "s390x",
    "EM_RISCV": "riscv64",
    "EM_LOONGARCH": "loong64",
}
_MACHINE_NAMES = {
    number: _MACHINES.get(name, name.removeprefix("EM_").lower())
    for name, number in ENUM_E_MACHINE.items()
    if isinstance(number, int)
}


def strip(tree: Tree, facts: LintFacts) -> Iterator[tuple[str, str]]:
    """Programs and libraries with debugging sections, whichever way they are named.

    Sections that are loaded (as Rust's ``.debug_gdb_scripts``) are no debugging information that
    strip(1) would remove, and separate debug files are what they should be.
    """
    if facts.is_a("-dbg", "-debug"):
        return
    for entry, elf in _binaries(tree):
        if elf.type == RELOCATABLE or "lib/debug/" in entry.path:
            continue
        found = [
            s.name
            for s in elf.sections
            if _DEBUG.fullmatch(s.name) and not s.flags & SH_FLAGS.SHF_ALLOC
        ]
        if found:
            yield entry.path, f"is not stripped: it has the section {found[0]}"


def binaryarch(tree: Tree, facts: LintFacts) -> Iterator[tuple[str, str]]:
    """Programs and libraries for processors that the package is not for."""
    supported = {"amd64", "arm64"} | _of(facts.arch)
    for entry, elf in _binaries(tree):
        name = _MACHINE_NAMES.get(elf.machine, f"machine {elf.machine}")
        if name not in supported:
            yield entry.path, f"is compiled for {name}"


def _of(arch: Arch | None) -> set[str]:
    return set() if arch is None else {arch.architecture}


def _binaries(tree: Tree) -> Iterator[tuple[Entry, Elf]]:
    for entry in tree:
        if entry.type is not Type.FILE or entry.path.startswith("var/lib/db/sbom/"):
            continue
        if entry.mode & 0o111 or _LIBRARY.fullmatch(entry.name):
            elf = entry.elf
            if elf is not None:
                yield entry, elf


def duplicate(tree: Tree, facts: LintFacts) -> Iterator[tuple[str, str]]:
    """Files of the same name and content in several directories; hard links are no copies."""
    del facts
    candidates: dict[tuple[str, int], list[Entry]] = defaultdict(list)
    for entry in tree:
        if (
            entry.type is Type.FILE
            and entry.size >= _MIN_DUPLICATE
            and not is_licence_file(entry.path)
        ):
            candidates[entry.name, entry.size].append(entry)
    for entries in candidates.values():
        if len({entry.identity for entry in entries}) < 2:
            continue
        first: dict[bytes, Entry] = {}
        for entry in entries:
            original = first.setdefault(_hash(entry), entry)
            if original.identity != entry.identity:
                yield entry.path, f"is a copy of {original.path} ({entry.size} bytes)"


def _hash(entry: Entry) -> bytes:
    digest = hashlib.sha256()
    with entry.open() as source:
        for block in source.blocks():
            digest.update(block)
    return digest.digest()


def _modules(tree: Tree) -> dict[str, dict[str, str]]:
    """Python version → name in its ``site-packages`` → path."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for entry in tree:
        if match := _SITE_PACKAGES.fullmatch(entry.path):
            found[match[1]].setdefault(match[2], entry.path[: match.end(2)])
    return found


def python_docs(tree: Tree, facts: LintFacts) -> Iterator[tuple[str, str]]:
    """Top-level ``doc`` or ``docs`` among Python modules."""
    del facts
    yield from _named(tree, ("doc", "docs"), "documentation")


def python_test(tree: Tree, facts: LintFacts) -> Iterator[tuple[str, str]]:
    """Top-level ``test`` or ``tests`` among Python modules."""
    del facts
    yield from _named(tree, ("test", "tests"), "tests")


def _named(tree: Tree, names: tuple[str, ...], what: str) -> Iterator[tuple[str, str]]:
    for modules in _modules(tree).values():
        for name in names:
            if name in modules:
                yield modules[name], f"installs {what} as a module of its own"


def python_multiple(tree: Tree, facts: LintFacts) -> Iterator[tuple[str, str]]:
    """More than one Python module, or modules for more than one Python."""
    del facts
    versions = _modules(tree)
    if len(versions) > 1:
        yield "", f"the package has modules for several versions: {', '.join(sorted(versions))}"
    for version, modules in versions.items():
        # A module may be a directory, a file, and a library for it.
        names = {
            name.partition(".")[0]
            for name in modules
            if not name.startswith("_")
            and not name.endswith(_NO_MODULE)
            and name not in {"test", "tests", "doc", "docs"}
        } - {""}
        if len(names) > 1:
            yield (
                f"usr/lib/{version}/site-packages",
                f"holds {len(names)} modules: {', '.join(sorted(names)[:20])}",
            )

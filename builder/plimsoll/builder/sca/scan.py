"""The dependency scan: what a package needs and offers, read from its files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.apk.tarfmt import Type
from plimsoll.builder.sca.kernel import scan_kernel
from plimsoll.builder.sca.languages import scan_languages
from plimsoll.builder.sca.libraries import LibraryScan
from plimsoll.builder.sca.model import Dependencies, Facts, Findings, name_of
from plimsoll.builder.sca.paths import COMMANDS, PKGCONFIG, SCRIPTS, is_in, loader_directories
from plimsoll.builder.sca.pkgconf import MAX_FILE, requirements
from plimsoll.builder.sca.shebang import interpreter
from plimsoll.builder.vendored.gobinary import needs_fips_openssl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plimsoll.builder.sca.tree import Entry, Tree


def scan(tree: Tree, facts: Facts, relatives: Sequence[Tree] = ()) -> Dependencies:
    """Scan one package.

    Args:
        tree: its files.
        facts: what is known of it.
        relatives: the other packages of the same build, for links into them.

    Returns:
        What the files say. What the package satisfies itself is still among its needs; see
        ``Dependencies.settled``.

    Raises:
        OSError: a file cannot be read.
    """
    out = Findings()
    trees = (tree, *relatives)
    libraries = LibraryScan(tree, facts, trees, loader_directories(trees))
    for entry in tree:
        if entry.type is Type.SYMLINK:
            libraries.link(entry, out)
        elif entry.type is Type.FILE:
            _file(entry, facts, libraries, out)
    scan_languages(tree, facts, out)
    scan_kernel(tree, out)
    if facts.name.endswith("-doc"):
        _documentation(tree, out)
    return _result(out, facts)


def _file(entry: Entry, facts: Facts, libraries: LibraryScan, out: Findings) -> None:
    path = entry.path
    if entry.mode & 0o555 == 0o555 and is_in(path, COMMANDS):
        out.provide("cmd:", entry.name, facts.version, path, vendored=False)
    if entry.name.endswith(".pc"):
        _pkgconfig(entry, facts, out)
        return
    elf = entry.elf
    if elf is not None:
        libraries.file(entry, elf, out)
        if needs_fips_openssl(entry):
            # Such a program loads the library at run time, so no header names it.
            out.runtime |= {"openssl-config-fipshardened", "so:libcrypto.so.3"}
    elif entry.elf_fault:
        out.notes.add(f"{path} begins as an ELF file, but {entry.elf_fault}; not scanned")
    elif is_in(path, SCRIPTS):
        command = interpreter(entry.head)
        if command:
            out.need("cmd:", command, path)


def _pkgconfig(entry: Entry, facts: Facts, out: Findings) -> None:
    name = entry.name.removesuffix(".pc")
    vendored = not is_in(entry.path, PKGCONFIG)
    out.provide("pc:", name, facts.version, entry.path, vendored=vendored)
    if vendored:
        return
    with entry.open() as source:
        text = source.read_at(0, MAX_FILE).decode(errors="replace")
    for required in requirements(text):
        out.need("pc:", required, entry.path)


def _documentation(tree: Tree, out: Findings) -> None:
    for entry in tree:
        if entry.path.startswith("usr/share/man/"):
            out.runtime.add("man-db")
        elif entry.path.startswith("usr/share/info/"):
            out.runtime.add("texinfo")


def _result(out: Findings, facts: Facts) -> Dependencies:
    own = frozenset(name_of(p) for p in (*out.provides, *out.vendored)) | {facts.name}
    options = facts.options
    runtime, provides = out.runtime, out.provides
    if options.no_commands:
        runtime = {need for need in runtime if not need.startswith("cmd:")}
        provides = {offer for offer in provides if not offer.startswith("cmd:")}
    return Dependencies(
        runtime=() if options.no_depends else tuple(sorted(runtime)),
        provides=() if options.no_provides else tuple(sorted(provides)),
        vendored=tuple(sorted(out.vendored)),
        own=own,
        notes=tuple(sorted(out.notes)),
    )

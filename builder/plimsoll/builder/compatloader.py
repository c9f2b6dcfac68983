"""``/etc/ld.so.cache`` as the reference writes it: from fewer folders, and with less in it."""

from __future__ import annotations

import fnmatch
import posixpath
import re
import struct
from typing import TYPE_CHECKING, NamedTuple

from plimsoll.apk.tarfmt import Type
from plimsoll.arch import Arch
from plimsoll.builder.ldcache import CONFIG, PATH, TreeFile, add_loader_cache
from plimsoll.builder.unstable import sort_unstable

if TYPE_CHECKING:
    from plimsoll.builder.node import Node
    from plimsoll.builder.tree import Tree

#: The reference knows the libraries of these architectures; for others it makes no image.
_FLAGS = {Arch.AMD64: 0x0303, Arch.ARM64: 0x0A03}
_MACHINES = {Arch.AMD64: "EM_X86_64", Arch.ARM64: "EM_AARCH64"}
_LIBRARY = re.compile(r"(?:lib|ld-).*?\.so(?:\..+)?")


class _Library(NamedTuple):
    name: str
    path: str


def add_compat_loader_cache(tree: Tree, arch: Arch) -> None:
    """Write the cache, where there is an ``/etc/ld.so.conf``."""
    if arch not in _FLAGS:
        add_loader_cache(tree, arch, hwcaps=False)
        return
    if tree.resolve(CONFIG) is None:
        return
    found = [
        library
        for folder in ("/lib", *_configured(tree, CONFIG))
        for library in _libraries(tree, folder, arch)
    ]
    sort_unstable(found, lambda one, other: other.name < one.name)
    node = tree.overwrite(PATH, _encode(found, _FLAGS[arch]))
    tree.change(node, mode=0o644)


def _configured(tree: Tree, path: str) -> list[str]:
    """The folders of a file; at the first file that it includes the reference stops reading."""
    node = tree.resolve(path)
    if node is None or node.kind is Type.DIRECTORY:
        return []
    folders: list[str] = []
    for raw in tree.content(node).decode(errors="replace").splitlines():
        line = raw.partition("#")[0].strip()
        if line.startswith("include "):
            pattern = line.removeprefix("include ").strip().lstrip("/")
            for name in _matching(tree, pattern):
                folders += _configured(tree, name) if name != path else []
            return folders
        if line and line not in folders:
            folders.append(line)
    return folders


def _matching(tree: Tree, pattern: str) -> list[str]:
    folder, name = posixpath.split(pattern)
    return [
        f"{folder}/{found}".lstrip("/")
        for found, _ in _inside(tree, folder)
        if fnmatch.fnmatchcase(found, name)
    ]


def _inside(tree: Tree, folder: str) -> list[tuple[str, Node]]:
    """Names in a folder, with what lies there; sorted."""
    real = tree.real(folder, last=True)
    start = len(real) + 1 if real else 0
    return sorted(
        (node.path[start:], node) for node in tree.children(real) if "/" not in node.path[start:]
    )


def _libraries(tree: Tree, folder: str, arch: Arch) -> list[_Library]:
    from elftools.elf.enums import ENUM_E_MACHINE, ENUM_E_TYPE  # noqa: PLC0415  (with glibc only)

    from plimsoll.builder.sca.elf import ElfError, read_elf  # noqa: PLC0415

    found = []
    for name, node in _inside(tree, folder):
        target = tree.resolve(node.path)
        if (
            not _LIBRARY.fullmatch(name)
            or target is None
            or target.kind not in {Type.FILE, Type.HARDLINK}
        ):
            continue
        try:
            elf = read_elf(TreeFile(tree, target), sections=False)
        except (ElfError, OverflowError):
            continue
        if elf is None or (elf.type, elf.machine) != (
            ENUM_E_TYPE["ET_DYN"],
            ENUM_E_MACHINE[_MACHINES[arch]],
        ):
            continue
        soname = elf.soname or (name if name.endswith(".so") else "")
        if soname and name in {soname, _developer_name(soname)}:
            found.append(_Library(name, posixpath.join("/", folder.strip("/"), name)))
    return found


def _developer_name(soname: str) -> str:
    """``libfoo.so`` for ``libfoo.so.1``."""
    stem = soname.removesuffix(".so") if soname.endswith(".so") else soname.rpartition(".so.")[0]
    return f"{stem}.so"


def _encode(libraries: list[_Library], flags: int) -> bytes:
    start = 48 + 24 * len(libraries)
    strings = b""
    rows = b""
    for item in libraries:
        value = start + len(strings)
        key = value + len(posixpath.dirname(item.path).encode()) + 1
        rows += struct.pack("<IIIIQ", flags, key, value, 0, 0)
        strings += item.path.encode() + b"\0"
    head = struct.pack("<20sII20x", b"glibc-ld.so.cache1.1", len(libraries), len(strings))
    content = head + rows + strings
    return content + bytes(16 - len(content) % 16)

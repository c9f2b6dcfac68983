"""The cache of glibc's dynamic loader, ``/etc/ld.so.cache``, as ``ldconfig`` would leave it.

The format is glibc's ``glibc-ld.so.cache1.1`` in the byte order of the architecture: a header, the
entries in the loader's own order (descending), a table of strings, and an extension with the
writer's name and the names of the ``glibc-hwcaps`` folders that entries belong to.
"""

from __future__ import annotations

import fnmatch
import posixpath
import re
import struct
from typing import TYPE_CHECKING, NamedTuple

from plimsoll.apk.tarfmt import Type
from plimsoll.arch import Arch
from plimsoll.builder.node import TreeError
from plimsoll.builder.segment import Reader

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from plimsoll.builder.node import Node
    from plimsoll.builder.tree import Tree

PATH = "etc/ld.so.cache"
CONFIG = "etc/ld.so.conf"
_MAGIC = b"glibc-ld.so.cache1.1"
_EXTENSION_MAGIC = 0xEAA42174
_WRITER = b"plimsoll"
_LIBC6 = 3
_HWCAPS = "glibc-hwcaps"
#: Marks an entry with a condition; the lower half is the number of its name.
_CONDITION = 1 << 62
_SYSTEM = ("lib", "usr/lib", "lib64", "usr/lib64")
_LIBRARY = re.compile(r"(?:(?:lib|ld-).*\.so|ld(?:64)?\.so\.).*")
_NOT_A_LIBRARY = re.compile(r".*(?:-gdb\.py|\.dpkg-(?:new|tmp)|\.debug)")
_MAX_INCLUDES = 1000


class _Abi(NamedTuple):
    """ELF machine and class, and the flag by which the loader knows its own libraries."""

    machine: str
    bits: int
    flag: int
    little: bool = True


_ABIS = {
    Arch.X86: _Abi("EM_386", 32, 0x0000),
    Arch.AMD64: _Abi("EM_X86_64", 64, 0x0300),
    Arch.ARM64: _Abi("EM_AARCH64", 64, 0x0A00),
    Arch.ARMV6: _Abi("EM_ARM", 32, 0x0900),
    Arch.ARMV7: _Abi("EM_ARM", 32, 0x0900),
    Arch.LOONG64: _Abi("EM_LOONGARCH", 64, 0x1200),
    Arch.PPC64LE: _Abi("EM_PPC64", 64, 0x0500),
    Arch.RISCV64: _Abi("EM_RISCV", 64, 0x1000),
    Arch.S390X: _Abi("EM_S390", 64, 0x0400, little=False),
}


class Library(NamedTuple):
    """One entry: the name that programs ask for, and where the file is (absolute).

    ``hwcaps`` names what a processor must be able to, as the folder below ``glibc-hwcaps`` does.
    """

    name: str
    path: str
    hwcaps: str = ""


def add_loader_cache(tree: Tree, arch: Arch, *, hwcaps: bool = True) -> None:
    """Write the cache, where ``/etc/ld.so.conf`` says that there is a glibc to use it.

    Args:
        tree: the image.
        arch: its architecture.
        hwcaps: look into ``glibc-hwcaps`` folders too.
    """
    if _resolved(tree, CONFIG) is None:
        return
    abi = _ABIS[arch]
    found: list[Library] = []
    for folder in _folders(tree):
        found += _libraries(tree, folder, abi)
        for name in _hwcaps(tree, folder) if hwcaps else ():
            inner = _libraries(tree, f"{folder}/{_HWCAPS}/{name}", abi)
            found += [item._replace(hwcaps=name) for item in inner]
    tree.overwrite(PATH, encode(found, arch))


def encode(libraries: Iterable[Library], arch: Arch) -> bytes:
    """The cache file.

    Args:
        libraries: in order of preference: of two with one name the first is used.
        arch: whose byte order and flag.
    """
    abi = _ABIS[arch]
    order = "<" if abi.little else ">"
    # Sorting is stable, so equal names keep their order of preference. The loader stops at the
    # first plain entry of a name: those with conditions stand before it.
    ordered = sorted(libraries, key=lambda item: (not item.hwcaps, item.hwcaps))
    ordered = sorted(ordered, key=lambda item: _rank(item.name), reverse=True)
    ordered = [item for _, group in _groups(ordered) for item in group]
    names = sorted({item.hwcaps for item in ordered if item.hwcaps})
    start = 48 + 24 * len(ordered)
    strings = bytearray()
    places: dict[str, int] = {}

    def place(text: str) -> int:
        if text not in places:
            places[text] = start + len(strings)
            strings.extend(text.encode() + b"\0")
        return places[text]

    rows = b""
    for item in ordered:
        value = place(item.path)
        # A name that ends the path is found there.
        inside = item.path.endswith(f"/{item.name}")
        key = (
            value + len(item.path.encode()) - len(item.name.encode())
            if inside
            else place(item.name)
        )
        condition = _CONDITION | names.index(item.hwcaps) if item.hwcaps else 0
        rows += struct.pack(f"{order}iIIIQ", _LIBC6 | abi.flag, key, value, 0, condition)
    conditions = struct.pack(f"{order}{len(names)}I", *map(place, names))
    extension = start + len(strings) + (-len(strings) % 4)
    head = struct.pack(
        f"{order}20sIIB3xI12x",
        _MAGIC,
        len(ordered),
        len(strings),
        2 if abi.little else 3,
        extension,
    )
    # Sections: the writer (tag 0), and the names of conditions (tag 1).
    after = extension + 8 + 16 * (2 if names else 1)
    tail = struct.pack(f"{order}II", _EXTENSION_MAGIC, 2 if names else 1)
    tail += struct.pack(f"{order}IIII", 0, 0, after + len(conditions), len(_WRITER))
    if names:
        tail += struct.pack(f"{order}IIII", 1, 0, after, len(conditions))
    return head + rows + bytes(strings) + bytes(-len(strings) % 4) + tail + conditions + _WRITER


def _groups(ordered: Sequence[Library]) -> list[tuple[str, list[Library]]]:
    """Runs of one name; the same file under one name counts once."""
    groups: dict[str, dict[Library, None]] = {}
    for item in ordered:
        groups.setdefault(item.name, {})[item] = None
    return [(name, list(items)) for name, items in groups.items()]


def _rank(name: str) -> tuple[tuple[int, int], ...]:
    """The loader's order of names: numbers by value, and after all other characters."""
    return tuple(
        (256, int(part)) if part.isdecimal() else (ord(part), 0)
        for part in re.findall(r"[0-9]+|[^0-9]", name)
    )


def _folders(tree: Tree) -> Iterator[str]:
    """Folders with libraries, each once, those of the configuration first."""
    seen = set()
    for folder in (*_configured(tree, CONFIG, set()), *_SYSTEM):
        node = _resolved(tree, folder)
        if node is None or node.path in seen or node.kind is not Type.DIRECTORY:
            continue
        seen.add(node.path)
        yield folder.strip("/")


def _resolved(tree: Tree, path: str) -> Node | None:
    """What lies at a path; nothing where links lead in a circle, as to the loader."""
    try:
        return tree.resolve(path)
    except TreeError:
        return None


def _configured(tree: Tree, path: str, read: set[str]) -> Iterator[str]:
    """The folders of a configuration file and of those that it includes, each file once."""
    node = _resolved(tree, path)
    if node is None or node.kind is not Type.FILE or node.path in read or len(read) > _MAX_INCLUDES:
        return
    read.add(node.path)
    for raw in tree.content(node).decode(errors="replace").splitlines():
        line = raw.partition("#")[0].strip()
        word, *rest = line.split() or [""]
        if word == "include":
            for pattern in rest:
                full = (
                    pattern if pattern.startswith("/") else f"{posixpath.dirname(path)}/{pattern}"
                )
                full = full.strip("/")
                parent = _resolved(tree, posixpath.dirname(full))
                if parent is None:
                    continue
                names = sorted(
                    item.path
                    for item in tree.children(parent.path)
                    if fnmatch.fnmatchcase(posixpath.basename(item.path), posixpath.basename(full))
                    and posixpath.dirname(item.path) == parent.path
                )
                for name in names:
                    yield from _configured(tree, name, read)
        elif line and word != "hwcap":
            for folder in re.split(r"[\s:,]+", line):
                if folder.startswith("/"):
                    yield folder.partition("=")[0]


def _hwcaps(tree: Tree, folder: str) -> list[str]:
    """Names of the folders with libraries for certain processors; they do not nest."""
    parent = _resolved(tree, f"{folder}/{_HWCAPS}")
    if parent is None:
        return []
    found = []
    for node in tree.children(parent.path):
        name = node.path[len(parent.path) + 1 :]
        target = _resolved(tree, node.path) if "/" not in name else None
        if target is not None and target.kind is Type.DIRECTORY and name.isprintable():
            found.append(name)
    return sorted(found)


def _libraries(tree: Tree, folder: str, abi: _Abi) -> list[Library]:
    real = tree.real(folder, last=True)
    below = f"{real}/"
    found: dict[str, Library] = {}
    # A library has two links or three, and is read once.
    names: dict[str, str | None] = {}
    for node in sorted(tree.children(real), key=lambda n: n.path):
        name = node.path[len(below) :]
        if "/" in name or not _LIBRARY.fullmatch(name) or _NOT_A_LIBRARY.fullmatch(name):
            continue
        target = _resolved(tree, node.path)
        if target is None or target.kind not in {Type.FILE, Type.HARDLINK}:
            continue
        if target.path not in names:
            names[target.path] = _soname(tree, target, abi)
        own = names[target.path]
        if own is None:
            continue
        # A link for developers keeps its own name, so that dlopen() finds it.
        soname = name if node.kind is Type.SYMLINK and name.endswith(".so") else own or name
        place = soname if _resolved(tree, f"{real}/{soname}") is not None else name
        found.setdefault(soname, Library(soname, f"/{folder}/{place}"))
    return list(found.values())


def _soname(tree: Tree, node: Node, abi: _Abi) -> str | None:
    """The name that a shared library has for itself, ``""`` for none; ``None`` if it is none."""
    from elftools.elf.enums import ENUM_E_MACHINE, ENUM_E_TYPE  # noqa: PLC0415  (with glibc only)

    from plimsoll.builder.sca.elf import ElfError, read_elf  # noqa: PLC0415

    try:
        elf = read_elf(TreeFile(tree, node), sections=False)
    except (ElfError, OverflowError):
        # Whatever is no sound library is nothing for the loader either.
        return None
    if elf is None or (elf.type, elf.machine, elf.bits, elf.little) != (
        ENUM_E_TYPE["ET_DYN"], ENUM_E_MACHINE[abi.machine], abi.bits, abi.little,
    ):  # fmt: skip
        return None
    return elf.soname if re.fullmatch(r"[^\x00-\x20/\x7f]{1,255}", elf.soname) else ""


class TreeFile:
    """A file of a tree, read in parts: libraries may have hundreds of megabytes."""

    def __init__(self, tree: Tree, node: Node) -> None:
        self._tree = tree
        self._node = node
        self._reader = Reader()

    def read_at(self, offset: int, size: int) -> bytes:
        """Up to ``size`` bytes from ``offset``; fewer at the end, none behind it."""
        return self._tree.part(self._node, offset, size, self._reader)

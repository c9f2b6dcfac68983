"""What shared libraries export, and what a new build of them takes away."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from elftools.elf.enums import ENUM_ST_INFO_BIND, ENUM_ST_VISIBILITY

from plimsoll.apk.tarfmt import Type
from plimsoll.builder.sca.paths import LIBRARIES, is_in, loader_directories

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from plimsoll.builder.sca.elf import Elf
    from plimsoll.builder.sca.source import Source
    from plimsoll.builder.sca.tree import Entry, Tree

#: Bytes of one table that are read; those of the largest libraries have some 20 MB.
MAX_TABLE = 128 << 20
_MAX_NAME = 1 << 16
_BINDINGS = frozenset(
    ENUM_ST_INFO_BIND[name] for name in ("STB_GLOBAL", "STB_WEAK", "STB_LOOS")
)  # STB_LOOS is STB_GNU_UNIQUE
_HIDDEN = frozenset((ENUM_ST_VISIBILITY["STV_HIDDEN"], ENUM_ST_VISIBILITY["STV_INTERNAL"]))
#: Version names that a library defines for nobody but itself.
_PRIVATE = re.compile(r".*(_PRIVATE|_PRIV)\b.*|GLIBC_PRIVATE")


@dataclass(frozen=True, slots=True)
class AbiChange:
    """What programs built against the old libraries would miss.

    Attributes:
        sonames: libraries that are gone.
        symbols: soname → symbols that are gone from a library that is still there.
    """

    sonames: tuple[str, ...] = ()
    symbols: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.sonames or self.symbols)


def exported(tree: Tree) -> dict[str, frozenset[str]]:
    """Soname → symbols (``name`` or ``name@VERSION``) of each library that a package offers.

    Raises:
        OSError: a file cannot be read.
    """
    directories = (*LIBRARIES, *loader_directories([tree]))
    found: dict[str, frozenset[str]] = {}
    for entry in tree:
        if entry.type is Type.FILE and is_in(entry.path, directories):
            elf = entry.elf
            if elf is not None and elf.soname:
                found[elf.soname] = exports(entry)
    return found


def compare(old: Mapping[str, Iterable[str]], new: Mapping[str, Iterable[str]]) -> AbiChange:
    """What the old libraries had and the new ones have not. Both as ``exported`` returns them.

    Symbols of versions that are marked as private do not count.
    """
    symbols = []
    for soname in sorted(old.keys() & new.keys()):
        gone = {s for s in set(old[soname]) - set(new[soname]) if not _private(s)}
        if gone:
            symbols.append((soname, tuple(sorted(gone))))
    return AbiChange(tuple(sorted(old.keys() - new.keys())), tuple(symbols))


def exports(entry: Entry) -> frozenset[str]:
    """Symbols that a library offers; empty for all other files, and for broken ones."""
    elf = entry.elf
    if elf is None:
        return frozenset()
    with entry.open() as source:
        try:
            return frozenset(_symbols(source, elf))
        except struct.error:
            return frozenset()


def _private(symbol: str) -> bool:
    return bool(_PRIVATE.fullmatch(symbol.partition("@")[2]))


def _symbols(source: Source, elf: Elf) -> Iterator[str]:
    order = "<" if elf.little else ">"
    strings = _table(source, elf, ".dynstr")
    form = struct.Struct(f"{order}IBBHQQ" if elf.bits == 64 else f"{order}IIIBBH")
    raw = _table(source, elf, ".dynsym")
    numbers = _table(source, elf, ".gnu.version")
    versions = dict(_versions(_table(source, elf, ".gnu.version_d"), order, strings))
    for index, fields in enumerate(form.iter_unpack(raw[: len(raw) // form.size * form.size])):
        if elf.bits == 64:
            name_at, info, other, section, *_ = fields
        else:
            name_at, _, _, info, other, section = fields
        if not section or info >> 4 not in _BINDINGS or other & 3 in _HIDDEN:
            continue
        name = _text(strings, name_at)
        if not name:
            continue
        number = numbers[2 * index : 2 * index + 2]
        # The highest bit says that the version is not the default one; that is no matter here.
        key = struct.unpack(f"{order}H", number)[0] & 0x7FFF if len(number) == 2 else 1
        version = versions.get(key, "")
        yield f"{name}@{version}" if version else name


def _versions(raw: bytes, order: str, strings: bytes) -> Iterator[tuple[int, str]]:
    """Number and name of each version that the library defines (LSB, symbol versioning)."""
    definition, auxiliary = struct.Struct(f"{order}HHHHIII"), struct.Struct(f"{order}II")
    place = 0
    for _ in range(len(raw) // definition.size):
        _, flags, number, count, _, at, after = definition.unpack_from(raw, place)
        # The first one (VER_FLG_BASE) names the library itself.
        if count and not flags & 1:
            yield number, _text(strings, auxiliary.unpack_from(raw, place + at)[0])
        if not after:
            return
        place += after


def _table(source: Source, elf: Elf, name: str) -> bytes:
    section = elf.section(name)
    return source.read_at(section.offset, min(section.size, MAX_TABLE)) if section else b""


def _text(strings: bytes, place: int) -> str:
    end = strings.find(b"\0", place, place + _MAX_NAME)
    return strings[place:end].decode("latin-1") if end > place else ""

"""Modules that a Go program was linked from (``debug/buildinfo``)."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plimsoll.builder.sca.elf import Elf
    from plimsoll.builder.sca.source import Source
    from plimsoll.builder.sca.tree import Entry

_MAGIC = b"\xff Go buildinf:"
#: Bytes of module information that are read; real ones have some 100 KB.
MAX_INFO = 8 << 20
_MAX_HEADER = 32
_FIPS = frozenset(("boringcrypto", "systemcrypto", "opensslcrypto"))


@dataclass(frozen=True, slots=True)
class GoModule:
    """One module: import path and version, ``""`` if it was built from a directory."""

    path: str
    version: str


@dataclass(frozen=True, slots=True)
class GoBuild:
    """What a Go program says about its build.

    Attributes:
        version: of the toolchain: ``go1.22.3``.
        main: the module of the program, ``None`` if it is not known.
        modules: the modules it depends on, with replacements in their place.
        settings: build settings, such as ``CGO_ENABLED`` → ``1``.
    """

    version: str
    main: GoModule | None = None
    modules: tuple[GoModule, ...] = ()
    settings: dict[str, str] = field(default_factory=dict)


def read_go_build(entry: Entry) -> GoBuild | None:
    """What a Go program says about its build; ``None`` for all other files."""
    elf = entry.elf
    section = elf.section(".go.buildinfo") if elf is not None else None
    if elf is None or section is None:
        return None
    with entry.open() as source:
        strings = _strings(source, elf, section.offset, section.size)
    if strings is None:
        return None
    version, information = strings
    # The linker puts 16 bytes of marker around it.
    if len(information) >= 33 and information[-17:-16] == b"\n":
        information = information[16:-16]
    else:
        information = b""
    return _parse(version.decode(errors="replace"), information.decode(errors="replace"))


def needs_fips_openssl(entry: Entry) -> bool:
    """Whether a Go program was built to load OpenSSL at run time for its cryptography."""
    build = read_go_build(entry)
    if build is None or build.settings.get("CGO_ENABLED") != "1":
        return False
    experiments = build.settings.get("GOEXPERIMENT", "").split(",")
    return bool(_FIPS.intersection(experiments)) or (
        build.settings.get("microsoft_systemcrypto") == "1"
    )


def _strings(source: Source, elf: Elf, offset: int, size: int) -> tuple[bytes, bytes] | None:
    head = source.read_at(offset, _MAX_HEADER)
    if not head.startswith(_MAGIC) or len(head) < _MAX_HEADER:
        return None
    if head[15] & 2:  # since Go 1.18 the strings stand right behind the header
        data = source.read_at(offset + _MAX_HEADER, min(size, MAX_INFO))
        version, rest = _prefixed(data)
        return version, _prefixed(rest)[0]
    word = struct.Struct((">" if head[15] & 1 else "<") + ("Q" if head[14] == 8 else "I"))
    found = []
    for start in (16, 16 + word.size):
        (address,) = word.unpack_from(head, start)
        header = source.read_at(elf.offset(address), 2 * word.size)
        if len(header) < 2 * word.size:
            return None
        (text,), (length,) = word.unpack_from(header), word.unpack_from(header, word.size)
        found.append(source.read_at(elf.offset(text), min(length, MAX_INFO)))
    return found[0], found[1]


def _prefixed(data: bytes) -> tuple[bytes, bytes]:
    """A string behind its length (a varint), and what follows."""
    length = shift = 0
    for index, byte in enumerate(data[:5]):
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            end = index + 1 + length
            return (data[index + 1 : end], data[end:]) if end <= len(data) else (b"", b"")
    return b"", b""


def _parse(version: str, information: str) -> GoBuild:
    main: GoModule | None = None
    modules: list[GoModule] = []
    settings: dict[str, str] = {}
    replaceable = False
    for line in information.split("\n"):
        kind, *words = line.split("\t")
        if kind in {"mod", "dep"} and len(words) >= 2:
            module = GoModule(words[0], _released(words[1]))
            replaceable = kind == "dep"
            if replaceable:
                modules.append(module)
            else:
                main = module
        elif kind == "=>" and len(words) >= 2 and replaceable:
            modules[-1] = GoModule(words[0], _released(words[1]))
        elif kind == "build" and words:
            key, _, value = words[0].partition("=")
            settings[key] = value.strip('"`')
    return GoBuild(version, main, tuple(modules), settings)


def _released(version: str) -> str:
    return "" if version == "(devel)" else version

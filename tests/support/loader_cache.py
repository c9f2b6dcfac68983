"""Reading ``ld.so.cache``, and libraries to make one of."""

from __future__ import annotations

import struct
from typing import NamedTuple

from elf_files import elf
from plimsoll.arch import Arch

Row = tuple[int, str, str] | tuple[int, str, str, str]


def parse(data: bytes, order: str = "<") -> tuple[list[Row], bytes]:
    """Entries (flags, name, path, and what a processor must have), and who wrote it."""
    magic, count, strings, flags, extension = struct.unpack_from(f"{order}20sIIB3xI", data)
    assert magic == b"glibc-ld.so.cache1.1"
    assert flags == (2 if order == "<" else 3)

    def text(place: int) -> str:
        assert 48 + 24 * count <= place < 48 + 24 * count + strings
        return data[place : data.index(b"\0", place)].decode()

    rows = []
    for number in range(count):
        flag, key, value, system, hwcap = struct.unpack_from(
            f"{order}iIIIQ", data, 48 + 24 * number
        )
        assert system == 0
        rows.append((flag, text(key), text(value), hwcap))
    mark, sections = struct.unpack_from(f"{order}2I", data, extension)
    assert mark == 0xEAA42174
    found = {}
    for number in range(sections):
        tag, _, place, size = struct.unpack_from(f"{order}4I", data, extension + 8 + 16 * number)
        found[tag] = data[place : place + size]
        assert place + size <= len(data)
    names = [text(place) for (place,) in struct.iter_unpack(f"{order}I", found.get(1, b""))]
    shown: list[Row] = []
    for flag, key, value, hwcap in rows:
        assert hwcap == 0 or hwcap >> 32 == 1 << 30
        condition = (names[hwcap & 0xFFFFFFFF],) if hwcap else ()
        shown.append((flag, key, value, *condition))
    return shown, found[0]


class Machine(NamedTuple):
    """How an architecture marks libraries: ``e_machine``, class, byte order, ``e_flags``."""

    arch: Arch
    number: int
    bits: int = 64
    big: bool = False
    flags: int = 0

    def library(self, soname: str = "") -> bytes:
        """A library that uses the C library, as all real ones do."""
        return elf(
            machine=self.number,
            bits=self.bits,
            big=self.big,
            flags=self.flags,
            soname=soname,
            needed=("libc.so.6",),
        )

    @property
    def order(self) -> str:
        """Byte order, as ``struct`` has it."""
        return ">" if self.big else "<"


#: Debian's name of each architecture that glibc has in Debian.
MACHINES = {
    "amd64": Machine(Arch.AMD64, 62),
    "arm64": Machine(Arch.ARM64, 183),
    "armhf": Machine(Arch.ARMV7, 40, 32, flags=0x5000400),
    "i386": Machine(Arch.X86, 3, 32),
    "loong64": Machine(Arch.LOONG64, 258, flags=0x43),
    "ppc64el": Machine(Arch.PPC64LE, 21, flags=2),
    "riscv64": Machine(Arch.RISCV64, 243, flags=5),
    "s390x": Machine(Arch.S390X, 22, big=True),
}

#: Links of the sample: path → target.
LINKS = {"lib/libx.so.1": "libx.so.1.2", "lib/libx.so": "libx.so.1"}


def sample(machine: Machine) -> dict[str, bytes]:
    """Files of a small system: path → content. It has ``LINKS`` too."""
    library = machine.library
    return {
        "lib/libx.so.1.2": library("libx.so.1"),
        "lib/glibc-hwcaps/better/libx.so.1.2": library("libx.so.1"),
        "lib/glibc-hwcaps/best/libx.so.1": library("libx.so.1"),
        "lib/glibc-hwcaps/best/liby.so.10": library("liby.so.10"),
        "lib/glibc-hwcaps/own name/libx.so.1": library("libx.so.1"),
        "lib/glibc-hwcaps/best/deep/libx.so.1": library("libx.so.1"),
        "lib/liby.so.9": library("liby.so.9"),
        "lib/liby.so.10": library("liby.so.10"),
        "usr/lib/libx.so.1": library("libx.so.1"),
        "lib/libplain.so": library(),
        "lib/ld.so.1": library("ld.so.1"),
        "lib/ld64.so.2": library("ld64.so.2"),
        "lib/ld-none": library("ld-none"),
        "lib/ld32.so.1": library("ld32.so.1"),
        "etc/ld.so.conf": b"include /etc/ld.so.conf.d/*.conf\n",
        "etc/ld.so.conf.d/b.conf": b"/opt/b\n",
        "etc/ld.so.conf.d/a.conf": b"/opt/a\n",
        "opt/a/libx.so.1": library("libx.so.1"),
        "opt/b/libx.so.1": library("libx.so.1"),
    }

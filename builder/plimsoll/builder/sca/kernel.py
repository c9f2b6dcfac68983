"""Linux kernels and their modules: which version they are, and are for."""

from __future__ import annotations

import io
import lzma
import re
import struct
import zlib
from typing import TYPE_CHECKING, Any

from plimsoll.apk.tarfmt import Type
from plimsoll.builder.sca.paths import is_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from plimsoll.builder.sca.model import Findings
    from plimsoll.builder.sca.source import Source
    from plimsoll.builder.sca.tree import Entry, Tree

BOOT = ("boot/...", "lib/modules/...", "usr/lib/modules/...")
MODULES = ("lib/modules/...", "usr/lib/modules/...")
#: Most bytes that a module or kernel is inflated to in search of its version.
MAX_INFLATED = 512 << 20
_BLOCK = 1 << 18
_MODULE = re.compile(r".+\.ko(\.(gz|xz|zst))?")
_KERNEL = re.compile(r"(vmlinu[xz]|bzImage|zImage|Image|uki|linux).*|.+\.efi")
_VERSION = re.compile(rb"[0-9][0-9A-Za-z._+-]{0,127}")
_GZIP = b"\x1f\x8b\x08"


def scan_kernel(tree: Tree, out: Findings) -> None:
    """Kernels offer ``linux:<version>``; modules need it."""
    for entry in tree:
        if entry.type is not Type.FILE or not is_in(entry.path, BOOT):
            continue
        if _MODULE.fullmatch(entry.name):
            version = _search(entry, b"vermagic=") if is_in(entry.path, MODULES) else ""
            if version:
                out.need("linux:", version, entry.path)
        elif entry.path.startswith("boot/") or _KERNEL.fullmatch(entry.name):
            version = _boot_header(entry) or _search(entry, b"Linux version ")
            if version:
                out.provides.add(f"linux:{version}")


def _boot_header(entry: Entry) -> str:
    """The version in the x86 boot protocol's header (Documentation/arch/x86/boot.rst)."""
    with entry.open() as source:
        head = source.read_at(0x202, 16)
        if head[:4] != b"HdrS":
            return ""
        (pointer,) = struct.unpack_from("<H", source.read_at(0x20E, 2).ljust(2, b"\0"))
        return _version(source.read_at(pointer + 0x200, 128)) if pointer else ""


def _search(entry: Entry, prefix: bytes) -> str:
    """The version behind a prefix, in the content inflated as far as it can be."""
    with entry.open() as source:
        found = _find(_inflate(source), prefix)
        if found or prefix == b"vermagic=":
            return found
        # An image that unpacks itself carries a compressed one somewhere.
        offset = _offset(source, _GZIP)
        return _find(_gzip(source, offset), prefix) if offset > 0 else ""


def _find(blocks: Iterator[bytes], prefix: bytes) -> str:
    tail = b""
    total = 0
    try:
        for block in blocks:
            window = tail + block
            position = window.find(prefix)
            if position >= 0:
                text = window[position + len(prefix) :]
                return _version(text if len(text) >= 128 else text + next(blocks, b""))
            tail = window[-len(prefix) :]
            total += len(block)
            if total > MAX_INFLATED:
                break
    except (zlib.error, lzma.LZMAError, EOFError, OSError, ValueError):
        # Not what its first bytes say, or cut short: then it has no version that could be found.
        pass
    return ""


def _offset(source: Source, magic: bytes) -> int:
    before = 0
    tail = b""
    for block in source.blocks():
        window = tail + block
        position = window.find(magic)
        if position >= 0:
            return before - len(tail) + position
        before += len(block)
        tail = window[-len(magic) + 1 :]
    return -1


def _inflate(source: Source) -> Iterator[bytes]:
    magic = source.read_at(0, 6)
    if magic.startswith(_GZIP):
        return _gzip(source, 0)
    if magic == b"\xfd7zXZ\0":
        return _stream(source, lzma.LZMADecompressor(memlimit=256 << 20))
    if magic.startswith(b"\x28\xb5\x2f\xfd"):
        return _zstd(source)
    return source.blocks(_BLOCK)


def _gzip(source: Source, offset: int) -> Iterator[bytes]:
    return _stream(source, _Gzip(), offset)


class _Gzip:
    """``zlib`` with the interface of ``lzma``."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(31)

    @property
    def eof(self) -> bool:
        return self._inflate.eof

    @property
    def needs_input(self) -> bool:
        return not self._inflate.unconsumed_tail

    def decompress(self, data: bytes, most: int) -> bytes:
        return self._inflate.decompress(self._inflate.unconsumed_tail + data, most)


def _stream(source: Source, inflater: Any, offset: int = 0) -> Iterator[bytes]:
    while not inflater.eof:
        data = b""
        if inflater.needs_input:
            data = source.read_at(offset, _BLOCK)
            offset += len(data)
            if not data:
                return
        yield inflater.decompress(data, _BLOCK)


def _zstd(source: Source) -> Iterator[bytes]:
    import zstandard  # noqa: PLC0415  (start-up time; modules of this kind are rare)

    reader = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(
        io.BufferedReader(source)
    )
    read: Callable[[int], bytes] = reader.read
    try:
        while block := read(_BLOCK):
            yield block
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from None


def _version(text: bytes) -> str:
    match = _VERSION.match(text)
    return match[0].decode() if match else ""

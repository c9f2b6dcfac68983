"""Opening and verifying ``.apk`` files (version 2).

A package is two or three gzip members: a signature (a tar of ``.SIGN.<algorithm>.<key>``), the
control section (``.PKGINFO`` and scripts), the data section. Three hashes chain them: the index
names the SHA-1 of the compressed control section, ``.PKGINFO`` the SHA-256 of the compressed data
section, and each file's header its SHA-1.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

from plimsoll.apk.data import DataReader
from plimsoll.apk.gz import CHUNK, GzipError, Inflater
from plimsoll.apk.packageinfo import PackageInfo
from plimsoll.apk.tarfmt import TarReader, Type
from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from plimsoll.apk.keys import Keyring

_MAX_SIGNATURE_SECTION = 1 << 20


class PackageFormatError(Error):
    """A file that is no package, or a malformed one."""

    reason = "InvalidPackage"


class ControlMismatchError(Error):
    """A control section that is not the one the index names."""

    reason = "PackageVerificationFailed"


class PackageSignatureError(Error):
    """A package that no known key signed."""

    reason = "PackageVerificationFailed"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a package may hold, in bytes uncompressed, before it is refused."""

    control: int = 10 << 20
    data: int = 16 << 30
    entries: int = 250_000


@dataclass(frozen=True, slots=True)
class Section:
    """One compressed section: byte offsets in the file (``end`` is exclusive) and its hashes."""

    start: int
    end: int
    sha1: bytes
    sha256: bytes

    @property
    def range(self) -> str:
        """As a value of HTTP ``Range`` and as lock files write it: ``bytes=0-273``."""
        return f"bytes={self.start}-{self.end - 1}"


@dataclass(frozen=True, slots=True)
class Package:
    """What stands before a package's data, verified as far as it was asked for.

    Attributes:
        source: path or URL, for messages.
        info: its ``.PKGINFO``.
        signatures: ``.SIGN.…`` member → signature.
        signature: where the signature section lies; ``None`` if the package has none.
        control: where the control section lies; ``control.sha1`` is the index checksum.
        data_start: where the data section begins; it goes on to the end of the file.
        scripts: ``.pre-install`` and the like → content.
        control_files: names in the control section, in order.
        signed_by: the key that verified it, ``""`` if no keyring was given.
    """

    source: str
    info: PackageInfo
    control: Section
    data_start: int
    signature: Section | None = None
    signatures: dict[str, bytes] = field(default_factory=dict)
    scripts: dict[str, bytes] = field(default_factory=dict)
    control_files: tuple[str, ...] = ()
    signed_by: str = ""
    limits: Limits = field(default_factory=Limits)

    def data(self, file: BinaryIO) -> DataReader:
        """Iterate over the data section of ``file``, which must be the same package.

        The hash of the section is known only at its end: use nothing of what was read before the
        iteration has finished without an error.
        """
        file.seek(self.data_start)
        return DataReader(
            _blocks(file),
            source=self.source,
            datahash=bytes.fromhex(self.info.datahash),
            max_size=self.limits.data,
            max_entries=self.limits.entries,
        )


def open_package(
    file: BinaryIO,
    *,
    source: str,
    checksum: bytes | None,
    keyring: Keyring | None = None,
    limits: Limits | None = None,
) -> Package:
    """Read a package up to its data section and verify that.

    Args:
        file: seekable, at any position.
        source: path or URL, for messages.
        checksum: SHA-1 of the control section from a verified index; ``None`` only for a package
            that comes from no index.
        keyring: if given, one of its keys must have signed the package itself.
        limits: how much it may hold.

    Raises:
        ControlMismatchError: it is not the package that the index names.
        PackageSignatureError: no key of the keyring signed it.
        PackageFormatError, PackageInfoError, GzipError, TarError: it is no sound package.
    """
    limits = limits or Limits()
    file.seek(0)
    scanner = _Scanner(file, source)
    content, section = scanner.member("first section", max(limits.control, _MAX_SIGNATURE_SECTION))
    files = _members(content, source)
    signatures: dict[str, bytes] = {}
    signature = None
    if files and next(iter(files)).startswith(".SIGN."):
        signatures, signature = files, section
        content, section = scanner.member("control section", limits.control)
        files = _members(content, source)
    if checksum is not None and section.sha1 != checksum:
        raise ControlMismatchError(
            f"{source} is not the package that its index names: the SHA-1 of its control section "
            f"is {section.sha1.hex()}, not {checksum.hex()}",
            hint="the package or the index was changed, or a mirror is out of step; refresh the "
            "index, and do not use this file",
        )
    if ".PKGINFO" not in files:
        raise PackageFormatError(
            f"{source} has no .PKGINFO in its control section",
            hint="this is no package of APK version 2",
        )
    try:
        text = files[".PKGINFO"].decode()
    except UnicodeDecodeError:
        raise PackageFormatError(
            f"{source} has a .PKGINFO that is not UTF-8", hint="the package is broken"
        ) from None
    signed_by = ""
    if keyring is not None:
        signed_by = _signer(signatures, section, keyring, source)
    return Package(
        source=source,
        info=PackageInfo.parse(text, source),
        control=section,
        data_start=section.end,
        signature=signature,
        signatures=signatures,
        scripts={n: c for n, c in files.items() if n in SCRIPTS},
        control_files=tuple(files),
        signed_by=signed_by,
        limits=limits,
    )


def verify_package(
    path: Path,
    *,
    checksum: bytes | None,
    keyring: Keyring | None = None,
    limits: Limits | None = None,
) -> Package:
    """Verify a whole package: control, data, and every file in it.

    Raises:
        Error: what ``open_package`` and ``DataReader`` raise.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        package = open_package(
            file, source=str(path), checksum=checksum, keyring=keyring, limits=limits
        )
        for _ in package.data(file):
            pass
    return package


SCRIPTS = (
    ".pre-install",
    ".post-install",
    ".pre-deinstall",
    ".post-deinstall",
    ".pre-upgrade",
    ".post-upgrade",
    ".trigger",
)


class _Scanner:
    """Cuts gzip members off the front of a file, remembering where they lay."""

    def __init__(self, file: BinaryIO, source: str) -> None:
        self._file = file
        self._source = source
        self._rest = b""
        self._offset = 0

    def member(self, what: str, limit: int) -> tuple[bytes, Section]:
        """Inflate the next member and hash its compressed bytes."""
        name = f"the {what} of {self._source}"
        inflater = Inflater(name, limit)
        sha1, sha256 = hashlib.sha1(usedforsecurity=False), hashlib.sha256()
        out: list[bytes] = []
        start, size = self._offset, 0
        while not inflater.eof:
            raw = self._rest or self._file.read(CHUNK)
            self._rest = b""
            if not raw:
                raise GzipError(f"{name} is cut short", hint="fetch the package again")
            out.extend(inflater.feed(raw))
            used = len(raw) - len(inflater.unused)
            self._rest = inflater.unused
            view = memoryview(raw)[:used]
            sha1.update(view)
            sha256.update(view)
            size += used
            if size > 2 * limit:
                raise GzipError(
                    f"{name} is larger than {limit} bytes", hint="raise --max-apk-control-size"
                )
        self._offset += size
        return b"".join(out), Section(start, start + size, sha1.digest(), sha256.digest())


def _members(content: bytes, source: str) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for entry in TarReader([content], f"the control section of {source}"):
        header = entry.header
        if header.type is not Type.FILE or not header.name.startswith("."):
            raise PackageFormatError(
                f"{source} has {header.name!r} in its control section, where only .PKGINFO, "
                "scripts and signatures belong",
                hint="this is no package of APK version 2",
            )
        if header.name in files:
            raise PackageFormatError(
                f"{source} has {header.name} twice in its control section",
                hint="the package was made to mislead; do not use it",
            )
        files[header.name] = bytes(entry.read())
    return files


def _signer(signatures: dict[str, bytes], control: Section, keyring: Keyring, source: str) -> str:
    digests = {"RSA": control.sha1, "RSA256": control.sha256}
    seen = []
    for member, signature in signatures.items():
        algorithm, _, key = member.removeprefix(".SIGN.").partition(".")
        seen.append(key)
        if algorithm in digests and keyring.verify(key, algorithm, signature, digests[algorithm]):
            return key
    signers = f"signed by {', '.join(seen)}" if seen else "not signed"
    raise PackageSignatureError(
        f"{source} is {signers}, and no key of the keyring ({', '.join(keyring) or 'empty'}) "
        "verifies it",
        hint="add the signer's public key to the keyring under that name, or do not use the file",
    )


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(CHUNK):
        yield block

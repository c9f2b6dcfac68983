"""Writing packages and indexes: the same input gives the same bytes, signed with RSA-SHA256."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from isal import igzip_lib, isal_zlib

from plimsoll.apk.data import CHECKSUM
from plimsoll.apk.gz import CHUNK
from plimsoll.apk.package import SCRIPTS, PackageFormatError
from plimsoll.apk.tarfmt import Header, Type
from plimsoll.apk.tarwrite import END, encode_header, padding
from plimsoll.apk.version import Version

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from plimsoll.apk.index import IndexEntry
    from plimsoll.apk.keys import SigningKey
    from plimsoll.apk.packageinfo import PackageInfo

_LEVEL = 2


@dataclass(frozen=True, slots=True)
class PackageFile:
    """One entry of a package to be written.

    Attributes:
        path: relative, such as ``usr/bin/foo``.
        content: of a file: its bytes, or a path to read them from.
        linkname: of a symbolic link: its target; of a hard link: the path of the first file.
        mtime: seconds since the epoch; ``None``, and what is later, becomes the package's date.
        xattrs: extended attributes, written as ``SCHILY.xattr.*``.
    """

    path: str
    type: Type = Type.FILE
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    content: bytes | Path = b""
    linkname: str = ""
    mtime: int | None = 0
    uname: str = ""
    gname: str = ""
    xattrs: Mapping[str, bytes] = field(default_factory=dict)


def write_package(  # noqa: PLR0913  (each argument is one part of a package)
    path: Path,
    info: PackageInfo,
    files: Iterable[PackageFile],
    *,
    scripts: Mapping[str, bytes] | None = None,
    control_files: Mapping[str, bytes] | None = None,
    key: SigningKey | None = None,
    source_date_epoch: int = 0,
) -> IndexEntry:
    """Write one ``.apk``, atomically.

    Args:
        path: where to; its directory exists.
        info: installed size, build date and datahash are filled in here.
        files: in any order; directories that are missing above them are added (0755, root).
        scripts: ``.pre-install`` and the like → content.
        control_files: further members of the control section, such as ``.melange.yaml``.
        key: signs the package itself; an index signs for it too, so it may be left off.
        source_date_epoch: the package's date, seconds since the epoch.

    Returns:
        Its entry for an index.

    Raises:
        PackageFormatError: a path twice, or a script of an unknown name.
        TarError: a name or a number that no header holds.
        OSError: the disk is full, or a content cannot be read.
    """
    unknown = sorted((scripts or {}).keys() - set(SCRIPTS))
    if unknown:
        raise PackageFormatError(
            f"package {info.name} has the script {unknown[0]}",
            hint=f"the names are {', '.join(SCRIPTS)}",
        )
    with tempfile.TemporaryFile(dir=path.parent) as spool:
        sink = _GzipSink(spool)
        size = _write_data(sink, _ordered(files, info.name), source_date_epoch)
        datahash = sink.finish()
        info = replace(info, installed_size=size, build_time=source_date_epoch, datahash=datahash)
        members = {".PKGINFO": (info.to_text().encode(), 0o644)}
        members |= {n: (c, 0o644) for n, c in (control_files or {}).items()}
        members |= {n: (scripts[n], 0o755) for n in SCRIPTS if n in scripts} if scripts else {}
        control = gzip_member(_tar(members, source_date_epoch))
        signature = sign_section(control, key, source_date_epoch) if key else b""
        spool.seek(0)
        with _replacing(path) as out:
            out.write(signature)
            out.write(control)
            while block := spool.read(CHUNK):
                out.write(block)
            total = out.tell()
    return info.index_entry(hashlib.sha1(control, usedforsecurity=False).digest(), total)


def write_index(
    entries: Iterable[IndexEntry], description: str = "", key: SigningKey | None = None
) -> bytes:
    """An ``APKINDEX.tar.gz`` of ``entries``, sorted by name and version.

    Raises:
        IndexFormatError: a field holds a line break.
        InvalidVersionError: a version is none.
    """
    ordered = sorted(entries, key=lambda e: (e.name, Version.parse(e.version), e.version))
    text = "".join(entry.to_text() for entry in ordered).encode()
    members = {"APKINDEX": (text, 0o644), "DESCRIPTION": (description.encode(), 0o644)}
    body = gzip_member(_tar(members, 0) + END)
    return (sign_section(body, key, 0) if key else b"") + body


def sign_section(body: bytes, key: SigningKey, source_date_epoch: int = 0) -> bytes:
    """The signature section for a control section, or for what follows it in an index."""
    signature = key.sign(hashlib.sha256(body).digest())
    name = f".SIGN.{key.algorithm}.{key.name}"
    return gzip_member(_tar({name: (signature, 0o644)}, source_date_epoch))


def gzip_member(data: bytes) -> bytes:
    """``data`` as one gzip member without name and time."""
    member: bytes = igzip_lib.compress(data, level=_LEVEL, flag=igzip_lib.COMP_GZIP)
    return member


class _GzipSink:
    """Compresses what is written into a file, hashing the compressed bytes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._compressor = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, 31)
        self._sha256 = hashlib.sha256()

    def write(self, data: bytes) -> None:
        self._put(self._compressor.compress(data))

    def finish(self) -> str:
        self._put(self._compressor.flush())
        return self._sha256.hexdigest()

    def _put(self, data: bytes) -> None:
        self._sha256.update(data)
        self._file.write(data)


def _write_data(sink: _GzipSink, files: Iterable[PackageFile], epoch: int) -> int:
    """Write the data section's tar; returns the bytes of all files."""
    total = 0
    for file in files:
        size, digest = 0, hashlib.sha1(usedforsecurity=False)
        if file.type is Type.FILE:
            for block in _content(file):
                size += len(block)
                digest.update(block)
        elif file.type is Type.SYMLINK:
            digest.update(file.linkname.encode())
        header = Header(
            name=file.path,
            type=file.type,
            mode=0o777 if file.type is Type.SYMLINK else file.mode,
            uid=file.uid,
            gid=file.gid,
            size=size,
            mtime=epoch if file.mtime is None else min(file.mtime, epoch),
            linkname=file.linkname,
            uname=file.uname or ("root" if file.uid == 0 else ""),
            gname=file.gname or ("root" if file.gid == 0 else ""),
        )
        if file.type in {Type.FILE, Type.SYMLINK}:
            header.pax[CHECKSUM] = digest.hexdigest().encode()
        header.pax |= {f"SCHILY.xattr.{name}": value for name, value in file.xattrs.items()}
        sink.write(encode_header(header))
        if file.type is Type.FILE:
            written = 0
            for block in _content(file):
                written += len(block)
                sink.write(block)
            if written != size:
                raise PackageFormatError(
                    f"{file.path} changed while it was read", hint="build again"
                )
            sink.write(padding(size))
        total += size
    sink.write(END)
    return total


def _content(file: PackageFile) -> Iterator[bytes]:
    if isinstance(file.content, bytes):
        yield file.content
        return
    with file.content.open("rb") as source:
        while block := source.read(CHUNK):
            yield block


def _ordered(files: Iterable[PackageFile], package: str) -> list[PackageFile]:
    """As a walk of the tree meets them, names sorted, with every directory on the way.

    A hard link must follow its file; where the walk meets a link first, the two change roles.
    """
    tree: dict[tuple[str, ...], PackageFile] = {}
    for file in files:
        parts = tuple(file.path.split("/"))
        if not parts[0] or parts in tree or {"", ".", ".."} & set(parts):
            raise PackageFormatError(
                f"package {package} has the path {file.path!r} "
                + ("twice" if parts in tree else "which is not relative and in shortest form"),
                hint="write each path once, such as usr/bin/foo",
            )
        tree[parts] = file
    for parts in list(tree):
        for depth in range(1, len(parts)):
            parent = parts[:depth]
            above = tree.setdefault(
                parent, PackageFile("/".join(parent), Type.DIRECTORY, 0o755, mtime=None)
            )
            if above.type is not Type.DIRECTORY:
                raise PackageFormatError(
                    f"package {package} has {'/'.join(parts)!r} below {above.path!r}, which is no "
                    "directory",
                    hint="write the file where the link leads",
                )
    ordered = [tree[parts] for parts in sorted(tree)]
    return _relink(ordered, package) if any(f.type is Type.HARDLINK for f in ordered) else ordered


def _relink(files: list[PackageFile], package: str) -> list[PackageFile]:
    by_path = {file.path: file for file in files}
    first: dict[str, str] = {}
    out: list[PackageFile] = []
    linked = {file.linkname for file in files if file.type is Type.HARDLINK}
    for file in files:
        target = file.linkname if file.type is Type.HARDLINK else file.path
        if target not in linked:
            out.append(file)
            continue
        original = by_path.get(target)
        if original is None or original.type is not Type.FILE:
            raise PackageFormatError(
                f"package {package} has the hard link {file.path!r} to {target!r}, which is no "
                "file of it",
                hint="include the file",
            )
        if target in first:
            out.append(
                replace(
                    original,
                    path=file.path,
                    type=Type.HARDLINK,
                    content=b"",
                    linkname=first[target],
                    xattrs={},
                )
            )
        else:
            first[target] = file.path
            out.append(replace(original, path=file.path))
    return out


def _tar(members: Mapping[str, tuple[bytes, int]], mtime: int) -> bytes:
    """A tar of small files without an end, as signature and control sections are."""
    out = bytearray()
    for name, (content, mode) in members.items():
        out += encode_header(
            Header(
                name=name,
                type=Type.FILE,
                mode=mode,
                size=len(content),
                mtime=mtime,
                uname="root",
                gname="root",
            )
        )
        out += content + padding(len(content))
    return bytes(out)


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A temporary file beside ``path`` that takes its place at the end."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise

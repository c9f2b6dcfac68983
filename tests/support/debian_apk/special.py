"""What maintainer scripts would have made, and an image cannot do without."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.apk.tarfmt import Type
from plimsoll.apk.writer import PackageFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Files = Mapping[str, PackageFile]


def extras(name: str, files: Files) -> Iterator[PackageFile]:
    """Further files of a package, given those it has."""
    make = _MAKERS.get(name)
    if make is not None:
        yield from make(files)


def _ca_certificates(files: Files) -> Iterator[PackageFile]:
    """``update-ca-certificates``: one bundle of all."""
    parts = []
    for path in sorted(files):
        content = files[path].content
        if (
            path.startswith("usr/share/ca-certificates/")
            and path.endswith(".crt")
            and isinstance(content, bytes)
        ):
            parts.append(content if content.endswith(b"\n") else content + b"\n")
    yield PackageFile("etc/ssl/certs/ca-certificates.crt", content=b"".join(parts), mtime=None)


def _dash(files: Files) -> Iterator[PackageFile]:
    if "usr/bin/sh" not in files:
        yield PackageFile("usr/bin/sh", Type.SYMLINK, linkname="dash")


def _mawk(files: Files) -> Iterator[PackageFile]:
    if "usr/bin/awk" not in files:
        yield PackageFile("usr/bin/awk", Type.SYMLINK, linkname="mawk")


def _busybox(files: Files) -> Iterator[PackageFile]:
    """The list that the applets' links are made from, where nothing else has their names."""
    del files
    content = "".join(f"/usr/bin/{name}\n" for name in _APPLETS.split())
    yield PackageFile("etc/busybox-paths.d/busybox", content=content.encode(), mtime=None)


def _automake(files: Files) -> Iterator[PackageFile]:
    for path in sorted(files):
        plain, dash, _ = path.rpartition("-")
        if path.startswith("usr/bin/") and dash and plain not in files:
            yield PackageFile(plain, Type.SYMLINK, linkname=path.rpartition("/")[2])


def _ccache(files: Files) -> Iterator[PackageFile]:
    del files
    for name in ("cc", "gcc", "c++", "g++"):
        yield PackageFile(f"usr/lib/ccache/{name}", Type.SYMLINK, linkname="../../bin/ccache")


def _gcc(files: Files) -> Iterator[PackageFile]:
    del files
    for name in ("cc", "c99"):
        yield PackageFile(f"usr/bin/{name}", Type.SYMLINK, linkname="gcc")


#: Programs that steps of builds use, and that Debian's busybox has.
_APPLETS = (
    "[ ash awk base64 basename bunzip2 bzcat bzip2 cat chgrp chmod chown cmp cp cpio cut date dd "
    "diff dirname du echo egrep env expand expr false fgrep find fold getopt grep gunzip gzip head "
    "hexdump hostname id kill link ln ls md5sum mkdir mkfifo mktemp mv nl nproc od paste patch "
    "printf ps pwd readlink realpath rev rm rmdir sed seq sh sha1sum sha256sum sha512sum shuf "
    "sleep sort stat strings sync tac tail tar tee test time timeout touch tr true truncate "
    "tty uname unexpand uniq unlink unxz unzip wc which whoami xargs xxd xz xzcat yes zcat"
)


def _copy(*pairs: tuple[str, str]) -> Callable[[Files], Iterator[PackageFile]]:
    def make(files: Files) -> Iterator[PackageFile]:
        for source, target in pairs:
            if source in files and target not in files:
                content = files[source].content
                yield PackageFile(target, content=content, mtime=files[source].mtime)

    return make


_MAKERS: dict[str, Callable[[Files], Iterator[PackageFile]]] = {
    "automake": _automake,
    "base-files": _copy(
        ("usr/share/base-files/nsswitch.conf", "etc/nsswitch.conf"),
        ("usr/share/base-files/profile", "etc/profile"),
    ),
    "base-passwd": _copy(
        ("usr/share/base-passwd/passwd.master", "etc/passwd"),
        ("usr/share/base-passwd/group.master", "etc/group"),
    ),
    "busybox": _busybox,
    "ca-certificates": _ca_certificates,
    "ccache": _ccache,
    "dash": _dash,
    "gcc": _gcc,
    "libc-bin": _copy(("usr/share/libc-bin/nsswitch.conf", "etc/nsswitch.conf")),
    "mawk": _mawk,
}

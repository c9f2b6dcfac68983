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


def _copy(*pairs: tuple[str, str]) -> Callable[[Files], Iterator[PackageFile]]:
    def make(files: Files) -> Iterator[PackageFile]:
        for source, target in pairs:
            if source in files and target not in files:
                content = files[source].content
                yield PackageFile(target, content=content, mtime=files[source].mtime)

    return make


_MAKERS: dict[str, Callable[[Files], Iterator[PackageFile]]] = {
    "base-files": _copy(
        ("usr/share/base-files/nsswitch.conf", "etc/nsswitch.conf"),
        ("usr/share/base-files/profile", "etc/profile"),
    ),
    "base-passwd": _copy(
        ("usr/share/base-passwd/passwd.master", "etc/passwd"),
        ("usr/share/base-passwd/group.master", "etc/group"),
    ),
    "ca-certificates": _ca_certificates,
    "dash": _dash,
    "libc-bin": _copy(("usr/share/libc-bin/nsswitch.conf", "etc/nsswitch.conf")),
    "mawk": _mawk,
}

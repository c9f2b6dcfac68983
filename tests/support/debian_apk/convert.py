"""One Debian package as one APK package."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

from debian_apk import spdx
from debian_apk.licenses import declared_license
from debian_apk.names import BUNDLES, UNUSED_FILES, libraries, other_names
from debian_apk.pyc import byte_code
from debian_apk.special import extras
from debian_apk.versions import apk_version
from plimsoll.apk.gz import CHUNK
from plimsoll.apk.packageinfo import PackageInfo
from plimsoll.apk.tarfmt import TarReader, Type
from plimsoll.apk.writer import PackageFile, write_package

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from debian_apk.packages import DebianPackage, PackageList
    from plimsoll.apk.index import IndexEntry

#: The package that brings /bin, /lib… as links into /usr.
LINKS_PACKAGE = "usrmerge-links"
LINKS_VERSION = "12-r0"
LINKS_FILE = f"{LINKS_PACKAGE}-{LINKS_VERSION}.apk"
ARCHS = {"amd64": "x86_64", "arm64": "aarch64"}
_MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_DROPPED = re.compile(
    r"usr/share/(?:(?:man|info|locale|lintian|bug|doc-base|gtk-doc|i18n/locales|help|pixmaps|menu"
    r"|bash-completion|zsh|fish)(?:/|$)|doc/(?!.*(?:/copyright$)))"
)
_DOC_FOLDER = re.compile(r"usr/share/doc(/[^/]+)?$")


def convert(
    deb: Path,
    package: DebianPackage,
    packages: PackageList,
    wanted: set[str],
    target: Path,
    *,
    docs: bool = False,
) -> IndexEntry:
    """Write ``target`` from ``deb``; unsigned, since the index signs for it.

    Args:
        deb: the Debian package.
        package: its stanza.
        packages: where its dependencies are looked up.
        wanted: names that are in the repository.
        target: the ``.apk``; its folder is named as its architecture.
        docs: keep documentation and translations.
    """
    files = {f.path: f for f in _files(deb, docs=docs)}
    for file in extras(package.name, files):
        files[file.path] = file
    files |= {f.path: f for f in byte_code(list(files.values())) if f.path not in files}
    date = max((f.mtime or 0 for f in files.values()), default=0)
    arch = package.fields["Architecture"]
    source = package.fields.get("Source", package.name).split()[0]
    license_, extracted = _license(package.name, files)
    info = PackageInfo(
        name=package.name,
        version=apk_version(package.version),
        arch=target.parent.name,
        origin=source,
        description=package.fields.get("Description", "").split("\n")[0],
        url=package.fields.get("Homepage", ""),
        maintainer=package.fields.get("Maintainer", "").split("\n")[0],
        licenses=(license_,),
        depends=_depends(package, packages, wanted),
        provides=_provides(package, files),
        replaces=tuple(sorted({n for g in package.relation("Replaces") for n, _ in g})),
    )
    path = f"var/lib/db/sbom/{info.name}-{info.version}.spdx.json"
    content = spdx.document(
        info,
        debian_version=package.version,
        debian_arch=arch,
        source=source,
        extracted=extracted,
        date=date,
    )
    files[path] = PackageFile(path, content=content, mtime=None)
    return write_package(target, info, files.values(), source_date_epoch=date)


def links_package(arch: str, target: Path) -> IndexEntry:
    """Write the package of links that merges the root into ``/usr``."""
    links = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib"}
    if arch == "amd64":
        links["lib64"] = "usr/lib64"
    info = PackageInfo(
        name=LINKS_PACKAGE,
        version=LINKS_VERSION,
        arch=ARCHS[arch],
        origin=LINKS_PACKAGE,
        description="links of a root file system whose programs and libraries lie in /usr",
        maintainer="Plimsoll tests",
        licenses=("CC0-1.0",),
        provides=("merged-usr",),
    )
    files = [PackageFile(n, Type.SYMLINK, linkname=t) for n, t in links.items()]
    files += [PackageFile(t, Type.DIRECTORY, 0o755) for t in links.values()]
    return _write_own(info, files, arch, target)


def bundle(name: str, arch: str, target: Path) -> IndexEntry:
    """Write a package without files that brings others, one of ``BUNDLES``."""
    info = PackageInfo(
        name=name,
        version=LINKS_VERSION,
        arch=ARCHS[arch],
        origin=name,
        description=f"brings {', '.join(BUNDLES[name])}",
        maintainer="Plimsoll tests",
        licenses=("CC0-1.0",),
        depends=BUNDLES[name],
    )
    return _write_own(info, [], arch, target)


def _write_own(info: PackageInfo, files: list[PackageFile], arch: str, target: Path) -> IndexEntry:
    content = spdx.document(
        info, debian_version="12", debian_arch=arch, source=info.name, extracted={}, date=0
    )
    sbom = f"var/lib/db/sbom/{info.name}-{info.version}.spdx.json"
    files.append(PackageFile(sbom, content=content))
    return write_package(target, info, files)


def _files(deb: Path, *, docs: bool) -> Iterator[PackageFile]:
    """The package's files with merged paths, one for each path."""
    found: dict[str, PackageFile] = {}
    with subprocess.Popen(
        ["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        stream = process.stdout
        for entry in TarReader(iter(lambda: stream.read(CHUNK), b""), str(deb)):
            header = entry.header
            path = _merged(header.name)
            if path == ".":
                continue
            content = bytes(entry.read()) if header.type is Type.FILE else b""
            linkname = header.linkname
            if header.type is Type.HARDLINK:
                linkname = _merged(linkname.removeprefix("./"))
            file = PackageFile(
                path,
                header.type,
                header.mode,
                header.uid,
                header.gid,
                content,
                linkname,
                header.mtime,
                header.uname,
                header.gname,
            )
            # /bin/x beside a link /usr/bin/x -> /bin/x are one file once they are merged.
            if file.type is Type.SYMLINK and _merged(linkname.lstrip("/")) == path:
                continue
            found[path] = file
    if process.returncode:
        raise RuntimeError(f"dpkg-deb cannot read {deb}")
    for path, file in found.items():
        if not docs and _DROPPED.match(path) and not _keeps(path, file):
            continue
        if UNUSED_FILES.fullmatch(path):
            continue
        if file.type is Type.HARDLINK and not docs and _DROPPED.match(file.linkname):
            original = found[file.linkname]
            yield replace(original, path=path)
        else:
            yield file


def _keeps(path: str, file: PackageFile) -> bool:
    return file.type is not Type.FILE and _DOC_FOLDER.match(path) is not None


def _merged(path: str) -> str:
    first, _, _ = path.partition("/")
    return f"usr/{path}" if first in _MERGED else path


def _depends(package: DebianPackage, packages: PackageList, wanted: set[str]) -> tuple[str, ...]:
    names = {LINKS_PACKAGE}
    for alternatives in package.needs():
        choice = packages.choose(alternatives, wanted)
        if choice:
            names.add(choice)
    return tuple(sorted(names - {package.name}))


def _provides(package: DebianPackage, files: dict[str, PackageFile]) -> tuple[str, ...]:
    version = apk_version(package.version)
    names = set()
    for group in package.relation("Provides"):
        name, condition = group[0]
        given = condition.removeprefix("=").strip()
        names.add(f"{name}={apk_version(given)}" if given else name)
    for path, file in files.items():
        folder, _, name = path.rpartition("/")
        runs = file.type is Type.SYMLINK or (file.type is not Type.DIRECTORY and file.mode & 0o111)
        if folder in {"usr/bin", "usr/sbin"} and runs and not re.search(r"[=<>~@\s]", name):
            names.add(f"cmd:{name}={version}")
    if "usr/bin/sh" in files:
        names.add("/bin/sh")
    names.update(other_names(package.name, version), libraries(files))
    return tuple(sorted(names))


def _license(name: str, files: dict[str, PackageFile]) -> tuple[str, dict[str, str]]:
    file = files.get(f"usr/share/doc/{name}/copyright")
    if file is None or not isinstance(file.content, bytes):
        return "NOASSERTION", {}
    return declared_license(file.content.decode(errors="replace"))

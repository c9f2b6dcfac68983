"""The repository: every wanted package converted, indexed, signed."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from debian_apk.apt import Apt, AptError
from debian_apk.convert import ARCHS, LINKS_FILE, LINKS_VERSION, bundle, convert, links_package
from debian_apk.names import BUNDLES
from debian_apk.packages import DebianPackage, PackageList
from debian_apk.versions import apk_version
from plimsoll.apk import packageinfo, tarwrite, writer
from plimsoll.apk.keys import SigningKey
from plimsoll.apk.package import open_package

if TYPE_CHECKING:
    from plimsoll.apk.index import IndexEntry

#: Names of sets → packages; their dependencies come with them.
SETS = {
    "demo": [
        "base-files",
        "base-passwd",
        "bash",
        "busybox",
        "ca-certificates",
        "coreutils",
        "dash",
        "git",
        "libc-bin",
        "libstdc++6",
        "netbase",
        "python3",
        "tzdata",
    ],
    "web": ["nginx-light"],
    "tools": ["curl", "git", "openssl", "jq"],
    # What builds C, shell and Python programs and fetches sources; as small as that can be.
    "build": [
        "base-files",
        "build-base",
        "busybox",
        "ca-certificates",
        "git",
        "libc-bin",
        "pkgconf",
        "python3",
        "wget",
    ],
    # Further build systems and languages, on top of "build".
    "languages": [
        "autoconf",
        "automake",
        "ccache",
        "cmake",
        "golang-go",
        "meson",
        "ninja-build",
        "perl",
        "perl-base",
        "python3-build",
        "python3-installer",
        "python3-setuptools",
        "python3-wheel",
        "ruby",
    ],
}


@dataclass(frozen=True)
class Report:
    """What was made: packages and bytes by APK architecture, and the public key."""

    packages: dict[str, int]
    size: dict[str, int]
    converted: int
    key: Path


def build(
    out: Path,
    names: list[str],
    archs: list[str],
    cache: Path,
    *,
    key_name: str = "plimsoll-demo.rsa.pub",
    docs: bool = False,
) -> Report:
    """Make or renew the repository at ``out``.

    Args:
        out: gets ``<apk arch>/*.apk``, ``<apk arch>/APKINDEX.tar.gz`` and the public key. The
            private key lies beside it in ``<out>-key/``, so that ``out`` can be served as it is.
        names: Debian packages, or names of ``SETS``.
        archs: ``amd64``, ``arm64``.
        cache: downloads and converted packages.
        key_name: of the public key.
        docs: keep documentation and translations.

    Raises:
        AptError, UnknownPackageError: with what to do.
    """
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _build(out, names, archs, cache, key_name=key_name, docs=docs)


def _build(
    out: Path, names: list[str], archs: list[str], cache: Path, *, key_name: str, docs: bool
) -> Report:
    wanted = sorted({n for name in names for n in SETS.get(name, [name])})
    key = signing_key(out, key_name)
    report = Report({}, {}, 0, out / key_name)
    for arch in archs:
        folder = out / ARCHS[arch]
        folder.mkdir(parents=True, exist_ok=True)
        stored = cache / "apk" / _tool_hash(docs=docs) / folder.name
        paths, converted = _convert_all(Apt(arch, cache), wanted, stored, docs=docs)
        entries = [_place(path, folder / name, key) for name, path in paths.items()]
        keep = {entry.file_name for entry in entries}
        for stale in folder.glob("*.apk"):
            if stale.name not in keep:
                stale.unlink()
        _replace(folder / "APKINDEX.tar.gz", writer.write_index(entries, "Debian as APK", key))
        report.packages[folder.name] = len(entries)
        report.size[folder.name] = sum(entry.size for entry in entries)
        report = replace(report, converted=report.converted + converted)
    _prune(cache / "apk", keep=_tool_hash(docs=docs))
    return report


def _prune(folder: Path, keep: str) -> None:
    """Remove what earlier versions of this tool made and nobody used for a week."""
    (folder / keep).touch()
    for path in folder.iterdir():
        if path.name != keep and time.time() - path.stat().st_mtime > 7 * 86400:
            shutil.rmtree(path)


def signing_key(out: Path, key_name: str) -> SigningKey:
    """The repository's key, made if absent; its public half lies in ``out``."""
    private = out.with_name(f"{out.name}-key") / key_name.removesuffix(".pub")
    if private.exists():
        key = SigningKey.from_file(private)
    else:
        private.parent.mkdir(parents=True, exist_ok=True)
        private.parent.chmod(0o700)
        key = SigningKey.generate(key_name)
        _replace(private, key.private_pem(), mode=0o600)
    out.mkdir(parents=True, exist_ok=True)
    _replace(out / key_name, key.public_pem())
    return key


def _convert_all(
    apt: Apt, wanted: list[str], store: Path, *, docs: bool
) -> tuple[dict[str, Path], int]:
    """File name → converted package in ``store``, and how many were not there yet."""
    bundles = [name for name in wanted if name in BUNDLES]
    wanted = [n for n in wanted if n not in BUNDLES] + [n for b in bundles for n in BUNDLES[b]]
    packages = apt.packages()
    closure = packages.closure(wanted)
    try:
        apt.download(list(closure.values()))
    except AptError:
        # The lists may be older than what the mirror holds.
        packages = apt.packages(refresh=True)
        closure = packages.closure(wanted)
        apt.download(list(closure.values()))
    store.mkdir(parents=True, exist_ok=True)
    paths: dict[str, Path] = {}
    missing: list[tuple[DebianPackage, Path]] = []
    for package in closure.values():
        name = f"{package.name}-{apk_version(package.version)}"
        path = store / f"{name}.{_dependency_hash(package, packages, set(closure))}.apk"
        paths[f"{name}.apk"] = path
        if not path.exists():
            missing.append((package, path))

    def one(item: tuple[DebianPackage, Path]) -> None:
        package, path = item
        convert(apt.path(package), package, packages, set(closure), path, docs=docs)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(one, missing))
    links = store / f"{LINKS_FILE}.{apt.architecture}"
    if not links.exists():
        links_package(apt.architecture, links)
    paths[LINKS_FILE] = links
    for name in bundles:
        file = f"{name}-{LINKS_VERSION}.apk"
        paths[file] = store / f"{file}.{apt.architecture}"
        bundle(name, apt.architecture, paths[file])
    return paths, len(missing)


def _dependency_hash(package: DebianPackage, packages: PackageList, wanted: set[str]) -> str:
    """Of the full Debian version and of what alternatives were chosen."""
    chosen = [packages.choose(group, wanted) or "" for group in package.needs()]
    text = " ".join([package.version, package.fields.get("SHA256", ""), *chosen])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _place(stored: Path, target: Path, key: SigningKey) -> IndexEntry:
    """Put a signed copy of a stored package into the repository."""
    with stored.open("rb") as source:
        package = open_package(source, source=str(stored), checksum=None)
        source.seek(0)
        control = source.read(package.control.end)
        signature = writer.sign_section(control, key, package.info.build_time)
        size = len(signature) + stored.stat().st_size
        if not _holds(target, signature + control, size):
            temporary = target.with_name(f".{target.name}.{os.getpid()}")
            with temporary.open("wb") as out:
                out.write(signature + control)
                shutil.copyfileobj(source, out)
            temporary.replace(target)
    return package.info.index_entry(package.control.sha1, size)


def _holds(path: Path, head: bytes, size: int) -> bool:
    """Whether a file is this package already: its head names the hash of the rest."""
    if not path.exists() or path.stat().st_size != size:
        return False
    with path.open("rb") as file:
        return file.read(len(head)) == head


def _tool_hash(*, docs: bool) -> str:
    digest = hashlib.sha256(f"{sys.version_info[:3]} {docs}".encode())
    sources = sorted(Path(__file__).parent.glob("*.py"))
    sources += [Path(m.__file__) for m in (packageinfo, tarwrite, writer) if m.__file__]
    for path in sources:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _replace(path: Path, content: bytes, mode: int = 0o644) -> None:
    if path.exists() and path.read_bytes() == content:
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    temporary.replace(path)

"""Small signed APK repositories, made by the code under test's own writer, for tests of builds."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from plimsoll.apk.keys import SigningKey
from plimsoll.apk.packageinfo import PackageInfo
from plimsoll.apk.tarfmt import Type
from plimsoll.apk.writer import PackageFile, write_index, write_package

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from plimsoll.apk.index import IndexEntry


@cache
def signing_key(name: str = "test.rsa.pub") -> SigningKey:
    """A key, made once per process and name."""
    return SigningKey.generate(name, bits=2048)


@dataclass
class Repository:
    """A repository below ``root``; call ``write`` after adding packages."""

    root: Path
    key: SigningKey = field(default_factory=signing_key)
    entries: dict[str, list[IndexEntry]] = field(default_factory=dict)

    def add(
        self,
        name: str,
        files: Mapping[str, bytes | str | PackageFile] | None = None,
        version: str = "1.0-r0",
        archs: tuple[str, ...] = ("x86_64", "aarch64"),
        **info: Any,
    ) -> None:
        """Add a package.

        Args:
            name: of the package.
            files: path → content, ``-> target`` for a link, or a whole entry.
            version: of the package.
            archs: APK names.
            info: further fields of ``PackageInfo``; ``date`` is its build date.
        """
        date = info.pop("date", 1_700_000_000)
        for arch in archs:
            folder = self.root / arch
            folder.mkdir(parents=True, exist_ok=True)
            entry = write_package(
                folder / f"{name}-{version}.apk",
                PackageInfo(name=name, version=version, arch=arch, **info),
                [_file(path, content) for path, content in (files or {}).items()],
                key=self.key,
                source_date_epoch=date,
            )
            self.entries.setdefault(arch, []).append(entry)

    def write(self, key: SigningKey | None = None, *, signed: bool = True) -> Path:
        """Write the indexes; returns ``root``."""
        for arch, entries in self.entries.items():
            data = write_index(entries, "test", (key or self.key) if signed else None)
            (self.root / arch / "APKINDEX.tar.gz").write_bytes(data)
        return self.root

    @property
    def key_file(self) -> Path:
        """The public key's file."""
        path = self.root / self.key.name
        path.write_bytes(self.key.public_pem())
        return path


def _file(path: str, content: bytes | str | PackageFile) -> PackageFile:
    if isinstance(content, PackageFile):
        return content
    if isinstance(content, str) and content.startswith("-> "):
        return PackageFile(path, Type.SYMLINK, mode=0o777, linkname=content[3:])
    if path.endswith("/"):
        return PackageFile(path.rstrip("/"), Type.DIRECTORY, mode=0o755)
    return PackageFile(path, content=content.encode() if isinstance(content, str) else content)

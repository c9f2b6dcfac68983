"""The lock: exactly which packages of which repositories make an image."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, ValidationError

from plimsoll.apk.index import SAFE_NAME, SAFE_VERSION, IndexFormatError, parse_checksum
from plimsoll.builder.logins import Logins
from plimsoll.builder.repository import parse_repository
from plimsoll.errors import Error
from plimsoll.oci.digest import is_digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from plimsoll.api.image import ImageConfiguration
    from plimsoll.apk.package import Section
    from plimsoll.apk.records import IndexEntry
    from plimsoll.arch import Arch

VERSION = "v1"
MEDIA_TYPE = "application/vnd.plimsoll.lock.v1+json"
MAX_SIZE = 32 << 20


class LockError(Error):
    """A lock file that is not valid or does not fit the build."""

    reason = "InvalidLock"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class LockedSection(_Part):
    """Where a section lies (``bytes=a-b``) and its hash (``sha1-`` or ``sha256-``, base64)."""

    range: str
    checksum: str

    @classmethod
    def of(cls, section: Section, *, sha256: bool = False) -> LockedSection:
        """From a section that was read."""
        if sha256:
            return cls(range=section.range, checksum=base64_checksum("sha256", section.sha256))
        return cls(range=section.range, checksum=base64_checksum("sha1", section.sha1))


class LockedPackage(_Part):
    """One package of one architecture; ``architecture`` is the APK name."""

    name: str
    url: str
    version: str
    architecture: str
    signature: LockedSection | None = None
    control: LockedSection | None = None
    data: LockedSection | None = None
    checksum: str = ""
    """SHA-1 of the control section: ``Q1`` and base64."""

    size: int | None = None
    """Bytes of the ``.apk``; left out where ``data`` says it."""

    @property
    def sha1(self) -> bytes:
        """SHA-1 of the control section."""
        try:
            return parse_checksum(self.checksum, "")
        except IndexFormatError:
            raise LockError(
                f"the lock's checksum {self.checksum[:60]!r} of {self.name} is none",
                hint="make a new one with 'plimsoll lock'",
            ) from None

    @property
    def datahash(self) -> str:
        """SHA-256 (hex) of the data section, ``""`` if the lock does not have it."""
        if self.data is None:
            return ""
        algorithm, _, value = self.data.checksum.partition("-")
        digest = _unb64(value) if algorithm == "sha256" else b""
        if len(digest) != 32:
            raise LockError(
                f"the lock's checksum {self.data.checksum[:60]!r} of the data of {self.name} is no "
                "SHA-256",
                hint="make a new one with 'plimsoll lock'",
            )
        return digest.hex()

    @property
    def file_size(self) -> int | None:
        """Bytes of the ``.apk``, if known."""
        match = re.fullmatch(r"bytes=[0-9]+-([0-9]{1,18})", self.data.range) if self.data else None
        return int(match[1]) + 1 if match else self.size

    @property
    def is_local(self) -> bool:
        """Whether it is a file of this machine."""
        return "://" not in self.url or self.url.startswith("file://")


class LockedKey(_Part):
    """A public key that verified repositories."""

    name: str
    url: str
    content: str = ""


class LockedRepository(_Part):
    """An index; ``architecture`` is the APK name."""

    name: str
    url: str
    architecture: str


class LockedBasePackage(_Part):
    """A package that the base image brings."""

    name: str
    version: str
    checksum: str = ""
    """SHA-1 of its control section: ``Q1`` and base64."""


class LockedBase(_Part):
    """The base image of one architecture (APK name) and what is installed in it."""

    image: str
    """As the configuration names it."""

    digest: str
    """Of its manifest."""

    architecture: str
    local: bool | None = None
    """Whether it is a file of this machine."""

    packages: list[LockedBasePackage] = []

    @classmethod
    def of(
        cls,
        image: str,
        digest: str,
        arch: Arch,
        entries: Iterable[IndexEntry],
        *,
        is_local: bool,
    ) -> LockedBase:
        """From what its database says."""
        packages = [
            LockedBasePackage(
                name=entry.name,
                version=entry.version,
                checksum=entry.checksum_text if entry.checksum else "",
            )
            for entry in entries
        ]
        return cls(
            image=image,
            digest=digest,
            architecture=arch.apk,
            local=is_local or None,
            packages=packages,
        )


class LockedContents(_Part):
    """What the lock fixes."""

    keyring: list[LockedKey] = []
    build_repositories: list[LockedRepository] = []
    runtime_repositories: list[LockedRepository] = []
    repositories: list[LockedRepository] = []
    baseimage: list[LockedBase] | None = None
    packages: list[LockedPackage] = []


class LockedConfig(_Part):
    """The configuration that was locked."""

    name: str = ""
    checksum: str = ""


class Lock(_Part):
    """A lock file."""

    version: str = VERSION
    config: LockedConfig | None = None
    contents: LockedContents = LockedContents()

    def packages(self, arch: Arch) -> list[LockedPackage]:
        """The packages of one architecture, in install order."""
        return [p for p in self.contents.packages if p.architecture == arch.apk]

    def base(self, arch: Arch) -> LockedBase | None:
        """The base image of one architecture, if there is one."""
        found = self.contents.baseimage or ()
        return next((base for base in found if base.architecture == arch.apk), None)

    def dump(self) -> bytes:
        """The file: two spaces of indentation, a line break at the end."""
        value = self.model_dump(mode="json", exclude_none=True)
        return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()

    @classmethod
    def parse(cls, data: bytes, source: str) -> Lock:
        """Read a lock file.

        Raises:
            LockError: it is none, or lacks what makes it safe.
        """
        try:
            lock = cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise LockError(
                f"{source} is no lock file: {where and f'{where}: '}{first['msg']}",
                hint="make a new one with 'plimsoll lock'",
            ) from None
        if lock.version != VERSION:
            raise LockError(
                f"{source} has the version {lock.version!r}; this program reads {VERSION!r}",
                hint="make a new one with 'plimsoll lock'",
            )
        seen: set[tuple[str, str]] = set()
        for package in lock.contents.packages:
            if (package.architecture, package.name) in seen:
                raise LockError(
                    f"{source} has the package {package.name} twice for {package.architecture}",
                    hint="make a new one with 'plimsoll lock'",
                )
            seen.add((package.architecture, package.name))
            if not package.checksum:
                raise LockError(
                    f"{source}: locked package {package.name} has missing checksum",
                    hint="the lock was made by an old tool; make a new one with 'plimsoll lock'",
                )
            if not SAFE_NAME.fullmatch(package.name) or not SAFE_VERSION.fullmatch(package.version):
                raise LockError(f"{source}: {package.name!r} {package.version!r} is no package")
            _check_url(package.url, source)
            control = base64_checksum("sha1", package.sha1)
            if package.control is not None and package.control.checksum != control:
                raise LockError(
                    f"{source} has two checksums for the control section of {package.name}: "
                    f"{package.checksum} and {package.control.checksum[:60]}",
                    hint="somebody changed it; make a new one with 'plimsoll lock'",
                )
            _ = package.datahash
        for base in lock.contents.baseimage or ():
            if not is_digest(base.digest):
                raise LockError(f"{source}: {base.digest[:80]!r} is no digest of a base image")
        return lock

    def inputs_hash(self, config: ImageConfiguration, extra: Mapping[str, Any]) -> str:
        """SHA-256 (hex) over everything that decides what the image is.

        Args:
            config: the configuration.
            extra: further inputs (builder version, architectures, output).
        """
        value = {
            "config": config.model_dump(mode="json", by_alias=True, exclude_defaults=True),
            "lock": self.contents.model_dump(mode="json", exclude_none=True),
            "extra": dict(extra),
        }
        text = json.dumps(value, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def _check_url(url: str, source: str) -> None:
    if not url or url.isspace():
        raise LockError(f"{source} has a package without a URL", hint="make a new lock")
    if "://" not in url:
        return
    try:
        parts = urlsplit(url)
        known = parts.scheme in {"http", "https", "oci", "file"} and parts.port != 0
    except ValueError:
        known = False
    if not known:
        from plimsoll.http.errors import public_url  # noqa: PLC0415  (start-up time)

        raise LockError(
            f"{source} has the URL {public_url(url)} of a package, which cannot be asked",
            hint="it must begin with https://, http://, oci:// or file://, or be a path",
        )


def base64_checksum(algorithm: str, digest: bytes) -> str:
    """``sha1-`` or ``sha256-`` and base64, as locks have checksums."""
    return f"{algorithm}-{base64.b64encode(digest).decode()}"


def locked_sources(config: ImageConfiguration, lock: Lock) -> ImageConfiguration:
    """The configuration with the keys and repositories that its lock was made with.

    An image names them, so that the image of a lock is the same without the options that the lock
    was made with.
    """

    def bases(repositories: list[LockedRepository]) -> list[str]:
        return [r.name.removesuffix(f"/{r.architecture}") for r in repositories]

    contents, locked = config.contents, lock.contents
    more = {
        # Keys without a path are those that repositories announced.
        "keyring": [key.url for key in locked.keyring if "/" in key.url],
        "repositories": bases(locked.repositories),
        "build_repositories": bases(locked.build_repositories),
        "runtime_repositories": bases(locked.runtime_repositories),
    }
    # Locks have no logins and no tags.
    bare = Logins({}).strip
    known = {parse_repository(bare(text))[0] for name in more for text in getattr(contents, name)}
    update = {
        name: [*getattr(contents, name), *(t for t in dict.fromkeys(texts) if t not in known)]
        for name, texts in more.items()
    }
    return config.model_copy(update={"contents": contents.model_copy(update=update)})


def _unb64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:  # also of characters that are not ASCII
        raise LockError(f"{text[:60]!r} in a lock is no base64") from None

"""An APK repository of a build: how it is written, where its parts are, what is wrong with it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from plimsoll.errors import Error
from plimsoll.http import HttpError, TooLargeError, public_url

if TYPE_CHECKING:
    from plimsoll.apk.keys import Keyring
    from plimsoll.arch import Arch

INDEX_FILE = "APKINDEX.tar.gz"
_TAG = re.compile(r"@([a-zA-Z0-9]+)\s+(\S.*)")


class RepositoryError(Error):
    """A repository that cannot be used."""

    reason = "RepositoryUnavailable"


class NoRepositoryError(RepositoryError):
    """A configuration without any repository."""

    reason = "InvalidConfiguration"


@dataclass(frozen=True, slots=True)
class Repository:
    """One repository of a build.

    Attributes:
        url: URL or path without architecture and trailing slash.
        tag: packages are used only where ``@tag`` asks for them.
        keyring: what may sign its index; ``None`` ignores signatures.
    """

    url: str
    keyring: Keyring | None
    tag: str = ""

    @property
    def lacks_key(self) -> bool:
        """Whether signatures count and nothing verifies them."""
        return self.keyring is not None and not len(self.keyring)

    def index_location(self, arch: Arch) -> str:
        """URL or path of the index of one architecture."""
        return f"{self.url}/{arch.apk}/{INDEX_FILE}"


@dataclass(frozen=True, slots=True)
class Key:
    """A public key of the configuration's keyring.

    Attributes:
        name: base name, under which indexes name it.
        location: path or URL as the configuration has it.
        pem: the key.
    """

    name: str
    location: str
    pem: str


def is_url(location: str) -> bool:
    """Whether it is fetched from a server; raises ``RepositoryError`` for what is no place."""
    try:
        parts = urlsplit(location if "://" in location else "")
    except ValueError as error:
        raise RepositoryError(
            f"{location.rpartition('@')[2][:200]!r} is no URL: {error}",
            hint="check the name of the server",
        ) from None
    if parts.scheme in {"http", "https", "oci"} and parts.hostname:
        return True
    if not parts.scheme or (parts.scheme == "file" and parts.netloc in {"", "localhost"}):
        return False
    if parts.scheme in {"http", "https", "oci", "file"}:
        raise RepositoryError(
            f"{public_url(location)} names no server that could be asked",
            hint="write https://HOST/PATH, oci://HOST/PATH, or a path",
        )
    raise RepositoryError(
        f"{public_url(location)} has the scheme {parts.scheme!r}, which is not supported",
        hint="use a path, https://, http:// or oci://",
    )


def key_name(location: str) -> str:
    """The file name of the key at a path or URL."""
    path = unquote(urlsplit(location).path) if is_url(location) else location
    return path.rpartition("/")[2]


def local_path(location: str) -> Path:
    """The path of a local repository or key."""
    return Path(unquote(urlsplit(location).path) if location.startswith("file://") else location)


def parse_repository(text: str) -> tuple[str, str]:
    """URL or path, and tag, of ``URL`` or ``@tag URL``."""
    text = text.strip()
    tag = ""
    if text.startswith("@"):
        match = _TAG.fullmatch(text)
        if match is None:
            raise RepositoryError(
                f"{text!r} is no repository",
                hint="write '@tag URL' with letters and digits as tag, or just the URL",
            )
        tag, text = match.groups()
    if not text:
        raise RepositoryError(
            "a repository has no URL", hint="write a URL or a path, or leave it out"
        )
    is_url(text)
    return text.rstrip("/"), tag


def hinted(error: HttpError) -> HttpError:
    """The error with advice that fits repositories."""
    if error.status in {401, 403}:
        error.hint = (
            "check the URL and the login: user:password@ in the URL, HTTP_AUTH, ~/.netrc, or "
            "what docker is logged in to"
        )
    elif isinstance(error, TooLargeError) and error.hint is None:
        error.hint = (
            "if so much is expected, raise --max-http-response-size; for an index, "
            "--max-apkindex-decompressed-size too"
        )
    elif error.hint is None:
        error.hint = "try again; what was fetched so far is kept"
    return error


def no_key(url: str) -> RepositoryError:
    """Says that nothing verifies a repository."""
    return RepositoryError(
        f"there is no key to verify {public_url(url)} with",
        hint="add the repository's public key to contents.keyring, or use --keyring-append",
    )


def no_index(url: str, arch: Arch, why: str) -> RepositoryError:
    """Says that a repository is not for an architecture."""
    hint = f"check the repository's URL, or leave {arch.oci} out of the architectures"
    if url.endswith(f"/{arch.apk}"):
        hint = f"leave /{arch.apk} off: the architecture's folder is looked for below the URL"
    elif not is_url(url):
        hint = f"paths count from the working directory, URLs begin with https://; or {hint}"
    return RepositoryError(
        f"repository {public_url(url)} has no index for {arch.apk}: {why}", hint=hint
    )

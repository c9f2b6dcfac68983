"""Finding the keys of a repository that no key of the configuration signed.

Two ways are known: Alpine's ``releases.json``, which lists the keys of each branch and
architecture, and a repository's own ``apk-configuration``, whose ``jwks_uri`` leads to a JSON Web
Key Set (RFC 7517). What comes of them rests on TLS alone, so plain HTTP is refused but for this
machine. What is found counts for that repository alone.
"""

from __future__ import annotations

import base64
import json
import os
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urljoin, urlsplit

from plimsoll.errors import Error
from plimsoll.http import HttpError, public_url
from plimsoll.http.address import is_protected

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from plimsoll.arch import Arch

    Fetch = Callable[[str, int], Awaitable[bytes]]

#: Where Alpine says which keys sign which branch; ``PLIMSOLL_ALPINE_RELEASES`` names a mirror.
ALPINE_RELEASES = "https://alpinelinux.org/releases.json"
_ALPINE = re.compile(r"https?://.+/alpine/([^/]+)/[^/]+")
_SAFE_NAME = re.compile(r"[A-Za-z0-9@][A-Za-z0-9@._+-]{0,200}")
_MAX_DOCUMENT = 4 << 20
_MAX_KEYS = 64


class DiscoveryError(Error):
    """Keys of a repository that cannot be found, or cannot be trusted."""

    reason = "KeyDiscoveryFailed"


async def discover_keys(
    fetch: Fetch, url: str, arch: Arch, environ: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Keys (file name → PEM) that a repository's publisher announces; none if it does not.

    Args:
        fetch: gets what a URL has, within a limit in bytes.
        url: of the repository, without architecture.
        arch: Alpine has keys by architecture.
        environ: where a mirror of Alpine's list is named.

    Raises:
        DiscoveryError: what is announced is no key, or came over an unprotected connection.
        HttpError: a server fails.
    """
    branch = _ALPINE.fullmatch(url)
    if branch:
        return await _alpine(fetch, branch[1], arch, os.environ if environ is None else environ)
    return await _key_set(fetch, url)


async def _alpine(
    fetch: Fetch, branch: str, arch: Arch, environ: Mapping[str, str]
) -> dict[str, str]:
    source = environ.get("PLIMSOLL_ALPINE_RELEASES") or ALPINE_RELEASES
    document = await _json(fetch, source)
    if branch == "latest-stable":
        branch = str(document.get("latest_stable"))
    try:
        branches = {
            item["rel_branch"]: item.get("keys", {}) for item in document["release_branches"]
        }
        listed = branches.get(branch) if branch in branches else None
        urls = [str(item["url"]) for item in (listed or {}).get(arch.apk, [])]
    except (KeyError, TypeError, AttributeError):
        raise DiscoveryError(f"{public_url(source)} is not Alpine's list of releases") from None
    found = {}
    for item in urls[:_MAX_KEYS]:
        name = _name(unquote(urlsplit(item).path).rpartition("/")[2], source)
        key = await fetch(_protected(urljoin(source, item)), 64 << 10)
        found[name] = key.decode(errors="replace")
    return found


async def _key_set(fetch: Fetch, url: str) -> dict[str, str]:
    place = f"{url}/apk-configuration"
    if not is_protected(place):
        return {}
    try:
        document = await _json(fetch, place)
    except HttpError as error:
        # Storage that lists nothing answers 403 for what is not there.
        if error.status in {401, 403, 404, 410}:
            return {}
        raise
    uri = document.get("jwks_uri")
    if not isinstance(uri, str) or not uri:
        raise DiscoveryError(f"{public_url(place)} has no jwks_uri")
    target = urljoin(place, uri)
    keys = (await _json(fetch, target)).get("keys")
    if not isinstance(keys, list) or len(keys) > _MAX_KEYS:
        raise DiscoveryError(f"{public_url(target)} is no JSON Web Key Set of usual size")
    found = {}
    for item in keys:
        if not isinstance(item, dict) or item.get("kty") != "RSA":
            continue
        found[_name(f"{item.get('kid', '')}.rsa.pub", target)] = _pem(item, target)
    return found


def _protected(url: str) -> str:
    if not is_protected(url):
        raise DiscoveryError(
            f"keys are announced at {public_url(url)}, which is not protected by TLS",
            hint="name the keys in contents.keyring",
        )
    return url


async def _json(fetch: Fetch, url: str) -> dict[str, Any]:
    data = await fetch(_protected(url), _MAX_DOCUMENT)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise DiscoveryError(
            f"{public_url(url)} is no JSON object", hint="name the keys in contents.keyring"
        )
    return value


def _name(name: str, source: str) -> str:
    """A key's file name; it becomes a path in the image, so nothing else may pass."""
    if not _SAFE_NAME.fullmatch(name) or not name.endswith(".rsa.pub"):
        raise DiscoveryError(
            f"{public_url(source)} names a key {name[:80]!r}, which is no file name"
        )
    return name


def _pem(item: dict[str, Any], source: str) -> str:
    from cryptography.hazmat.primitives.asymmetric.rsa import (  # noqa: PLC0415  (only for key sets)
        RSAPublicNumbers,
    )
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
        Encoding,
        PublicFormat,
    )

    try:
        modulus, exponent = (
            int.from_bytes(base64.urlsafe_b64decode(str(item[part]) + "=="), "big")
            for part in ("n", "e")
        )
        if modulus.bit_length() > 16384:
            raise ValueError("too large")  # noqa: TRY301
        key = RSAPublicNumbers(exponent, modulus).public_key()
    except (KeyError, ValueError, TypeError) as error:
        raise DiscoveryError(
            f"{public_url(source)} holds an RSA key that is none: {error}"
        ) from None
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

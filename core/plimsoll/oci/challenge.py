"""What a registry asks for with a 401 (RFC 9110 §11.6.1; distribution's token specification)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from plimsoll.http.address import host_only
from plimsoll.oci.errors import RegistryError
from plimsoll.oci.reference import is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterable

_PARAMETER = re.compile(
    r"\s*([A-Za-z0-9_-]+)\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s,\"]+))\s*(?:,|$)", re.ASCII
)
_SCHEME = re.compile(r"[\s,]*([A-Za-z][A-Za-z0-9_-]*)(?=\s|,|$)", re.ASCII)
_HEADER_LIMIT = 8192


@dataclass(frozen=True, slots=True)
class Challenge:
    """``Basic``, or ``Bearer`` with the server that gives out tokens."""

    scheme: str
    """``basic`` or ``bearer``."""
    realm: str = ""
    service: str = ""
    scope: str = ""


def choose(headers: Iterable[str]) -> Challenge | None:
    """The best challenge we can answer: bearer before basic; ``None`` if there is none."""
    found = [item for header in headers for item in parse(header)]
    for scheme in ("bearer", "basic"):
        for item in found:
            if item.scheme == scheme and (scheme == "basic" or item.realm):
                return item
    return None


def parse(header: str) -> list[Challenge]:
    """All challenges of one ``WWW-Authenticate`` header; what cannot be read ends the list."""
    result: list[Challenge] = []
    text, position = header[:_HEADER_LIMIT], 0
    while (match := _SCHEME.match(text, position)) is not None:
        position = match.end()
        values: dict[str, str] = {}
        while (pair := _PARAMETER.match(text, position)) is not None:
            quoted, plain = pair[2], pair[3]
            value = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            values.setdefault(pair[1].lower(), value)
            position = pair.end()
        result.append(
            Challenge(
                match[1].lower(),
                values.get("realm", ""),
                values.get("service", ""),
                values.get("scope", ""),
            )
        )
    return result


def check_realm(realm: str, base: str, insecure: frozenset[str]) -> None:
    """Refuse a token server that would get credentials unprotected.

    Args:
        realm: URL of the token server.
        base: URL of the registry that named it.
        insecure: hosts that may be spoken to over plain HTTP.

    Raises:
        RegistryError: unless it is https, or http like the registry itself on a host that may be
            spoken to so.
    """
    registry = urlsplit(base)
    try:
        parts = urlsplit(realm)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        parts, host = urlsplit(""), ""
    plain_allowed = registry.scheme == "http" and (
        host == registry.hostname
        or is_loopback(f"[{host}]" if ":" in host else host)
        or any(host == host_only(item) for item in insecure)
    )
    fine = parts.scheme == "https" or (parts.scheme == "http" and plain_allowed)
    if not fine or not host or parts.username is not None:
        shown = f"{parts.scheme}://{host}" if host else repr(realm[:60])
        raise RegistryError(
            f"{registry.netloc} sends us to {shown} for a token, which we do not trust",
            hint="a token server must be reached by https",
            host=registry.netloc,
        )

"""Asking registries: JSON of bounded size, in the shapes that are expected."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from plimsoll.builder.convert.draft import ConvertError
from plimsoll.http import HttpError, public_url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plimsoll.http import Http

MAX_ANSWER = 64 << 20
_NOT_FOUND = frozenset({404, 410})


async def ask(http: Http, url: str, what: str, accept: str = "application/json") -> dict[str, Any]:
    """A JSON object.

    Args:
        http: the client.
        url: where it is.
        what: what is asked for, for the message.
        accept: media type.

    Raises:
        ConvertError: the registry has no such thing, or answers something else.
        HttpError: it cannot be asked.
    """
    value = read(await ask_bytes(http, url, what, accept), url)
    if not isinstance(value, dict):
        raise odd(url)
    return value


async def ask_bytes(http: Http, url: str, what: str, accept: str = "*/*") -> bytes:
    """An answer as it is; see ``ask``."""
    try:
        return await http.get_bytes(url, max_size=MAX_ANSWER, headers={"Accept": accept})
    except HttpError as error:
        if error.status in _NOT_FOUND:
            raise ConvertError(
                f"{public_url(url)}: there is no {what}",
                hint="check its spelling, and the registry (--index-url)",
            ) from None
        raise


def read(data: bytes, url: str) -> Any:
    """JSON of an answer.

    Raises:
        ConvertError: it is none.
    """
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise odd(url) from None


def odd(url: str) -> ConvertError:
    """An answer that is not what such registries say."""
    return ConvertError(
        f"{public_url(url)} does not answer as a registry of this kind does",
        hint="check --index-url",
    )


def text_of(value: Mapping[str, Any], *names: str) -> str:
    """The first of some members that is a text and not empty."""
    return next((v for n in names if isinstance(v := value.get(n), str) and v.strip()), "").strip()


def part(name: str) -> str:
    """A name as one part of a path."""
    return quote(name, safe="@")


def plain_name(name: str, prefix: str = "") -> str:
    """A name that a package can have."""
    plain = re.sub(r"[^a-z0-9+_.-]+", "-", name.lower()).strip("-.")
    return f"{prefix}{plain or 'package'}"

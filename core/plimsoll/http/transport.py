"""The small print of a request: URLs, credentials, proxies, and what an exception means."""

from __future__ import annotations

import base64
import os
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urljoin, urlsplit, urlunsplit

from plimsoll.http.answers import PROXY_LOGIN
from plimsoll.http.errors import (
    RETRYABLE_STATUS,
    AddressRefusedError,
    HttpConnectionError,
    HttpError,
    HttpTimeoutError,
    public_url,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

#: What may stand in a URL as it is; '%' because it is quoted already.
_SAFE = "!#$%&'()*+,/:;=?@[]~-._"


def basic(username: str, password: str) -> str:
    """The value of an ``Authorization`` header (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def split_userinfo(url: str, headers: Mapping[str, str] | None) -> tuple[str, dict[str, str]]:
    """Turn ``user:password@`` of a URL into a header; a header that is there already wins."""
    result = dict(headers or {})
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise HttpError(f"{public_url(url)} is no valid URL") from None
    if parts.username is not None:
        bare = parts.netloc.rpartition("@")[2]
        if not any(name.lower() == "authorization" for name in result):
            result["Authorization"] = basic(unquote(parts.username), unquote(parts.password or ""))
        url = urlunsplit(parts._replace(netloc=bare))
    return quote(url, safe=_SAFE), result


def origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port: what credentials belong to."""
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, (parts.hostname or "").lower(), port


def redirect_target(current: str, location: str) -> str:
    """Where a ``Location`` leads.

    Raises:
        HttpError: for anything but http and https, and for a way from https down to http.
    """
    try:
        target = quote(urljoin(current, location), safe=_SAFE)
        parts = urlsplit(target)
        _ = parts.port
    except ValueError:
        raise HttpError(f"{public_url(current)} redirects to an invalid URL") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise HttpError(f"{public_url(current)} redirects to {parts.scheme[:20]!r}, not to a URL")
    if parts.scheme == "http" and urlsplit(current).scheme == "https":
        raise HttpError(
            f"{public_url(current)} redirects from https to unprotected http",
            hint="the server's configuration is wrong, or somebody is in between",
        )
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def proxy_settings(proxy: str | None) -> tuple[str | None, dict[str, str]]:
    """A proxy's URL without its user information, and the headers that carry it.

    Raises:
        HttpError: it is no HTTP proxy.
    """
    if proxy is None:
        return None, {}
    try:
        bare, headers = split_userinfo(proxy, None)
        scheme, host = urlsplit(bare).scheme, urlsplit(bare).hostname
    except HttpError:
        scheme, host = "http", None
    if scheme not in {"http", "https"} or not host:
        raise HttpError(
            f"the environment names a {scheme} proxy, which is not supported"
            if host
            else "the environment names a proxy whose URL cannot be read",
            hint="name one as http://HOST:PORT in HTTPS_PROXY, HTTP_PROXY or ALL_PROXY; write "
            "/ ? # @ : in a login as %2F %3F %23 %40 %3A",
        )
    secret = headers.get("Authorization")
    return bare, {} if secret is None else {"Proxy-Authorization": secret}


@contextmanager
def sound_host(url: str) -> Iterator[None]:
    """Raise an ``HttpError`` where a host name cannot be asked for: empty or too long parts."""
    try:
        yield
    except UnicodeError:
        raise HttpError(f"{public_url(url)[:300]} has a host name that cannot be") from None


@asynccontextmanager
async def translated(url: str) -> AsyncIterator[None]:
    """Raise whatever aiohttp raises inside as an ``HttpError`` that a person understands."""
    import aiohttp  # noqa: PLC0415  slow to import

    try:
        yield
    except HttpError:
        raise
    except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
        raise _explain(error, public_url(url)) from error


def _explain(error: Exception, where: str) -> HttpError:
    import aiohttp  # noqa: PLC0415  slow to import

    if (unwanted := _refusal(error)) is not None:
        return unwanted
    if isinstance(error, TimeoutError):
        return HttpTimeoutError(
            f"{where} did not answer in time, or too slowly", hint="try later", retryable=True
        )
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        reason = getattr(error.certificate_error, "verify_message", "") or "not trusted"
        return HttpConnectionError(
            f"the TLS certificate of {where} is not valid: {reason}",
            hint="if it comes from your own authority, name its file in SSL_CERT_FILE",
            retryable=False,
        )
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        whose = where if error.host in where else f"the proxy {error.host}"
        return HttpConnectionError(
            f"the host name of {whose} is not known", hint="check the name", retryable=True
        )
    if isinstance(error, aiohttp.InvalidURL):
        return HttpError(f"{where} is no valid URL")
    refused = error.status if isinstance(error, aiohttp.ClientHttpProxyError) else 0
    return HttpConnectionError(
        f"{where}: {_words(error)}",
        hint=PROXY_LOGIN if refused == 407 else None,
        retryable=not refused or refused in RETRYABLE_STATUS,
    )


def _words(error: Exception) -> str:
    import aiohttp  # noqa: PLC0415  slow to import

    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy refused the connection ({error.status})"
    if isinstance(error, aiohttp.ClientConnectorError) and not isinstance(
        error, aiohttp.ClientSSLError
    ):
        number = error.os_error.errno
        reason = os.strerror(number) if number else error.os_error.strerror or "refused"
        by = isinstance(error, aiohttp.ClientProxyConnectionError)
        return f"no connection{f' to the proxy {error.host}:{error.port}' if by else ''} ({reason})"
    closed = "the connection was closed before the answer was complete"
    meanings: list[tuple[type[Exception], str]] = [
        (aiohttp.ClientPayloadError, "the answer was cut off"),
        (aiohttp.ServerDisconnectedError, closed),
        (ConnectionResetError, closed),
        (aiohttp.ClientResponseError, "the answer is no valid HTTP"),
        (aiohttp.ClientSSLError, "the TLS handshake failed"),
    ]
    for kind, words in meanings:
        if isinstance(error, kind):
            return words
    return f"the connection failed ({type(error).__name__})"


def _refusal(error: BaseException | None) -> AddressRefusedError | None:
    """The guard's own error, which aiohttp wraps when a resolver raises it."""
    while error is not None:
        if isinstance(error, AddressRefusedError):
            return error
        error = error.__cause__ or error.__context__
    return None

"""Logins for APK repositories, kept apart from their URLs.

A login may stand in a URL (``https://user:password@host/…``), in ``HTTP_AUTH``
(``basic:HOST:USER:PASSWORD``, where HOST may have a port) or in a netrc file; the first of these
counts. It is taken out of the URL at once, so that locks, images, SBOMs, provenance and messages
never hold it.
"""

from __future__ import annotations

import base64
import netrc
import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plimsoll.api.image import ImageConfiguration
    from plimsoll.api.steps import RepositorySource


class LoginFileError(Error):
    """A netrc file that cannot be read."""

    reason = "InvalidSettings"


class Logins:
    """Logins by host (with port, where the URL has one).

    Args:
        environ: where ``HTTP_AUTH`` is read from (several entries are separated by blanks), and
            where the netrc file is: ``NETRC``, else ``.netrc`` in ``HOME``.

    Raises:
        LoginFileError: the netrc file cannot be read.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._by_host: dict[str, str] = {}
        environ = os.environ if environ is None else environ
        self._by_host |= _from_netrc(environ)
        for item in environ.get("HTTP_AUTH", "").split():
            kind, _, rest = item.partition(":")
            host, _, login = rest.partition(":")
            port, _, after = login.partition(":")
            if port.isdecimal() and ":" in after:
                host, login = f"{host}:{port}", after
            if kind == "basic" and host and login:
                self._by_host[host] = login

    def __repr__(self) -> str:
        return f"Logins({', '.join(sorted(self._by_host))})"

    def headers(self, url: str) -> dict[str, str]:
        """The headers that log in at a URL's host."""
        parts = urlsplit(url)
        login = self._by_host.get(parts.netloc) or self._by_host.get(parts.hostname or "")
        if login is None:
            return {}
        return {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}

    def strip(self, text: str) -> str:
        """A repository (``URL`` or ``@tag URL``) or key URL without its login, which is kept."""
        before, blank, url = text.strip().rpartition(" ")
        if "://" not in url:
            return text
        parts = urlsplit(url)
        if "@" not in parts.netloc:
            return text
        login, _, host = parts.netloc.rpartition("@")
        self._by_host[host] = unquote(login)
        return f"{before}{blank}{urlunsplit(parts._replace(netloc=host))}"

    def strip_config(self, config: ImageConfiguration) -> ImageConfiguration:
        """The configuration without logins."""
        contents = config.contents
        update = {
            name: [self.strip(text) for text in getattr(contents, name)]
            for name in (
                "keyring",
                "repositories",
                "build_repositories",
                "runtime_repositories",
            )
        }
        return config.model_copy(update={"contents": contents.model_copy(update=update)})

    def strip_sources(self, sources: Sequence[RepositorySource]) -> list[RepositorySource]:
        """Repositories without logins."""
        return [
            source.model_copy(
                update={
                    "url": self.strip(source.url),
                    "keys": {
                        name: value if "-----BEGIN" in value else self.strip(value)
                        for name, value in source.keys.items()
                    },
                }
            )
            for source in sources
        ]


def _from_netrc(environ: Mapping[str, str]) -> dict[str, str]:
    """Logins by host; the ``default`` entry is left out, as it would go to every host."""
    given = environ.get("NETRC")
    home = environ.get("HOME")
    if not given and not home:
        return {}
    path = Path(given) if given else Path(home or "") / ".netrc"
    try:
        # Not the library's default file, of which it would ask more than others do.
        hosts = netrc.netrc(str(path)).hosts
    except FileNotFoundError:
        return {}
    except (netrc.NetrcParseError, OSError, UnicodeError) as error:
        # The library's message may repeat a word of the file.
        line = f", line {error.lineno}" if isinstance(error, netrc.NetrcParseError) else ""
        raise LoginFileError(
            f"{path}{line} is no readable netrc file", hint="correct it, or point NETRC elsewhere"
        ) from None
    return {
        host: f"{login}:{password}"
        for host, (login, _, password) in hosts.items()
        if host != "default" and login and password
    }

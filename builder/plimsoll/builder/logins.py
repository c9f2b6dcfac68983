"""Logins for APK repositories, kept apart from their URLs.

A login may stand in a URL (``https://user:password@host/…``), in ``HTTP_AUTH``
(``basic:HOST:USER:PASSWORD``, where HOST may have a port) or in a netrc file; the first of these
counts. It is taken out of the URL at once, so that locks, images, SBOMs, provenance and messages
never hold it. What docker is logged in to is asked by ``Transport``, where a server wants a login
and there is none here.
"""

from __future__ import annotations

import netrc
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit, urlunsplit

from plimsoll.errors import Error
from plimsoll.http.transport import basic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plimsoll.api.image import ImageConfiguration
    from plimsoll.api.steps import RepositorySource

_URL = re.compile(r"(?P<before>(?:@\S+\s+)?)(?P<url>[A-Za-z][A-Za-z0-9+.-]*://.*)", re.DOTALL)
#: What looks like a user name and password, behind the end of the host.
_STRAY_LOGIN = re.compile(r"://[^/?#]*[/?#].*:[^/]*@")
_SERVER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:]*)(:[0-9]*)?")
_UNREADABLE = "a URL of a repository or key cannot be read"
_QUOTED = (
    "write / ? # @ : in a user name or password, and @ behind the host, as %2F %3F %23 %40 %3A"
)
_BASIC = re.compile(
    r"basic:(?P<host>\[[0-9A-Fa-f:.]+\]|[^:]+)(?::(?P<port>[0-9]+)(?=:[^:]*:))?"
    r":(?P<user>[^:]*):(?P<password>.*)"
)


class LoginFileError(Error):
    """A netrc file that cannot be read."""

    reason = "InvalidSettings"


class LoginVariableError(Error):
    """A login in the environment, or in a URL, that cannot be read."""

    reason = "InvalidSettings"


class _Given(NamedTuple):
    """A login that stood in a URL: for what lies below it, and for the rest of its server."""

    server: tuple[str, str]
    path: str
    header: str


class Logins:
    """Logins by server, and by folder where one server has several.

    Args:
        environ: where ``HTTP_AUTH`` is read from (several entries are separated by blanks), and
            where the netrc file is: ``NETRC``, else ``.netrc`` in ``HOME``.

    Raises:
        LoginFileError: the netrc file cannot be read.
        LoginVariableError: ``HTTP_AUTH`` has another form.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        self._given: list[_Given] = []
        self._by_host = _from_netrc(environ) | _from_variable(environ.get("HTTP_AUTH", ""))

    def __repr__(self) -> str:
        hosts = {*self._by_host, *(given.server[1] for given in self._given)}
        return f"Logins({', '.join(sorted(hosts))})"

    def headers(self, url: str) -> dict[str, str]:
        """The headers that log in at a URL's server.

        Of logins that stood in URLs the one of the nearest folder counts, else the first one of
        this server; they are never sent with another scheme than they were written with.
        """
        parts = urlsplit(url)
        server = (parts.scheme, parts.netloc.lower())
        here = [given for given in self._given if given.server == server]
        below = [given for given in here if f"{parts.path}/".startswith(f"{given.path}/")]
        if below or here:
            found = max(below, key=lambda given: len(given.path)) if below else here[0]
            return {"Authorization": found.header}
        host = (parts.hostname or "").lower()
        header = self._by_host.get(server[1]) or self._by_host.get(host)
        return {"Authorization": header} if header else {}

    def strip(self, text: str) -> str:
        """A repository (``URL`` or ``@tag URL``) or key URL without its login, which is kept.

        Raises:
            LoginVariableError: it has a login that cannot be told from the rest.
        """
        match = _URL.fullmatch(text.strip())
        if match is None:
            return text
        try:
            parts = urlsplit(match["url"])
            _ = parts.port
        except ValueError:
            raise LoginVariableError(_UNREADABLE, hint=_QUOTED) from None
        login, at, host = parts.netloc.rpartition("@")
        rest = f"{parts.path}?{parts.query}#{parts.fragment}"
        # A second @ may be the end of a password with a / in it.
        stray = "@" in rest if at else host.endswith(":") or _STRAY_LOGIN.search(match["url"])
        if stray or (at and not host) or not _SERVER.fullmatch(host):
            raise LoginVariableError(_UNREADABLE, hint=_QUOTED)
        if not at:
            return text
        if parts.scheme == "oci":
            raise LoginVariableError(
                f"there is a login in the URL of a repository at {host}",
                hint=f"take it out, and keep it with 'plimsoll login {host}'",
            )
        user, _, password = login.partition(":")
        path = parts.path.rstrip("/")
        header = basic(unquote(user), unquote(password))
        self._given.append(_Given((parts.scheme, host.lower()), path, header))
        return f"{match['before']}{urlunsplit(parts._replace(netloc=host))}"

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


def _from_variable(value: str) -> dict[str, str]:
    found = {}
    for item in value.split():
        match = _BASIC.fullmatch(item)
        if match is None:
            raise LoginVariableError(
                "HTTP_AUTH is not of the form basic:HOST:USER:PASSWORD",
                hint="separate several logins with blanks; HOST may have a port",
            )
        host = f"{match['host']}:{match['port']}" if match["port"] else match["host"].strip("[]")
        found[host.lower()] = basic(match["user"], match["password"])
    return found


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
        host.lower(): basic(login, password)
        for host, (login, _, password) in hosts.items()
        if host != "default" and login and password
    }

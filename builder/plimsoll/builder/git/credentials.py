"""Logins for Git servers and downloads, by host, from files that others made.

Read are ``.netrc`` files, Git's credential files (``git-credential-store``), and directories of
mounted Secrets: ``username`` and ``password`` beside each other, ``.netrc``, ``.git-credentials``.
No helper program is ever run. A login is for one host (and port); a redirect to another does not
get it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import unquote, urlsplit

from plimsoll.builder.git.errors import GitError
from plimsoll.http.transport import basic

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

MAX_FILE: Final = 1 << 20
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Login:
    """A user and a password, or a token in its place."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A login, and where it counts; empty or 0 means any."""

    host: str
    login: Login
    scheme: str = ""
    port: int = 0
    path: str = ""
    username: str = ""

    def fits(self, url: str) -> bool:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme, 0)
        if self.scheme and self.scheme != parts.scheme:
            return False
        # Without a scheme, as in .netrc, a login is never sent unprotected but to this machine.
        if not self.scheme and parts.scheme == "http" and not _is_local(parts.hostname or ""):
            return False
        if self.host != (parts.hostname or "").lower():
            return False
        if self.port and self.port != port:
            return False
        if parts.username and self.username and parts.username != self.username:
            return False
        wanted = self.path.strip("/")
        below = parts.path.strip("/").removesuffix(".git")
        return not wanted or below == wanted or below.startswith(f"{wanted}/")


class GitCredentials:
    """Logins by host; secrets show in no ``repr`` and no error."""

    def __init__(self, entries: Iterable[_Entry] = ()) -> None:
        self.entries = tuple(entries)

    def __repr__(self) -> str:
        hosts = sorted({entry.host for entry in self.entries})
        return f"GitCredentials({', '.join(hosts)})"

    def __bool__(self) -> bool:
        return bool(self.entries)

    @classmethod
    def default(cls, environ: Mapping[str, str] | None = None) -> Self:
        """What the user has.

        Read is ``$PLIMSOLL_GIT_CREDENTIALS`` (a file or directory), else ``$NETRC`` or
        ``~/.netrc``, and ``~/.git-credentials``.

        Raises:
            GitError: one exists and cannot be read.
        """
        env = os.environ if environ is None else environ
        if given := env.get("PLIMSOLL_GIT_CREDENTIALS"):
            return cls.read(Path(given))
        home = Path(env.get("HOME") or "/")
        paths = (Path(env.get("NETRC") or home / ".netrc"), home / ".git-credentials")
        found = [cls.read(path) for path in paths if path.is_file()]
        return cls(entry for one in found for entry in one.entries)

    @classmethod
    def read(cls, path: Path, host: str = "") -> Self:
        """Logins of a file, or of a directory as Secrets are mounted.

        Args:
            path: ``.netrc``, a file of Git's ``store`` helper, or a directory.
            host: for which ``username`` and ``password`` of a directory count: ``HOST[:PORT]``.

        Raises:
            GitError: it cannot be read, or holds nothing that is a login.
        """
        try:
            if path.is_dir():
                return cls(_directory(path, host))
            text = _read(path)
        except OSError as error:
            raise GitError(
                f"the credentials in {path} cannot be read: {error.strerror}",
                hint="check the path and who may read it",
            ) from None
        entries = list(_store(text, path) if "://" in text else _netrc(text, path))
        return cls(entries)

    def merged(self, other: GitCredentials) -> GitCredentials:
        """Both; this one's logins come first."""
        return GitCredentials((*self.entries, *other.entries))

    def login(self, url: str) -> Login | None:
        """The login for a URL, that with the longest path first."""
        fitting = [entry for entry in self.entries if entry.fits(url)]
        best = max(fitting, key=lambda entry: (len(entry.path), bool(entry.port)), default=None)
        return best.login if best else None

    def headers(self, url: str) -> dict[str, str]:
        """The login for a URL as a header of HTTP; nothing where there is none."""
        login = self.login(url) if urlsplit(url).scheme in _PORTS else None
        return {"Authorization": basic(login.username, login.password)} if login else {}


def _is_local(host: str) -> bool:
    return host in {"localhost", "127.0.0.1", "::1"}


def _read(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise GitError(f"{path} is too large for a file of credentials")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise GitError(f"{path} is no file of credentials") from None


def _directory(path: Path, host: str) -> Iterator[_Entry]:
    found = False
    for name in (".netrc", "netrc", ".git-credentials", "git-credentials"):
        file = path / name
        if file.is_file():
            found = True
            text = _read(file)
            yield from _store(text, file) if "credentials" in name else _netrc(text, file)
    user, password = path / "username", path / "password"
    if password.is_file():
        if not host:
            raise GitError(
                f"{path} holds a user and a password, but not for which host",
                hint="write HOST=DIRECTORY",
            )
        found = True
        name = _read(user).strip() if user.is_file() else "git"
        yield _entry_of(host, Login(name, _read(password).strip()))
    if not found:
        raise GitError(
            f"{path} holds no credentials",
            hint="put username and password, .netrc or .git-credentials there",
        )


def _entry_of(host: str, login: Login) -> _Entry:
    parts = urlsplit(host if "://" in host else f"//{host}")
    return _Entry(
        (parts.hostname or "").lower(), login, parts.scheme, parts.port or 0, parts.path.strip("/")
    )


def _store(text: str, path: Path) -> Iterator[_Entry]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            parts = urlsplit(line.strip())
            port = parts.port or 0
        except ValueError:
            raise _malformed(path, number) from None
        if not parts.scheme or not parts.hostname or parts.password is None:
            raise _malformed(path, number)
        login = Login(unquote(parts.username or ""), unquote(parts.password))
        below = parts.path.strip("/").removesuffix(".git")
        user = login.username
        yield _Entry(parts.hostname.lower(), login, parts.scheme, port, below, user)


def _malformed(path: Path, number: int) -> GitError:
    return GitError(
        f"{path}:{number} is no credential", hint="write https://USER:PASSWORD@HOST, one a line"
    )


_TOKEN = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')


def _netrc(text: str, path: Path) -> Iterator[_Entry]:
    """Entries of ``.netrc``; ``default`` and macros are left out: they are for no named host."""
    words = [
        match[2] if match[1] is None else re.sub(r"\\(.)", r"\1", match[1])
        for line in text.splitlines()
        if not line.lstrip().startswith("#")
        for match in _TOKEN.finditer(line)
    ]
    host, values = "", dict[str, str]()
    position = 0
    while position <= len(words):
        word = words[position] if position < len(words) else "machine"
        if word in {"machine", "default", "macdef"}:
            if host and "password" in values:
                yield _entry_of(host, Login(values.get("login", ""), values["password"]))
            last = position == len(words)
            host = "" if last or word != "machine" else words[min(position + 1, len(words) - 1)]
            values = {}
            position += 1 if word == "default" else 2
            if word == "macdef":
                return  # a macro goes on to an empty line, which words do not show
        elif word in {"login", "password", "account"} and position + 1 < len(words):
            values[word] = words[position + 1]
            position += 2
        else:
            raise GitError(f"{path} is no .netrc file", hint="write machine HOST login USER …")

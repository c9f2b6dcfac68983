"""Tokens for the APIs of GitHub and GitLab: from the environment, ``gh``'s file, ``.netrc``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import yaml

from plimsoll.builder.updates.model import UpdateError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plimsoll.builder.git.credentials import GitCredentials

_MAX_FILE = 1 << 20


def github_token(
    environ: Mapping[str, str], credentials: GitCredentials, server: str, api: str
) -> str:
    """The token for GitHub, or an empty text.

    Args:
        environ: ``GH_TOKEN`` and ``GITHUB_TOKEN`` go first, then the file of ``gh``.
        credentials: logins by host; the password is the token.
        server: URL of the server that people see.
        api: URL of its API.

    Raises:
        UpdateError: a token that cannot be one, or a file that cannot be read.
    """
    for name in ("GH_TOKEN", "GITHUB_TOKEN"):
        if environ.get(name):
            return _checked(environ[name], name)
    host = urlsplit(server).hostname or ""
    found = _gh(environ, host)
    if found:
        return _checked(found, "the file of gh")
    for url in (api, server):
        login = credentials.login(url)
        if login is not None:
            return _checked(login.password, f"the credentials for {host}")
    return ""


def gitlab_token(environ: Mapping[str, str], credentials: GitCredentials, server: str) -> str:
    """The token for a GitLab server, or an empty text.

    Raises:
        UpdateError: a token that cannot be one.
    """
    if environ.get("GITLAB_TOKEN"):
        return _checked(environ["GITLAB_TOKEN"], "GITLAB_TOKEN")
    login = credentials.login(server)
    return _checked(login.password, "the credentials") if login is not None else ""


def _gh(environ: Mapping[str, str], host: str) -> str:
    base = environ.get("GH_CONFIG_DIR")
    if base:
        folder = Path(base)
    else:
        config = environ.get("XDG_CONFIG_HOME")
        folder = (Path(config) if config else Path(environ.get("HOME") or "/", ".config")) / "gh"
    path = folder / "hosts.yml"
    try:
        with path.open("rb") as file:
            value = yaml.safe_load(file.read(_MAX_FILE))
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        raise UpdateError(
            f"{path} cannot be read", hint="give the token as GH_TOKEN, or run 'gh auth login'"
        ) from None
    entry = value.get(host) if isinstance(value, dict) else None
    token = entry.get("oauth_token") if isinstance(entry, dict) else None
    return token if isinstance(token, str) else ""


def _checked(token: str, where: str) -> str:
    token = token.strip()
    if not re.fullmatch(r"[\x21-\x7e]{1,4096}", token):
        raise UpdateError(f"the token in {where} is none", hint="check it for spaces and newlines")
    return token

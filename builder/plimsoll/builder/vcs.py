"""Where a configuration lives in version control."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

if TYPE_CHECKING:
    from pathlib import Path

_TIMEOUT = 10
_SSH = re.compile(r"(?:[^@/]+@)?(?P<host>[^:/]+):(?!//)(?P<path>.+)")


def vcs_url(path: Path) -> str:
    """``URL@COMMIT`` of the Git checkout that a file lies in, ``""`` if it lies in none.

    The URL is that of the remote ``origin``, without a login.
    """
    folder = path.resolve().parent
    if not any((above / ".git").exists() for above in (folder, *folder.parents)):
        return ""
    remote = _git(folder, "config", "--get", "remote.origin.url")
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    if not remote or not re.fullmatch(r"[0-9a-f]{40,64}", commit):
        return ""
    url = plain_url(remote)
    return f"{url}@{commit}" if url else ""


def plain_url(remote: str) -> str:
    """A remote as a URL without a login: ``git@host:a/b`` becomes ``ssh://host/a/b``.

    ``""`` for what is no URL.
    """
    if "://" not in remote and (match := _SSH.fullmatch(remote)):
        return f"ssh://{match['host']}/{match['path'].lstrip('/')}"
    try:
        parts = urlsplit(remote)
    except ValueError:
        return ""
    # A query may be a login too.
    plain = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="")
    return urlunsplit(plain)


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            check=False,
            timeout=_TIMEOUT,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else ""

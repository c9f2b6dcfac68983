"""Git sources of packages: fetched by the prepare step, found by ``git-checkout`` without network.

Every repository becomes a bare one in the guest's cache, and Git's configuration there sends who
asks for its URL to it. The pipeline checks commit and tag as it always does.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from plimsoll.builder.git.credentials import GitCredentials
from plimsoll.builder.package.load import CACHE
from plimsoll.builder.steps.common import RequestError
from plimsoll.builder.store import storage_errors
from plimsoll.errors import Error
from plimsoll.http import public_url
from plimsoll.http.address import Guard, Reach
from plimsoll.http.transport import basic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from plimsoll.api.packagesteps import PackageRequest

_TIMEOUT = 1800
_PORTS = {"http": 80, "https": 443}
_ALL = "-1"


class GitFetchError(Error):
    """A Git repository that cannot be fetched."""

    reason = "SourceUnavailable"
    retryable = True


class GitMirrors:
    """Bare copies of repositories.

    Args:
        folder: where they are made.
        request: names logins, and hosts that may be asked whatever their address.
    """

    def __init__(self, folder: Path, request: PackageRequest) -> None:
        self._folder = folder
        self._guard = Guard(frozenset(request.trusted_hosts))
        self._credentials = [*request.credentials]
        self._urls: dict[str, str] = {}

    def __bool__(self) -> bool:
        return bool(self._urls)

    def config(self) -> str:
        """Git's configuration for the guest."""
        lines = ["[safe]\n\tdirectory = *\n[advice]\n\tdetachedHead = false\n"]
        for url, name in self._urls.items():
            quoted = url.replace("\\", "\\\\").replace('"', '\\"')
            place = f"file://{CACHE}/git/{name}"
            lines.append(f'[url "{place}"]\n\tinsteadOf = "{quoted}"\n')
        return "".join(lines)

    async def add(self, inputs: Mapping[str, str]) -> None:
        """Fetch what a ``git-checkout`` with these inputs needs.

        Raises:
            RequestError: it is something that is not fetched here.
            GitFetchError: the repository, or what is wanted of it, cannot be had.
            AddressRefusedError: its server is at an address that must not be asked.
        """
        url = inputs["repository"]
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname or parts.username:
            raise RequestError(
                f"{public_url(url)} is no https URL without login",
                hint="give logins by credentials, and use the repository's https URL",
            )
        if inputs.get("recurse-submodules") == "true":
            raise RequestError(
                f"submodules of {public_url(url)} are not fetched for builds without network",
                hint="check each out by a step of its own, or allow the network",
            )
        name = f"{hashlib.sha256(url.encode()).hexdigest()[:24]}.git"
        place = self._folder / name
        with storage_errors(f"making {place}"):
            place.mkdir(parents=True, exist_ok=True)
        environment = await self._environment(url)
        if not (place / "HEAD").exists():
            await _git(["init", "-q", "--bare", "."], place, environment, url)
        refs, depth = _wanted(inputs)
        history = [] if depth == _ALL else [f"--depth={depth}"]
        await _git(
            ["fetch", "-q", "--no-tags", "--no-write-fetch-head", *history, "--", url, *refs],
            place,
            environment,
            url,
        )
        if not inputs.get("tag") and not inputs.get("branch"):
            head = ["symbolic-ref", "HEAD", "refs/heads/plimsoll-head"]
            await _git(head, place, environment, url)
        self._urls[url] = name

    async def _environment(self, url: str) -> dict[str, str]:
        """Nothing of this machine's Git configuration, one address, one login."""
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port)
        except OSError as error:
            raise GitFetchError(f"there is no host {host}: {error.strerror}") from None
        addresses = sorted({str(item[4][0]) for item in found})
        self._guard.check(host, addresses, Reach.PRIVATE)
        shown = ",".join(f"[{a}]" if ":" in a else a for a in addresses)
        values = {
            "http.followRedirects": "false",
            "http.curloptResolve": f"{host}:{port}:{shown}",
            "credential.helper": "",
            "transfer.fsckObjects": "true",
            "gc.auto": "0",
        }
        credentials = GitCredentials()
        for folder in self._credentials:
            credentials = credentials.merged(await asyncio.to_thread(_read, folder, parts.netloc))
        if login := credentials.login(url):
            values["http.extraHeader"] = f"Authorization: {basic(login.username, login.password)}"
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self._folder),
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_ALLOW_PROTOCOL": "http:https",
            "GIT_CONFIG_COUNT": str(len(values)),
        }
        for name in ("https_proxy", "http_proxy", "no_proxy", "SSL_CERT_FILE"):
            for key in (name, name.upper()):
                if key in os.environ:
                    environment[key] = os.environ[key]
        for number, (key, value) in enumerate(values.items()):
            environment[f"GIT_CONFIG_KEY_{number}"] = key
            environment[f"GIT_CONFIG_VALUE_{number}"] = value
        return environment


def _read(folder: str, host: str) -> GitCredentials:
    from pathlib import Path  # noqa: PLC0415  (one use)

    return GitCredentials.read(Path(folder), host)


def _wanted(inputs: Mapping[str, str]) -> tuple[list[str], str]:
    """References, and how much history, as the pipeline asks for them."""
    branch, tag = inputs.get("branch", ""), inputs.get("tag", "")
    depth = inputs.get("depth") or "unset"
    if depth == "unset":
        depth = _ALL if branch and inputs.get("expected-commit") else "1"
    if tag:
        refs = [f"+refs/tags/{tag}:refs/tags/{tag}"]
    elif branch:
        refs = [f"+refs/heads/{branch}:refs/heads/{branch}"]
    else:
        refs = ["+HEAD:refs/heads/plimsoll-head"]
    if inputs.get("cherry-picks", "").strip():
        refs.append("+refs/heads/*:refs/heads/*")
        depth = _ALL
    return refs, depth


async def _git(
    arguments: Sequence[str], place: Path, environment: Mapping[str, str], url: str
) -> None:
    try:
        process = await asyncio.create_subprocess_exec(
            "git",
            *arguments,
            cwd=place,
            env=dict(environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
    except FileNotFoundError:
        raise RequestError(
            "the program git is not here", hint="install git where prepare runs"
        ) from None
    try:
        async with asyncio.timeout(_TIMEOUT):
            _, said = await process.communicate()
    except TimeoutError:
        raise GitFetchError(f"{public_url(url)} took longer than {_TIMEOUT} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        last = said.decode(errors="replace").strip().splitlines()[-3:]
        raise GitFetchError(
            f"{public_url(url)} cannot be fetched: {' '.join(last)[:400]}",
            hint="check the URL, the branch or tag, and the login for its host",
        )

"""PackageRepos of others: fetch the indexes, verify them, and say what was found."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from plimsoll.api.meta import (
    REQUESTED_AT,
    find_condition,
    parse_duration,
)
from plimsoll.api.packagestatus import PackageRepoStatus, RepositoryIndex
from plimsoll.apk.index import read_index
from plimsoll.apk.keys import Keyring
from plimsoll.arch import Arch
from plimsoll.errors import Error
from plimsoll.http import NotModified
from plimsoll.kube.paths import path
from plimsoll.operator.conditions import say
from plimsoll.operator.controller import Done
from plimsoll.operator.podspec import plain
from plimsoll.operator.state import Event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plimsoll.api.meta import Condition
    from plimsoll.api.packagerepo import PackageRepo
    from plimsoll.api.repository import RepositoryKey
    from plimsoll.http import Http
    from plimsoll.kube.client import KubeClient
    from plimsoll.operator.conditions import Says
    from plimsoll.operator.recorder import Recorder

Body = dict[str, Any]
MAX_DOWNLOAD = 100 << 20
MAX_KEY = 64 << 10
SHORTEST_INTERVAL = timedelta(seconds=10)
#: How soon to try again what may pass.
RETRY_INTERVAL = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look at the index of one architecture found: an index or an error."""

    arch: str
    digest: str = ""
    packages: int = 0
    error: Error | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The new status of a PackageRepo and what to tell about it."""

    status: PackageRepoStatus
    events: tuple[Event, ...]


class Inspector:
    """Fetches and verifies the indexes of repositories.

    Bytes that were verified are not fetched again while the server says that they are current.
    """

    def __init__(self, http: Http) -> None:
        self._http = http
        # (URL, keys) → entity tag and finding: what one keyring verified is for it alone.
        self._known: dict[tuple[str, str], tuple[str, Finding]] = {}
        # An index may take 100 MB for the moment of its verification: one after the other.
        self._turn = asyncio.Lock()

    async def inspect(self, repo: PackageRepo) -> list[Finding]:
        """Look at every architecture."""
        upstream = repo.spec.upstream
        if upstream is None:
            return []
        try:
            keyring = await self._keyring(upstream.keys)
        except Error as error:
            return [Finding(arch=name, error=error) for name in upstream.archs]
        found = []
        for name in dict.fromkeys(upstream.archs):
            async with self._turn:
                found.append(await self._index(upstream.url, name, keyring))
        return found

    async def _keyring(self, keys: Sequence[RepositoryKey]) -> Keyring:
        pems: dict[str, str | bytes] = {}
        for key in keys:
            pem = key.data or await self._http.get_bytes(key.url or "", max_size=MAX_KEY)
            pems[key.name] = pem
        return Keyring(pems)

    async def _index(self, url: str, name: str, keyring: Keyring) -> Finding:
        try:
            arch = Arch.parse(name)
            source = f"{url.rstrip('/')}/{arch.apk}/APKINDEX.tar.gz"
            known = self._known.get((source, keyring.fingerprint))
            answer = await self._http.get(
                source, max_size=MAX_DOWNLOAD, etag=known[0] if known else None
            )
            if isinstance(answer, NotModified):
                if known is not None:
                    return known[1]
                return Finding(arch=name, error=Error(f"{source} answered 304 to a plain request"))
            finding = await asyncio.to_thread(_verify, answer.body, keyring, source, arch)
            if answer.etag:
                self._known[source, keyring.fingerprint] = (answer.etag, finding)
        except Error as error:
            return Finding(arch=name, error=error)
        return finding


def _verify(data: bytes, keyring: Keyring, source: str, arch: Arch) -> Finding:
    index = read_index(data, keyring, source=source)
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    return Finding(arch=arch.oci, digest=digest, packages=len(index))


def summarize(repo: PackageRepo, findings: Sequence[Finding], now: datetime) -> Outcome:
    """The status after a look. Pure.

    An index that does not verify makes the repository not ready; one that cannot be reached leaves
    it as it was, as what was verified before stays true.
    """
    old, generation = repo.status, repo.metadata.generation
    current = generation == _seen(old)
    indexes = list(old.indexes) if current else []
    errors = [finding.error for finding in findings if finding.error is not None]
    if not errors:
        known = {index.arch: index for index in old.indexes}
        indexes = [_merged(known.get(finding.arch), finding, now) for finding in findings]
        says = _verified(indexes)
    else:
        was = find_condition(old.conditions, "Ready") if current else None
        says = _not_verified(errors, was)
    status = PackageRepoStatus(
        observed_generation=generation,
        conditions=say(old.conditions, says, generation, now),
        url=repo.spec.upstream.url if repo.spec.upstream is not None else None,
        indexes=indexes,
        packages=sum(index.packages for index in indexes) if indexes else None,
        last_checked=now.replace(microsecond=0),
        last_handled_reconcile_at=repo.metadata.annotations.get(REQUESTED_AT),
    )
    return Outcome(status=status, events=_events(old, status))


def _verified(indexes: Sequence[RepositoryIndex]) -> dict[str, Says]:
    return {
        "Ready": ("True", "Verified", _count(indexes)),
        "IndexVerified": ("True", "Verified", f"every index is signed: {_count(indexes)}"),
        "Reconciling": ("False", "Idle", "nothing to do"),
        "Stalled": ("False", "Idle", "nothing stands in the way"),
    }


def _not_verified(errors: Sequence[Error], was: Condition | None) -> dict[str, Says]:
    """What is said of errors; those that stay speak first. ``was``: ``Ready`` before."""
    lasting = [error for error in errors if not error.retryable]
    message = "; ".join(dict.fromkeys(str(error) for error in lasting or errors))
    reason = (lasting or errors)[0].reason
    if lasting:
        return {
            "Ready": ("False", reason, message),
            "IndexVerified": ("False", reason, message),
            "Reconciling": ("False", "Idle", "nothing to do"),
            "Stalled": ("True", reason, message),
        }
    ready: Says = ("False", reason, message)
    if was is not None and was.status == "True":
        ready = (was.status, was.reason, was.message)
    return {
        "Ready": ready,
        "IndexVerified": ("Unknown", reason, message),
        "Reconciling": ("True", "Retrying", message),
        "Stalled": ("False", "Idle", "it is tried again"),
    }


def due(repo: PackageRepo, now: datetime) -> timedelta | None:
    """How long until the repository is to be looked at; zero: now; ``None``: not at all."""
    status, metadata, upstream = repo.status, repo.metadata, repo.spec.upstream
    if upstream is None or repo.spec.suspend:
        return None
    asked = metadata.annotations.get(REQUESTED_AT)
    if (
        status.last_checked is None
        or _seen(status) != metadata.generation
        or _could_not(status)
        or asked != status.last_handled_reconcile_at
    ):
        return timedelta()
    interval = max(parse_duration(upstream.refresh_interval), SHORTEST_INTERVAL)
    verified = find_condition(status.conditions, "IndexVerified")
    if verified is None or verified.status == "Unknown":
        interval = min(interval, RETRY_INTERVAL)
    return max(status.last_checked + interval - now, timedelta())


def _seen(status: PackageRepoStatus) -> int | None:
    """The generation that was looked at last; others say of newer ones why they were not."""
    verified = find_condition(status.conditions, "IndexVerified")
    return None if verified is None else verified.observed_generation


def _could_not(status: PackageRepoStatus) -> bool:
    """Whether it was last said that nobody could look, which ends with the next look."""
    verified = find_condition(status.conditions, "IndexVerified")
    stalled = find_condition(status.conditions, "Stalled")
    if verified is None or stalled is None or stalled.status != "True":
        return False
    return stalled.reason != verified.reason


def _merged(known: RepositoryIndex | None, finding: Finding, now: datetime) -> RepositoryIndex:
    if known is not None and known.digest == finding.digest:
        return known
    return RepositoryIndex(
        arch=finding.arch,
        digest=finding.digest,
        packages=finding.packages,
        verified_at=now.replace(microsecond=0),
    )


def _count(indexes: Sequence[RepositoryIndex]) -> str:
    return ", ".join(f"{index.arch} has {index.packages} packages" for index in indexes)


def _events(old: PackageRepoStatus, new: PackageRepoStatus) -> tuple[Event, ...]:
    was = find_condition(old.conditions, "IndexVerified")
    now = find_condition(new.conditions, "IndexVerified")
    if now is None:
        return ()
    digests = {index.arch: index.digest for index in old.indexes}
    if now.status == "True" and {i.arch: i.digest for i in new.indexes} != digests:
        return (Event("Normal", "IndexChanged", now.message),)
    if now.status != "True" and (was is None or was.message != now.message):
        return (Event("Warning", now.reason, now.message),)
    return ()


class Follower:
    """Follows PackageRepos that somebody else publishes."""

    def __init__(self, kube: KubeClient, recorder: Recorder, inspector: Inspector) -> None:
        self._kube = kube
        self._recorder = recorder
        self._inspector = inspector

    async def reconcile(self, body: Body, repo: PackageRepo) -> Done:
        """Look at one PackageRepo if it is time to.

        Raises:
            KubeError: the API server is not reachable, or somebody wrote in between (409).
        """
        wait = due(repo, datetime.now(UTC))
        if wait is None or wait > timedelta():
            return Done(requeue_after=wait)
        findings = await self._inspector.inspect(repo)
        now = datetime.now(UTC)
        outcome = summarize(repo, findings, now)
        where = path("PackageRepo", repo.metadata.namespace, repo.metadata.name, "status")
        await self._kube.replace(where, {**body, "status": plain(outcome.status)})
        await self._recorder.post("PackageRepo", repo.metadata, outcome.events, now)
        return Done(requeue_after=due(repo.model_copy(update={"status": outcome.status}), now))

"""Asking upstream for many packages: each question once, one failure at most one package."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from plimsoll.apk.version import try_version
from plimsoll.builder.concurrently import run_all
from plimsoll.builder.git.credentials import GitCredentials
from plimsoll.builder.updates import github, services
from plimsoll.builder.updates.model import (
    Candidate,
    LimitError,
    Outcome,
    Query,
    Request,
    Service,
    State,
    UpdateError,
)
from plimsoll.builder.updates.versions import choose, known
from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from plimsoll.builder.updates.memory import Memory
    from plimsoll.http import Http
    from plimsoll.oci.registry import Registry

_PARALLEL: Final = 16
#: Seconds that one question may take, all attempts and pages included.
_TIMEOUT: Final = 180.0

Answer = list[Candidate] | Error


@dataclass(frozen=True, slots=True)
class Places:
    """Where the services are.

    Attributes:
        registry: opens a client for OCI tags.
    """

    registry: Callable[[], Registry]
    github: github.GitHub = field(default_factory=github.GitHub)
    release_monitor: str = services.RELEASE_MONITOR
    credentials: GitCredentials = field(default_factory=GitCredentials)


async def check(  # noqa: PLR0913  settings, by name
    http: Http,
    places: Places,
    requests: Sequence[Request],
    memory: Memory,
    *,
    now: datetime | None = None,
    always: bool = False,
) -> list[Outcome]:
    """Look for new versions.

    Args:
        http: the client.
        places: where the services are.
        requests: of packages.
        memory: of the last look; what is found out is added, but not saved.
        now: the time, for schedules.
        always: look although a schedule says that it is too early.

    Returns:
        An outcome for each request, in their order; failures are outcomes, too.
    """
    moment = now or datetime.now(UTC)
    due = [
        request
        for request in requests
        if request.query and (always or memory.due(request.package, request.period, moment))
    ]
    answers = await _Asker(http, places, memory).all(_queries(due))
    asked = {id(request) for request in due}
    outcomes = []
    for request in requests:
        if request.query is None:
            outcomes.append(Outcome(request, State.SKIPPED, reason=request.reason))
        elif id(request) not in asked:
            reason = f"it is looked for {request.period}, and was not long ago"
            outcomes.append(Outcome(request, State.SKIPPED, reason=reason))
        else:
            outcome = judge(request, answers[request.query], moment)
            if outcome.state is not State.FAILED:
                memory.looked(request.package, moment)
            outcomes.append(outcome)
    return outcomes


def judge(request: Request, answer: Answer, now: datetime) -> Outcome:
    """What an answer means for a package."""
    if isinstance(answer, Error):
        return Outcome(request, State.FAILED, reason=str(answer))
    current = try_version(request.version)
    if current is None:
        reason = f"its version {request.version!r} cannot be compared"
        return Outcome(request, State.FAILED, reason=reason)
    found = choose(answer, request.rules, current)
    if found is None:
        if not answer or not known(answer, request.rules):
            reason = (
                f"none of the {len(answer)} names upstream counts as a version"
                if answer
                else "upstream has no versions"
            )
            hint = "check prefixes, filters and transforms of 'update'"
            return Outcome(request, State.FAILED, reason=f"{reason} ({hint})", checked=now)
        return Outcome(request, State.CURRENT, checked=now)
    following, newest = found
    chosen = following if request.sequential else newest
    return Outcome(
        request,
        State.NEW,
        chosen.version.text,
        newest.version.text,
        chosen.candidate.name,
        chosen.candidate.commit,
        checked=now,
    )


def _queries(requests: Iterable[Request]) -> list[Query]:
    return list(dict.fromkeys(request.query for request in requests if request.query))


class _Asker:
    def __init__(self, http: Http, places: Places, memory: Memory) -> None:
        self._http = http
        self._places = places
        self._memory = memory
        self._slots = asyncio.Semaphore(_PARALLEL)
        self._refusal: LimitError | None = None
        self._registry: Registry | None = None

    async def all(self, queries: Sequence[Query]) -> dict[Query, Answer]:
        """Answers or errors of all queries."""
        hub = {Service.GITHUB_RELEASES, Service.GITHUB_TAGS}
        batched = [q for q in queries if q.service in hub and self._places.github.token]
        single = [query for query in queries if query not in set(batched)]
        async with AsyncExitStack() as stack:
            if any(query.service is Service.OCI for query in single):
                self._registry = await stack.enter_async_context(self._places.registry())
            answers = await run_all(self._one(query) for query in single)
            many = await run_all(
                self._batch(batched[start : start + github.BATCH])
                for start in range(0, len(batched), github.BATCH)
            )
        flat = [answer for batch in many for answer in batch]
        return dict(zip([*single, *batched], [*answers, *flat], strict=True))

    async def _batch(self, queries: Sequence[Query]) -> Sequence[Answer]:
        async with self._slots:
            if self._refusal is not None:
                return [self._refusal] * len(queries)
            try:
                async with asyncio.timeout(_TIMEOUT):
                    return await github.ask_batch(self._http, self._places.github, queries)
            except TimeoutError:
                return [_slow(query) for query in queries]
            except Error as error:
                self._note(error)
                return [error] * len(queries)

    async def _one(self, query: Query) -> Answer:
        async with self._slots:
            if self._refusal is not None and query.service is Service.GITHUB_RELEASES:
                return self._refusal
            try:
                async with asyncio.timeout(_TIMEOUT):
                    return await self._ask(query)
            except TimeoutError:
                return _slow(query)
            except Error as error:
                self._note(error)
                return error

    def _note(self, error: Error) -> None:
        """A limit that is reached is reached for all: nobody is asked in vain."""
        if isinstance(error, LimitError):
            self._refusal = error

    async def _ask(self, query: Query) -> list[Candidate]:
        places, http = self._places, self._http
        if query.service is Service.RELEASE_MONITOR:
            return await services.release_monitor(http, places.release_monitor, query.target)
        if query.service is Service.GITHUB_RELEASES:
            return await github.releases(http, places.github, query.target, self._memory)
        if query.service is Service.OCI and self._registry is not None:
            return await services.oci_tags(self._registry, query.target)
        url = query.target
        if query.service is Service.GITHUB_TAGS:
            url = f"{places.github.server}/{url}"
        return await services.git_tags(http, url, query.prefix, places.credentials)


def _slow(query: Query) -> UpdateError:
    return UpdateError(f"{query.target} gave no answer within {_TIMEOUT:.0f} s", hint="try later")

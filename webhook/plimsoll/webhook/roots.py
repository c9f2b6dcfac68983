"""Trust roots in force: local ones read when they change, remote ones fetched in the background.

Once a remote root was fetched, the last good one stays in force however long its repository is
away. A policy whose root is not there refuses what it matches; others do not wait for it.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog

from plimsoll.api.meta import GROUP
from plimsoll.api.policycheck import PolicyInvalidError
from plimsoll.api.trustroot import TufRemote, read_trust_root_spec
from plimsoll.http import Http, RetryPolicy, Timeouts
from plimsoll.signing.publicroot import PUBLIC_MIRROR, embedded
from plimsoll.webhook.trust import (
    DEFAULT,
    KnownRoots,
    LoadedRoot,
    local_root,
    parsed_root,
    public_root,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

log = structlog.get_logger("plimsoll.webhook.roots")

Place = tuple[str, str]

REFRESH_SECONDS: Final = 6 * 3600.0
RETRY_SECONDS: Final = 60.0
#: How long the start waits for remote roots.
PATIENCE: Final = 5.0


@dataclass(slots=True)
class _Remote:
    spec: TufRemote
    folder: tempfile.TemporaryDirectory[str] = field(
        default_factory=lambda: tempfile.TemporaryDirectory(prefix="plimsoll-tuf-")
    )
    loaded: LoadedRoot = field(default_factory=lambda: LoadedRoot(fault="it was not fetched yet"))
    problem: str = ""
    due: float = 0.0
    tried: asyncio.Event = field(default_factory=asyncio.Event)


class TrustRoots:
    """Keeps the roots of TrustRoot objects.

    Args:
        changed: called in the event loop after a root changed by itself.
        default: name of the TrustRoot for policies that name none; empty: the public instance.
        refresh: seconds between two looks at a remote root.
        retry: the same after a failure.
    """

    def __init__(
        self,
        changed: Callable[[], None],
        *,
        default: str = "",
        refresh: float = REFRESH_SECONDS,
        retry: float = RETRY_SECONDS,
    ) -> None:
        self._changed = changed
        self._default = default
        self._refresh = refresh
        self._retry = retry
        self._local: dict[Place, tuple[Any, LoadedRoot]] = {}
        self._remote: dict[Place, _Remote] = {}
        self._wake = asyncio.Event()

    @property
    def roots(self) -> KnownRoots:
        """The roots as they are now."""
        roots = {place: loaded for place, (_, loaded) in self._local.items()}
        roots |= {place: one.loaded for place, one in self._remote.items()}
        return KnownRoots(roots, self._default)

    @property
    def problems(self) -> list[str]:
        """Remote roots that could not be refreshed."""
        return [
            f"trust root {name or 'of the public Sigstore'}: {one.problem}"
            for (_, name), one in self._remote.items()
            if one.problem
        ]

    async def update(self, specs: Mapping[Place, Any], *, public: bool) -> None:
        """Follow the objects.

        Args:
            specs: the ``spec`` of every TrustRoot.
            public: whether some policy relies on the public instance of Sigstore.
        """
        remote: dict[Place, TufRemote] = {}
        local: dict[Place, tuple[Any, LoadedRoot]] = {}
        for place, spec in specs.items():
            known = self._local.get(place)
            if known is not None and known[0] == spec:
                local[place] = known
                continue
            try:
                model = read_trust_root_spec(spec)
            except PolicyInvalidError as error:
                local[place] = (spec, LoadedRoot(fault=str(error)))
                continue
            if model.remote is not None:
                remote[place] = model.remote
            else:
                local[place] = (spec, await asyncio.to_thread(local_root, model))
        if public and not self._default:
            remote[GROUP, DEFAULT] = TufRemote(mirror=PUBLIC_MIRROR)
        self._local = local
        for place in [p for p, one in self._remote.items() if remote.get(p) != one.spec]:
            self._remote.pop(place).folder.cleanup()
        for place, wanted in remote.items():
            if place not in self._remote:
                self._remote[place] = one = _Remote(wanted)
                if place == (GROUP, DEFAULT):
                    one.loaded = public_root()
                    # It is good already; that there is no network must delay nothing.
                    one.tried.set()
                self._wake.set()

    async def settled(self) -> None:
        """Wait until every remote root was asked for once, or for ``PATIENCE`` seconds."""
        try:
            async with asyncio.timeout(PATIENCE):
                for one in list(self._remote.values()):
                    await one.tried.wait()
        except TimeoutError:
            log.warning("remote trust roots do not answer; going on without them")

    async def run(self) -> None:
        """Refresh remote roots until cancelled."""
        try:
            timeouts = Timeouts(connect=5.0, idle=10.0, total=30.0)
            async with Http(timeouts=timeouts, retry=RetryPolicy(attempts=1)) as http:
                while True:
                    self._wake.clear()
                    now = time.monotonic()
                    due = [(p, one) for p, one in self._remote.items() if one.due <= now]
                    await asyncio.gather(*(self._fetch(http, place, one) for place, one in due))
                    rest = [one.due for one in self._remote.values()]
                    await self._sleep(min(rest, default=None))
        finally:
            for one in self._remote.values():
                one.folder.cleanup()

    async def _sleep(self, until: float | None) -> None:
        try:
            async with asyncio.timeout(
                None if until is None else max(until - time.monotonic(), 0.01)
            ):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _fetch(self, http: Http, place: Place, one: _Remote) -> None:
        # TUF is slow to import and rarely wanted.
        from plimsoll.webhook.tuf import TufError, decode_root, remote_target  # noqa: PLC0415

        spec, is_public = one.spec, place == (GROUP, DEFAULT)
        try:
            start = embedded("root.json") if is_public else decode_root(spec.root or "")
            data = await remote_target(http, Path(one.folder.name), spec, start)
            found = parsed_root(data, public=is_public)
        except (TufError, OSError) as error:
            found = LoadedRoot(fault=str(error))
        if found.root is None:
            one.problem = found.fault
            one.due = time.monotonic() + self._retry
            if one.loaded.root is None:
                one.loaded = LoadedRoot(fault=f"it could not be fetched: {found.fault}")
            log.warning("trust root not refreshed", root=place[1], error=found.fault)
        else:
            one.problem = ""
            one.due = time.monotonic() + self._refresh
            if found != one.loaded:
                one.loaded = found
                log.info("trust root loaded", root=place[1], fingerprint=found.fingerprint)
        one.tried.set()
        self._changed()


async def load_root(spec: Any) -> LoadedRoot:
    """Read one TrustRoot at once, wherever it is."""
    roots = TrustRoots(lambda: None)
    place = (GROUP, "wanted")
    await roots.update({place: spec}, public=False)
    task = asyncio.create_task(roots.run())
    try:
        await roots.settled()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return roots.roots(*place)

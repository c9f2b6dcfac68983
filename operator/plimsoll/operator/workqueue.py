"""A queue of objects to look at: each at most once at a time, each at most once in the queue."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """An object of ours."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


class Workqueue:
    """Keys that wait for a worker.

    A key that is added while a worker has it comes again when the worker is done. Of several
    delayed additions of one key only the earliest counts. Must be used from one event loop.
    """

    def __init__(self) -> None:
        self._ready: asyncio.Queue[Key] = asyncio.Queue()
        self._waiting: dict[Key, float] = {}
        self._active: set[Key] = set()
        self._again: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}

    def __len__(self) -> int:
        """Keys that wait for a worker now."""
        return self._ready.qsize()

    def waited(self) -> float:
        """Seconds that the key at the head of the queue has waited."""
        since = next(iter(self._waiting.values()), None)
        return 0.0 if since is None else time.monotonic() - since

    def add(self, key: Key) -> None:
        """Look at ``key`` as soon as possible."""
        self._cancel(key)
        if key in self._active:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting[key] = time.monotonic()
            self._ready.put_nowait(key)

    def add_after(self, key: Key, seconds: float) -> None:
        """Look at ``key`` after a while, unless it is looked at before."""
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is not None and timer.when() <= loop.time() + seconds:
            return
        self._cancel(key)
        self._timers[key] = loop.call_later(seconds, self.add, key)

    async def get(self) -> Key:
        """The next key; ``done`` must follow."""
        key = await self._ready.get()
        self._waiting.pop(key, None)
        self._active.add(key)
        return key

    def done(self, key: Key) -> None:
        """The worker is through with ``key``."""
        self._active.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def close(self) -> None:
        """Forget what waits for its time."""
        for key in list(self._timers):
            self._cancel(key)

    def _cancel(self, key: Key) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()

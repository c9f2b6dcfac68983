"""Bounded memory of answers, and one flight for each question.

Both live in one event loop; nothing here is awaited while state is half changed.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

V = TypeVar("V")


@dataclass(slots=True)
class CacheStats:
    """Counters since the start."""

    hits: int = 0
    misses: int = 0
    evictions: int = 0


class ExpiringCache(Generic[V]):
    """A least-recently-used map whose entries end.

    Args:
        size: entries kept.
        clock: monotonic seconds.
    """

    def __init__(self, size: int, clock: Callable[[], float]) -> None:
        self._size = size
        self._clock = clock
        self._entries: OrderedDict[Hashable, tuple[float, V]] = OrderedDict()
        self.stats = CacheStats()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable) -> V | None:
        """The value, or ``None`` if it is not there or has ended."""
        entry = self._entries.get(key)
        if entry is None:
            self.stats.misses += 1
            return None
        until, value = entry
        if until <= self._clock():
            del self._entries[key]
            self.stats.misses += 1
            return None
        self._entries.move_to_end(key)
        self.stats.hits += 1
        return value

    def put(self, key: Hashable, value: V, seconds: float) -> None:
        """Remember a value for a time; the entry longest unused makes room."""
        self._entries[key] = (self._clock() + seconds, value)
        self._entries.move_to_end(key)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)
            self.stats.evictions += 1

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()


class Flights(Generic[V]):
    """Joins equal questions that are asked at the same time into one.

    A flight belongs to nobody who waits for it: one waiter that is cancelled takes neither the
    flight nor the others with it. A failed flight fails all its waiters and is forgotten.
    """

    def __init__(self) -> None:
        self._flying: dict[Hashable, asyncio.Task[V]] = {}

    def __len__(self) -> int:
        return len(self._flying)

    async def join(self, key: Hashable, ask: Callable[[], Awaitable[V]]) -> V:
        """Wait for the answer to ``key``, asking only if nobody is asking already."""
        task = self._flying.get(key)
        if task is None:
            task = asyncio.ensure_future(_call(ask))
            self._flying[key] = task
            task.add_done_callback(lambda done: self._land(key, done))
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Cancel what is still flying."""
        tasks = list(self._flying.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _land(self, key: Hashable, task: asyncio.Task[V]) -> None:
        del self._flying[key]
        # Read the exception: a flight that all waiters left must not be logged as unhandled.
        if not task.cancelled():
            task.exception()


async def _call(ask: Callable[[], Awaitable[V]]) -> V:
    return await ask()

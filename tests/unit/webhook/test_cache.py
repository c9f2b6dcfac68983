from __future__ import annotations

import asyncio

import pytest

from plimsoll.webhook.cache import ExpiringCache, Flights


def test_entries_end_and_make_room():
    now = 0.0
    cache: ExpiringCache[str] = ExpiringCache(2, lambda: now)
    cache.put("a", "A", 10)
    cache.put("b", "B", 5)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == ("A", "B", None)
    now = 5.0
    assert (cache.get("a"), cache.get("b")) == ("A", None)
    cache.put("b", "B", 100)
    cache.get("a")
    cache.put("c", "C", 100)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == ("A", None, "C")
    assert len(cache) == 2
    assert cache.stats.evictions == 1
    cache.clear()
    assert cache.get("a") is None


async def test_equal_questions_are_asked_once():
    flights: Flights[int] = Flights()
    go, asked = asyncio.Event(), 0

    async def ask() -> int:
        nonlocal asked
        asked += 1
        await go.wait()
        return asked

    waiting = [asyncio.create_task(flights.join("k", ask)) for _ in range(5)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    go.set()
    assert await asyncio.gather(*waiting[1:]) == [1] * 4
    assert len(flights) == 0
    assert await flights.join("k", ask) == 2


async def test_a_failure_reaches_all_and_is_forgotten():
    flights: Flights[int] = Flights()

    async def fail() -> int:
        await asyncio.sleep(0)
        raise ValueError("no")

    results = await asyncio.gather(
        *(flights.join("k", fail) for _ in range(3)), return_exceptions=True
    )
    assert [str(result) for result in results] == ["no"] * 3

    async def work() -> int:
        return 7

    assert await flights.join("k", work) == 7


async def test_what_is_under_way_can_be_given_up():
    flights: Flights[int] = Flights()

    async def forever() -> int:
        await asyncio.Event().wait()
        return 0

    waiting = asyncio.create_task(flights.join("k", forever))
    await asyncio.sleep(0)
    await flights.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting

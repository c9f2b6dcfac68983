import asyncio

import pytest

from plimsoll.operator.workqueue import Key, Workqueue

A, B = Key("ImageBuild", "n", "a"), Key("ImageBuild", "n", "b")


@pytest.fixture
def queue():
    queue = Workqueue()
    yield queue
    queue.close()


async def test_each_key_once(queue):
    for key in (A, B, A, A):
        queue.add(key)
    assert len(queue) == 2
    assert [await queue.get(), await queue.get()] == [A, B]


async def test_a_key_that_is_worked_on_comes_again_afterwards(queue):
    queue.add(A)
    assert await queue.get() == A
    queue.add(A)
    queue.add(A)
    assert len(queue) == 0
    queue.done(A)
    assert len(queue) == 1
    assert await queue.get() == A
    queue.done(A)
    assert len(queue) == 0


async def test_the_earliest_of_several_delays_counts(queue):
    queue.add_after(A, 60)
    queue.add_after(A, 0.01)
    queue.add_after(A, 60)
    assert await asyncio.wait_for(queue.get(), 5) == A


async def test_an_event_takes_the_place_of_a_delay(queue):
    queue.add_after(A, 0.01)
    queue.add(A)
    assert await queue.get() == A
    queue.done(A)
    await asyncio.sleep(0.05)
    assert len(queue) == 0


async def test_waiting_time(queue):
    assert queue.waited() == 0
    queue.add(A)
    await asyncio.sleep(0.01)
    assert queue.waited() > 0
    await queue.get()
    assert queue.waited() == 0

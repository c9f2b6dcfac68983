import asyncio
import contextlib
from datetime import timedelta

import pytest

from plimsoll.kube.errors import KubeError
from plimsoll.operator.controller import Done
from plimsoll.operator.manager import Manager
from plimsoll.operator.metrics import Metrics
from plimsoll.operator.workqueue import Key

A, B = Key("ImageBuild", "n", "a"), Key("ImageBuild", "n", "b")


class Script:
    """A controller that does what a test wrote down."""

    def __init__(self, *acts):
        self.acts, self.calls = list(acts), []
        self.called = asyncio.Condition()
        self.active = set()

    async def reconcile(self, key):
        assert key not in self.active, "an object is looked at by one worker at a time"
        self.active.add(key)
        await asyncio.sleep(0)
        self.active.discard(key)
        self.calls.append(key)
        act = self.acts.pop(0) if self.acts else Done()
        async with self.called:
            self.called.notify_all()
        if isinstance(act, BaseException):
            raise act
        return act

    async def until(self, count):
        async with asyncio.timeout(5), self.called:
            await self.called.wait_for(lambda: len(self.calls) >= count)


class Told:
    """What people would be told."""

    def __init__(self):
        self.errors = {}

    async def tell(self, key, error):
        self.errors[key] = error

    def forget(self, key):
        self.errors.pop(key, None)


@contextlib.asynccontextmanager
async def running(script, told=None):
    metrics = Metrics()
    controllers = {"ImageBuild": script, "PackageRepo": script}
    manager = Manager(controllers, told or Told(), metrics, workers=3, resync=600)
    task = asyncio.create_task(manager.run())
    try:
        yield manager, metrics
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (KubeError("conflict", status=409), "conflict"),
        (KubeError("deleted", status=404), "conflict"),
        (KubeError("away"), "error"),
        (ValueError("our own mistake"), "error"),
    ],
)
async def test_errors_are_waited_out(error, result):
    script = Script(error, Done())
    async with running(script) as (manager, metrics):
        manager.notice(A)
        await script.until(2)
    count = metrics.registry.get_sample_value(
        "plimsoll_operator_reconcile_total", {"kind": "ImageBuild", "result": result}
    )
    assert count == 1
    assert script.calls == [A, A]


async def test_what_cannot_be_reconciled_is_told_and_counted_until_it_can():
    mistake = ValueError("our own mistake")
    script, told = Script(mistake), Told()
    async with running(script, told) as (manager, metrics):

        def failing():
            labels = {"kind": "ImageBuild"}
            return metrics.registry.get_sample_value("plimsoll_operator_failing_objects", labels)

        manager.notice(A)
        await script.until(1)
        await asyncio.sleep(0)
        assert told.errors == {A: mistake}
        assert failing() == 1
        await script.until(2)
        await asyncio.sleep(0)
        assert told.errors == {}
        assert failing() == 0


async def test_comes_back_when_it_asked_to():
    script = Script(Done(requeue_after=timedelta(seconds=0.05)), Done())
    async with running(script) as (manager, _):
        manager.notice(A)
        await script.until(2)
    assert script.calls == [A, A]


async def test_who_uses_a_repository_looks_when_it_changes():
    script = Script(Done(repositories=frozenset({"base"})), Done(repositories=frozenset({"base"})))
    async with running(script) as (manager, _):
        manager.notice(A)
        await script.until(1)
        manager.notice_repository("n", "base")
        await script.until(3)
        assert set(script.calls[1:]) == {A, Key("PackageRepo", "n", "base")}
        manager.notice_repository("other", "base")
        manager.notice(B)
        await script.until(5)
    assert set(script.calls[3:]) == {Key("PackageRepo", "other", "base"), B}


async def test_what_is_gone_is_forgotten():
    script = Script(Done(repositories=frozenset({"base"})), Done(gone=True))
    async with running(script) as (manager, _):
        for count in (1, 2):
            manager.notice(A)
            await script.until(count)
        manager.notice_repository("n", "base")
        manager.notice(B)
        await script.until(4)
    assert set(script.calls[2:]) == {Key("PackageRepo", "n", "base"), B}


async def test_who_uses_a_changed_config_map_looks_at_once():
    script = Script(Done(config_maps=frozenset({"image"})), Done())
    async with running(script) as (manager, _):
        manager.notice(A)
        await script.until(1)
        manager.notice(B)
        await script.until(2)
        manager.notice_config_map("n", "other")
        manager.notice_config_map("elsewhere", "image")
        manager.notice_config_map("n", "image")
        await script.until(3)
        await asyncio.sleep(0)
    assert script.calls == [A, B, A]

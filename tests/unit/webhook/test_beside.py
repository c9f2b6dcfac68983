from __future__ import annotations

import asyncio

import structlog

from plimsoll.webhook.run import beside


async def test_a_defect_beside_admission_is_logged_without_its_words_and_begun_anew():
    begun = asyncio.Semaphore(0)

    async def work():
        begun.release()
        raise ValueError("https://hooks.example/s3cret")

    with structlog.testing.capture_logs() as lines:
        task = asyncio.create_task(beside(work, pause=0.001))
        async with asyncio.timeout(5):
            for _ in range(3):
                await begun.acquire()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
    assert lines[0]["kind"] == "ValueError"
    assert lines[0]["file"].endswith("test_beside.py")
    assert "s3cret" not in str(lines)

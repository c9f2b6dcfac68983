from __future__ import annotations

import json
import subprocess
import sys

_PROGRAM = """
import asyncio, os, structlog, threading
from plimsoll.webhook.log import configure

configure("info")
log = structlog.get_logger("x")
log.info("before", text="\\ud800", number=2**70, thing={1})
written = []

async def main():
    for number in range(3):
        log.info("inside", number=number)
    thread = threading.Thread(target=log.info, args=("thread",))
    thread.start()
    thread.join()
    log.debug("never")
    await asyncio.sleep(0)
    try:
        1 / 0
    except ZeroDivisionError:
        log.exception("raised")

asyncio.run(main())
log.info("after")
os.write(2, b'{"event":"written at once"}\\n')
os._exit(0)
"""


def test_every_line_is_an_object_and_none_is_lost():
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, check=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    events = [line["event"] for line in lines]
    inside = ["inside", "inside", "inside", "thread", "raised"]
    assert events == ["before", *inside, "after", "written at once"]
    assert all(line["timestamp"].endswith("Z") for line in lines[:-1])
    assert "ZeroDivisionError" in lines[5]["exception"]
    assert lines[0]["number"] == 2**70

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from plimsoll.builder.store import (
    DiskFullError,
    StorageError,
    Store,
    default_cache_dir,
    storage_errors,
    unseal,
)


def test_records_survive_and_lies_do_not(tmp_path):
    with Store(tmp_path) as store:
        store.put_record("kind", "abcd", {"a": [1, "é"]})
        assert store.get_record("kind", "abcd") == {"a": [1, "é"]}
        assert store.get_record("kind", "none") is None
        path = store.path("kind", "abcd")
        path.write_bytes(path.read_bytes()[:-1])
        assert store.get_record("kind", "abcd") is None
        assert not path.exists()


def test_the_first_one_stays(tmp_path):
    with Store(tmp_path) as store:
        target = store.path("kind", "abcd")
        for number in range(2):
            folder = store.scratch()
            (folder / "file").write_text(str(number))
            assert store.publish(folder, target) is (number == 0)
        assert (target / "file").read_text() == "0"


def test_what_a_killed_process_left_is_removed(tmp_path):
    program = textwrap.dedent(f"""
        import sys
        from pathlib import Path
        from plimsoll.builder.store import Store
        store = Store(Path({str(tmp_path)!r}))
        (store.scratch() / "half").write_text("x" * 100)
        print(store._tmp, flush=True)
        sys.stdin.read()
    """)
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        left = process.stdout.readline().strip()
        with Store(tmp_path) as store:
            store.scratch()
            assert Path(left).exists(), "a living process keeps its folder"
        os.kill(process.pid, signal.SIGKILL)
    finally:
        process.communicate()
    with Store(tmp_path) as store:
        store.scratch()
        assert not Path(left).exists()


async def test_locks_exclude(tmp_path):
    with Store(tmp_path) as store:
        inside = 0

        async def work():
            nonlocal inside
            async with store.lock_async("one"):
                inside += 1
                assert inside == 1
                await asyncio.sleep(0)
                inside -= 1

        await asyncio.gather(*(work() for _ in range(5)))


def test_errors_say_what_to_do(tmp_path):
    def fail(number):
        with storage_errors("testing"):
            raise OSError(number, os.strerror(number), "/some/file")

    with pytest.raises(DiskFullError, match="no space left while testing"):
        fail(28)
    with pytest.raises(StorageError, match="/some/file: Permission denied"):
        fail(13)
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="opening the cache"):
        Store(tmp_path / "file")


def test_default_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("PLIMSOLL_CACHE_DIR", str(tmp_path / "mine"))
    assert default_cache_dir() == tmp_path / "mine"
    monkeypatch.delenv("PLIMSOLL_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache_dir() == tmp_path / "xdg" / "plimsoll" / "cache"


def test_a_record_is_its_checksum_and_its_value():
    with pytest.raises(Exception, match="checksum"):
        unseal(b"0" * 64 + b"\n{}")

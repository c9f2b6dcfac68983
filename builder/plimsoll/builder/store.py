"""The cache directory: atomic writes, locks between processes, no debris.

Everything appears under its final name by one rename and never changes afterwards, so a kill at
any moment leaves only a temporary folder, which the next process removes: each process holds a
lock on its own temporary folder while it lives.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import stat
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from types import TracebackType

#: Layout and content format of the cache; a new number starts a new, empty cache.
FORMAT = "v4"


class StorageError(Error):
    """The cache or an output cannot be written."""

    reason = "StorageFailed"


class DiskFullError(StorageError):
    """No space is left."""

    reason = "DiskFull"


class ForeignCacheError(StorageError):
    """A cache that somebody else can write to: what is in it cannot be trusted."""

    reason = "ForeignCache"


class CorruptEntryError(Exception):
    """An entry of the cache is not what was stored; it is made again."""


def default_cache_dir() -> Path:
    """``PLIMSOLL_CACHE_DIR``, else ``plimsoll`` in the user's cache folder, else in ``/tmp``."""
    if given := os.environ.get("PLIMSOLL_CACHE_DIR"):
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111  (the home may not exist)
    if (folder := _cache_below(Path(base))) is not None:
        return folder
    import tempfile  # noqa: PLC0415  (rarely asked for)

    return _own_folder(Path(tempfile.gettempdir())) / "cache"


def _cache_below(base: Path) -> Path | None:
    existing = next(p for p in (base, *base.parents) if p.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        return None
    folder = base / "plimsoll"
    if not folder.exists() or folder.stat().st_uid == os.geteuid():
        return folder / "cache"
    return base / f"plimsoll-{os.geteuid()}" / "cache"


def _own_folder(shared: Path) -> Path:
    """A folder below one that is everybody's, which nobody else made or can write to."""
    for name in ("plimsoll", f"plimsoll-{os.geteuid()}"):
        folder = shared / name
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o700)
        try:
            found = folder.lstat()
        except OSError:
            continue
        if (
            stat.S_ISDIR(found.st_mode)
            and found.st_uid == os.geteuid()
            and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        ):
            return folder
    raise ForeignCacheError(
        f"there is no place for a cache in {shared}: what is there belongs to somebody else",
        hint="name a directory of your own with --cache-dir (PLIMSOLL_CACHE_DIR)",
    )


@contextlib.contextmanager
def storage_errors(what: str) -> Iterator[None]:
    """Turn the system's errors about files into ``StorageError``.

    Args:
        what: what was being done, for the message.

    Raises:
        StorageError, DiskFullError: instead of ``OSError``.
    """
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise DiskFullError(
                f"no space left while {what}",
                hint="free some space, or point --cache-dir (PLIMSOLL_CACHE_DIR) and the output "
                "to a larger disk; nothing incomplete was kept",
            ) from error
        named = error.filename and str(error.filename) not in what
        place = f" {error.filename}:" if named else ""
        access = (
            "it exists and may be read"
            if what.startswith("reading")
            else ("the folder exists and may be written to")
        )
        raise StorageError(
            f"cannot go on while {what}:{place} {error.strerror or error}",
            hint=f"check that {access}",
        ) from error


class Store:
    """One cache directory, shared by any number of processes.

    Args:
        root: the directory; made if absent.

    Raises:
        StorageError: it cannot be made or written to.
        ForeignCacheError: others can write to it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root / f"{FORMAT}-segments"
        self._guard = threading.Lock()
        self._tmp: Path | None = None
        self._alive = -1
        with storage_errors(f"opening the cache {root}"):
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            _check_owner(self.root)
            for name in ("tmp", "locks"):
                (self.root / name).mkdir(exist_ok=True, mode=0o700)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove this process's temporary folder."""
        if self._tmp is not None:
            shutil.rmtree(self._tmp, ignore_errors=True)
            os.close(self._alive)
            self._tmp = None

    def path(self, kind: str, key: str) -> Path:
        """Where the entry ``key`` of a kind lies."""
        return self.root / kind / key[:2] / key

    @contextlib.contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Hold the lock ``key`` against every other thread and process; waits for it."""
        path = self.root / "locks" / hashlib.sha256(key.encode()).hexdigest()[:32]
        with storage_errors(f"locking {path}"):
            handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            with storage_errors(f"locking {path}"):
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    @contextlib.asynccontextmanager
    async def lock_async(self, key: str) -> AsyncIterator[None]:
        """Like ``lock``, without blocking the event loop."""
        path = self.root / "locks" / hashlib.sha256(key.encode()).hexdigest()[:32]
        with storage_errors(f"locking {path}"):
            handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        from asyncio import sleep  # noqa: PLC0415  (start-up time)

        try:
            pause = 0.01
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    await sleep(pause)
                    pause = min(pause * 1.5, 0.5)
            yield
        finally:
            os.close(handle)

    def scratch(self) -> Path:
        """A new empty folder that lives as long as this store is open."""
        with storage_errors(f"writing to the cache {self.root}"):
            with self._guard:
                if self._tmp is None:
                    self._tmp = self._begin()
            return _new_folder(self._tmp)

    def publish(self, source: Path, target: Path) -> bool:
        """Move a finished folder to its final name; the first one there stays.

        Returns:
            Whether it is the one that was moved.
        """
        with storage_errors(f"writing to the cache {self.root}"):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                source.rename(target)
            except OSError as error:
                if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                    raise
                shutil.rmtree(source, ignore_errors=True)
                return False
        return True

    def remove(self, path: Path) -> None:
        """Take an entry away at once, however large it is."""
        with contextlib.suppress(OSError):
            path.rename(self.scratch() / path.name)

    def put_record(self, kind: str, key: str, value: Any) -> None:
        """Store a JSON value with its own checksum."""
        folder = self.scratch()
        with storage_errors(f"writing to the cache {self.root}"):
            (folder / "record").write_bytes(seal(value))
            target = self.path(kind, key)
            target.parent.mkdir(parents=True, exist_ok=True)
            (folder / "record").rename(target)

    def get_record(self, kind: str, key: str) -> Any:
        """A stored JSON value; ``None`` if there is none or it is damaged."""
        path = self.path(kind, key)
        try:
            return unseal(path.read_bytes())
        except FileNotFoundError:
            return None
        except CorruptEntryError:
            self.remove(path)
            return None

    def _begin(self) -> Path:
        """This process's temporary folder, and a lock that says that it lives."""
        with self.lock("temporary folders"):
            self._sweep()
            folder = _new_folder(self.root / "tmp")
            self._alive = os.open(folder / ".alive", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._alive, fcntl.LOCK_EX)
        return folder

    def _sweep(self) -> None:
        """Remove what processes that are gone have left."""
        for folder in (self.root / "tmp").iterdir():
            try:
                handle = os.open(folder / ".alive", os.O_RDWR)
            except OSError:
                shutil.rmtree(folder, ignore_errors=True)
                continue
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            except OSError:
                pass
            finally:
                os.close(handle)


def _check_owner(root: Path) -> None:
    """Checksums of records keep damage out; who can write to a cache can write those too."""
    found = root.stat()
    if found.st_uid not in {os.geteuid(), 0}:
        raise ForeignCacheError(
            f"the cache {root} belongs to the user {found.st_uid}, and this is {os.geteuid()}",
            hint="name a directory of your own with --cache-dir (PLIMSOLL_CACHE_DIR), or remove "
            "this one",
        )
    if found.st_mode & stat.S_IWOTH:
        raise ForeignCacheError(
            f"everybody can write to the cache {root}",
            hint="remove it, as somebody may have changed what is in it, or name another one with "
            "--cache-dir (PLIMSOLL_CACHE_DIR)",
        )


def _new_folder(parent: Path) -> Path:
    folder = parent / os.urandom(8).hex()
    folder.mkdir(mode=0o700)
    return folder


def seal(value: Any) -> bytes:
    """JSON behind a line with its SHA-256."""
    body = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def unseal(data: bytes) -> Any:
    """The value of ``seal``; raises ``CorruptEntryError``."""
    digest, _, body = data.partition(b"\n")
    if hashlib.sha256(body).hexdigest().encode() != digest:
        raise CorruptEntryError("checksum of a record does not match")
    return json.loads(body)

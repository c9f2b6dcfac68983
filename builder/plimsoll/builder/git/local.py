"""A repository on this machine, by the program ``git``, which is never let near the network.

Git checks what it unpacks: an object with other bytes has another number. The program gets an
environment of its own without any configuration, hook, helper or protocol.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import TYPE_CHECKING, Final, Self

from plimsoll.builder.git.errors import GitError
from plimsoll.builder.git.objects import MAX_OBJECT, GitObject, Kind, parse_object
from plimsoll.builder.store import storage_errors

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence
    from pathlib import Path

_TIMEOUT: Final = 600.0
_MAX_SAID: Final = 1 << 20
_OPTIONS: Final = (
    *("-c", f"core.hooksPath={os.devnull}"),
    *("-c", "core.fsmonitor=false"),
    *("-c", "core.symlinks=false"),
    *("-c", "core.protectHFS=true"),
    *("-c", "core.protectNTFS=true"),
    *("-c", "gc.auto=0"),
    *("-c", "pack.threads=1"),
    *("-c", "safe.directory=*"),
)
#: Files and bytes that a tree may have: a few objects can name each other endlessly.
MAX_FILES: Final = 200_000
MAX_BYTES: Final = 8 << 30


class LocalRepository:
    """A bare repository. Construct it with ``create``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()

    @classmethod
    async def create(cls, folder: Path) -> Self:
        """Make one; the folder must be empty, or hold one already.

        Raises:
            GitError: git is not installed.
            StorageError: it cannot be made.
        """
        found = cls(folder)
        if await asyncio.to_thread(_make, folder):
            await found.run("init", "-q", "--bare", "--template=", ".")
        return found

    async def add_pack(self, path: Path, shallow: Sequence[str]) -> None:
        """Add what is in a pack; every object is numbered anew.

        Args:
            path: the pack.
            shallow: commits whose parents are not in it.

        Raises:
            GitError: it is broken.
        """
        target = await asyncio.to_thread(_move, self.folder, path, shallow)
        await self.run("index-pack", str(target))

    async def object(self, kind: Kind, number: str) -> GitObject:
        """A commit or tag; raises ``GitError``."""
        data = await self.run("cat-file", kind, number, limit=MAX_OBJECT)
        return parse_object(kind, data, number)

    async def set_ref(self, name: str, number: str) -> None:
        """Name an object; ``HEAD`` is detached."""
        await self.run("update-ref", "--no-deref", name, number)

    async def check_size(
        self, tree: str, *, max_files: int = MAX_FILES, max_bytes: int = MAX_BYTES
    ) -> None:
        """Demand that a tree is of a size that can be written; raises ``GitError``."""
        files = size = 0
        async with contextlib.aclosing(self._records("ls-tree", "-r", "-l", "-z", tree)) as found:
            async for record in found:
                files += 1
                words = record.partition(b"\t")[0].split()
                size += int(words[-1]) if words and words[-1].isdigit() else 0
                if files > max_files or size > max_bytes:
                    raise GitError(
                        f"more than {max_files} files or {max_bytes} bytes",
                        hint="take a smaller folder",
                    )

    async def write(self, tree: str, folder: Path) -> None:
        """Write the files of a tree (``COMMIT`` or ``COMMIT:PATH``); links become plain files.

        Raises:
            GitError: there is no such tree.
            StorageError: they cannot be written.
        """
        await asyncio.to_thread(_make, folder)
        place = str(await asyncio.to_thread(folder.absolute))
        index = {"GIT_INDEX_FILE": f"{self.folder}/index.plimsoll", "GIT_WORK_TREE": place}
        await self.run("read-tree", "--reset", tree, env=index)
        await self.run("checkout-index", "-a", "-f", "-q", f"--prefix={place}/", env=index)

    async def run(
        self, *arguments: str, limit: int = 1 << 20, env: dict[str, str] | None = None
    ) -> bytes:
        """Run a command of git; its output.

        Raises:
            GitError: it fails, says too much, or takes too long.
        """
        async with self._started(arguments, env) as process:
            out, said = await asyncio.gather(
                _read(process.stdout, limit), _read(process.stderr, _MAX_SAID)
            )
            if len(out) > limit or len(said) > _MAX_SAID:
                raise GitError(f"git {arguments[0]} says more than {limit} bytes")
            status = await process.wait()
        if status:
            lines = said.decode(errors="replace").strip().splitlines()
            reason = lines[-1].removeprefix("fatal: ")[:300] if lines else f"status {status}"
            raise GitError(f"git {arguments[0]}: {reason}")
        return out

    async def _records(self, *arguments: str) -> AsyncGenerator[bytes]:
        """The output of a command, as records that end with a NUL."""
        async with self._started(arguments, None) as process:
            if process.stdout is None:
                return
            rest = b""
            while piece := await process.stdout.read(1 << 16):
                *records, rest = (rest + piece).split(b"\x00")
                for record in records:
                    yield record
            if await process.wait():
                raise GitError("there is no such folder in the repository")

    @contextlib.asynccontextmanager
    async def _started(
        self, arguments: Sequence[str], env: dict[str, str] | None
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.folder),
            "LC_ALL": "C",
            "GIT_DIR": str(self.folder),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ALLOW_PROTOCOL": "none",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_ATTR_NOSYSTEM": "1",
            **(env or {}),
        }
        if arguments[0] == "init":
            del environment["GIT_DIR"]
        try:
            process = await asyncio.create_subprocess_exec(
                *("git", *_OPTIONS, *arguments),
                cwd=self.folder,
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        except FileNotFoundError:
            raise GitError("git is not installed", hint="install the package 'git'") from None
        try:
            async with asyncio.timeout(_TIMEOUT):
                yield process
        except TimeoutError:
            raise GitError(f"git {arguments[0]} takes longer than {_TIMEOUT:.0f} s") from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.communicate()


async def _read(stream: asyncio.StreamReader | None, limit: int) -> bytes:
    """All that comes, or one byte more than the limit."""
    data = b""
    while stream is not None and len(data) <= limit:
        piece = await stream.read(limit + 1 - len(data))
        if not piece:
            break
        data += piece
    return data


def _make(folder: Path) -> bool:
    """Make a folder; whether no repository is in it yet."""
    with storage_errors(f"making {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        return not (folder / "HEAD").exists()


def _move(folder: Path, path: Path, shallow: Sequence[str]) -> Path:
    """Put a pack, and what is known of its history, into a repository."""
    target = folder / "objects" / "pack" / f"pack-{path.name}.pack"
    with storage_errors(f"writing {target}"):
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
        if shallow:
            file = folder / "shallow"
            known = set(file.read_text().split()) if file.exists() else set()
            file.write_text("".join(f"{one}\n" for one in sorted(known | set(shallow))))
    return target

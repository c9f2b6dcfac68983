"""Running the scripts of a build: in a sandbox (bubblewrap), or on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from plimsoll.builder.package.load import BUILD_ID, CACHE, HOME
from plimsoll.builder.package.processes import MAX_LINE, lines, processors, sealed
from plimsoll.builder.package.script import PATH, SHELLS
from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from plimsoll.builder.package.script import Script

_LAST_LINES = 30
# What steps create must not depend on who builds.
_UMASK = 0o022
#: Where distributions keep compilers that are links to ccache.
_CCACHE_PATH = "/usr/lib/ccache/bin:/usr/lib/ccache"


class StepError(Error):
    """A step of a build failed."""

    reason = "StepFailed"


class RunnerError(Error):
    """Steps cannot be run here."""

    reason = "RunnerUnavailable"


@dataclass(frozen=True, slots=True)
class Place:
    """Directories of this machine that a build uses.

    Attributes:
        workspace: becomes ``/home/build``.
        guest: becomes ``/``; unused where steps run on this machine.
        cache: becomes ``/var/cache/melange``; ``None`` for none.
    """

    workspace: Path
    guest: Path
    cache: Path | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """How steps run.

    Attributes:
        environment: of the guest.
        network: whether every step may use the network.
        root: whether steps run as root of the guest.
        trace: print each command.
        shell: a file of this machine that steps find as ``/bin/sh``.
        cpus: how many processors steps may use; 0 for all.
        interactive: open a shell in the guest when a step fails.
        say: gets each line that steps print.
    """

    environment: Mapping[str, str] = field(default_factory=dict)
    network: bool = False
    root: bool = False
    trace: bool = False
    shell: Path | None = None
    cpus: int = 0
    interactive: bool = False
    say: Callable[[str], None] = print


class Runner(Protocol):
    """Runs scripts one after the other."""

    async def run(self, script: Script) -> None:
        """Run one script.

        Raises:
            StepError: it failed.
            RunnerError: it could not be started.
        """


class Bubblewrap:
    """Runs each script in namespaces of its own, without privileges.

    The guest is its root; the workspace and the cache are all that it shares with this machine.

    Raises:
        RunnerError: bubblewrap is not installed.
    """

    def __init__(self, place: Place, settings: Settings) -> None:
        program = shutil.which("bwrap")
        if program is None:
            raise RunnerError(
                "bubblewrap is not installed",
                hint="install the package 'bubblewrap', or use --runner host",
            )
        self._program = program
        self._place = place
        self._settings = settings
        self._shell: Sequence[str] | None = None

    async def run(self, script: Script) -> None:
        """See ``Runner.run``."""
        settings = self._settings
        environment = {"PATH": PATH, **settings.environment, **script.environment}
        if self._place.cache is not None:
            # Compilers by their usual names are ccache, where the guest has it.
            environment["PATH"] = f"{_CCACHE_PATH}:{environment['PATH']}"
            environment.setdefault("CCACHE_DIR", f"{CACHE}/ccache")
        command = [self._program, *self._sandbox(network=self._network(script))]
        if self._shell is None:
            self._shell = await _find_shell([self._program, *self._sandbox(network=False), "--"])
        text = script.shell(trace=settings.trace)
        words = [word for item in environment.items() for word in ("--setenv", *item)]
        try:
            with sealed(words) as descriptor:
                given = ["--args", str(descriptor), "--new-session", "--", *self._shell, "-c", text]
                await _execute([*command, *given], script, settings, descriptors=(descriptor,))
        except ValueError as error:
            raise RunnerError(str(error), hint="variables are texts without NUL bytes") from None
        except StepError:
            if settings.interactive and sys.stdin.isatty():
                settings.say("a shell in the guest; 'exit' ends it, and the build")
                command += ["--chdir", script.working_directory, *words, "--", *self._shell]
                await (await asyncio.create_subprocess_exec(*command)).wait()
            raise

    def _network(self, script: Script) -> bool:
        return self._settings.network or script.network

    def _sandbox(self, *, network: bool) -> list[str]:
        place = self._place
        uid = "0" if self._settings.root else str(BUILD_ID)
        options = [
            *("--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts"),
            *("--unshare-cgroup-try", "--die-with-parent", "--clearenv"),
            *("--hostname", "build", "--uid", uid, "--gid", uid),
            *("--bind", str(place.guest), "/", "--proc", "/proc", "--dev", "/dev"),
            *("--bind", str(place.workspace), HOME),
        ]
        if place.cache is not None:
            options += ["--bind", str(place.cache), CACHE]
        if self._settings.shell is not None:
            options += ["--ro-bind", str(self._settings.shell), "/bin/sh"]
        if network:
            for file in ("/etc/resolv.conf", "/etc/hosts"):
                options += ["--ro-bind-try", file, file]
        else:
            options += ["--unshare-net"]
        return [*options, "--chdir", "/"]


class Host:
    """Runs scripts on this machine as it is: for development only.

    Nothing is kept apart; ``/home/build`` in scripts becomes the workspace.
    """

    def __init__(self, place: Place, settings: Settings) -> None:
        self._place = place
        self._settings = settings
        self._shell: Sequence[str] | None = None

    async def run(self, script: Script) -> None:
        """See ``Runner.run``."""
        if self._shell is None:
            self._shell = await _find_shell([])
        home = str(self._place.workspace)
        cache = str(self._place.cache or self._place.workspace / ".cache")
        values = {**self._settings.environment, **script.environment}
        environment = {
            name: value.replace(HOME, home).replace(CACHE, cache) for name, value in values.items()
        }
        environment.setdefault("PATH", os.environ.get("PATH", PATH))
        text = script.shell(trace=self._settings.trace).replace(HOME, home).replace(CACHE, cache)
        await _execute([*self._shell, "-c", text], script, self._settings, environment)


def make_runner(kind: str, place: Place, settings: Settings) -> Runner:
    """A runner by name: ``bubblewrap``, or ``host``, which warns.

    Raises:
        RunnerError: there is none of that name, or it cannot be used here.
    """
    if kind == "bubblewrap":
        return Bubblewrap(place, settings)
    if kind == "host":
        settings.say(
            "WARNING: steps run on this machine with all your rights, and with its programs; "
            "use the result for nothing but development"
        )
        return Host(place, settings)
    raise RunnerError(f"there is no runner {kind!r}", hint="use bubblewrap or host")


async def _find_shell(prefix: Sequence[str]) -> Sequence[str]:
    """The first shell that stops when any command of a pipe fails.

    Without that, a tool that is missing inside a pipe would go unnoticed.

    Raises:
        RunnerError: there is none, or the sandbox cannot be made.
    """
    said = b""
    for shell in SHELLS:
        process = await asyncio.create_subprocess_exec(
            *(*prefix, *shell, "-c", "set -o pipefail"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        _, errors = await process.communicate()
        if process.returncode == 0:
            return shell
        said = said or (errors if errors.startswith(b"bwrap: ") else b"")
    if said and b"execvp" not in said:
        raise RunnerError(
            f"the sandbox cannot be made: {said.decode(errors='replace').strip()}",
            hint="this kernel or container may forbid user namespaces "
            "(kernel.unprivileged_userns_clone); or use --runner host",
        )
    raise RunnerError(
        "the guest has no shell that knows 'pipefail'",
        hint="add busybox or bash to environment.contents.packages",
    )


async def _execute(
    command: Sequence[str],
    script: Script,
    settings: Settings,
    environment: Mapping[str, str] | None = None,
    descriptors: Sequence[int] = (),
) -> None:
    """Run a command in a session of its own, and end all of it whatever happens."""
    last: deque[str] = deque(maxlen=_LAST_LINES)
    with processors(settings.cpus):
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=dict(environment or {}),
            pass_fds=descriptors,
            start_new_session=True,
            umask=_UMASK,
            limit=MAX_LINE,
        )
    try:
        if process.stdout is not None:
            async for line in lines(process.stdout):
                last.append(line)
                settings.say(line)
        status = await process.wait()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if status == 0:
        return
    shown = "\n".join(f"  | {line}" for line in last)
    how = f"signal {-status}" if status < 0 else f"status {status}"
    network = "" if script.network else "; steps have no network unless --network is given"
    raise StepError(
        f"the step {script.name!r} failed with {how}:\n{shown}",
        hint=f"the last lines of its output are above{network}",
    )

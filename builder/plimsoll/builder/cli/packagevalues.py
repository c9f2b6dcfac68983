"""Values of options that commands about packages share."""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from plimsoll.builder.package.errors import PackageConfigError

if TYPE_CHECKING:
    from plimsoll.arch import Arch
    from plimsoll.builder.package.sbom import Origin

_GIT_TIMEOUT = 10.0
#: A path of this machine says nothing to anybody else.
_REMOTE = re.compile(r"(https?|ssh|git)://|[\w.-]+@[\w.-]+:")


def configuration_origin(config: Path, repository: str, commit: str, licence: str) -> Origin:
    """Where a configuration comes from: what is given, else what Git says of its folder.

    The path is that in its repository, only the name where it lies in none: so packages say the
    same wherever the repository is checked out.
    """
    from plimsoll.builder.package.sbom import Origin  # noqa: PLC0415  (start-up time)
    from plimsoll.http import public_url  # noqa: PLC0415

    repository = public_url(repository) if repository else ""
    path = config.resolve()
    top = next((folder for folder in path.parents if (folder / ".git").exists()), None)
    if top is None:
        return Origin(path.name, repository, commit, licence)
    commit = commit or _git(top, "rev-parse", "--verify", "HEAD")
    if not repository and _REMOTE.match(url := _git(top, "remote", "get-url", "origin")):
        repository = public_url(url)
    return Origin(path.relative_to(top).as_posix(), repository, commit, licence)


def _git(folder: Path, *words: str) -> str:
    """What Git says, nothing if it fails."""
    if shutil.which("git") is None:
        return ""
    done = subprocess.run(
        ["git", "-C", folder, *words],
        capture_output=True, text=True, check=False, timeout=_GIT_TIMEOUT,
    )  # fmt: skip
    return done.stdout.strip() if done.returncode == 0 else ""


def check_archs(archs: list[Arch], runner: str) -> None:
    """Other architectures than this machine's need an emulator that the kernel knows.

    Raises:
        PackageConfigError: there is none.
    """
    from plimsoll.arch import Arch as Known  # noqa: PLC0415  (as above)

    host = Known.host()
    registered = Path("/proc/sys/fs/binfmt_misc")
    for arch in archs:
        emulated = any(registered.glob(f"*{arch.apk}*")) if registered.is_dir() else False
        if arch is not host and (runner == "host" or not emulated):
            raise PackageConfigError(
                f"this machine is {host} and cannot run programs for {arch}",
                hint=f"build with --arch {host}, or register qemu-user-static (binfmt_misc)",
            )


def source_date_epoch(environment: str, build_date: str | None) -> int:
    """Date of packages, seconds since the epoch: the environment's, else ``--build-date``, else 0.

    Raises:
        PackageConfigError, click.BadParameter: it is no date.
    """
    if environment:
        if not re.fullmatch(r"[0-9]{1,15}", environment):
            raise PackageConfigError(
                f"SOURCE_DATE_EPOCH is {environment[:40]!r}, which is no number of seconds",
                hint="unset it, or set it to seconds since 1970",
            )
        return int(environment)
    if not build_date:
        return 0
    try:
        moment = datetime.fromisoformat(build_date)
    except ValueError:
        raise click.BadParameter(
            f"{build_date!r} is no time: write 2026-01-31T12:00:00Z", param_hint="--build-date"
        ) from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def read_environment(path: Path) -> dict[str, str]:
    """Variables of a file of ``NAME=VALUE`` lines; ``#`` begins a comment.

    Raises:
        PackageConfigError: a line is none.
    """
    result = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise PackageConfigError(f"{path}:{number}: no NAME=VALUE", hint="write one a line")
        if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        result[name] = value
    return result

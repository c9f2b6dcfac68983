"""Programs that come from the operating system: found, or installed where that is our right.

As root on Debian (or Ubuntu) missing packages are installed; elsewhere a sentence says what to
install. ``python -m debian GROUP…`` does it ahead of time. Only the standard library is imported.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Group → program (on PATH, or an absolute path) → Debian package that brings it.
GROUPS: dict[str, dict[str, str]] = {
    "cluster": {
        "containerd": "containerd",
        "ctr": "containerd",
        "runc": "runc",
        "/usr/lib/cni/bridge": "containernetworking-plugins",
        "/usr/lib/cni/host-local": "containernetworking-plugins",
        "/usr/lib/cni/loopback": "containernetworking-plugins",
        "iptables": "iptables",
        "ip": "iproute2",
        "nsenter": "util-linux",
        "mount": "mount",
    },
    "guest": {"bwrap": "bubblewrap", "git": "git", "readelf": "binutils"},
    # What others say of the same signatures; a clock that is wrong.
    "oracles": {"gpg": "gnupg", "ssh-keygen": "openssh-client", "faketime": "faketime"},
    "arm64": {"qemu-aarch64-static": "qemu-user-static"},
}

# What this kernel is asked to run through qemu: an ELF header of class 64, little-endian,
# executable or shared, machine 183 (EM_AARCH64); flag F opens the interpreter now, so that it
# works inside any root directory.
_BINFMT = (
    ":plimsoll-aarch64:M::"
    r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:"
    r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:"
    "{interpreter}:F"
)


class MissingProgramError(Exception):
    """A program of the operating system is missing; the text says what to do."""


def find(program: str) -> str | None:
    """The path of a program, also from the administrator's directories."""
    if program.startswith("/"):
        return program if os.access(program, os.X_OK) else None
    path = os.environ.get("PATH", os.defpath) + ":/usr/local/sbin:/usr/sbin:/sbin"
    return shutil.which(program, path=path)


def ensure(*groups: str) -> None:
    """Have every program of the groups, installing packages where they are missing.

    Raises:
        MissingProgramError: not root, not Debian, or apt failed.
    """
    packages = _missing(groups)
    if not packages:
        return
    names = " ".join(packages)
    if not shutil.which("apt-get"):
        raise MissingProgramError(f"missing here: {names} (Debian's names); install them first")
    if os.geteuid() != 0:
        raise MissingProgramError(f"missing here: {names}; run: sudo apt-get install {names}")
    with Path("/var/lock/plimsoll-apt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        packages = _missing(groups)
        if packages:
            print(f"· installing {' '.join(packages)} (about 20 s)", file=sys.stderr, flush=True)
            _apt("update")
            _apt("install", "-y", "--no-install-recommends", *packages)
    if left := _missing(groups):
        raise MissingProgramError(f"installed, but still without programs: {' '.join(left)}")


def enable_arm64() -> None:
    """Let this kernel run arm64 programs through qemu, in any root directory.

    Raises:
        MissingProgramError: qemu or the kernel's binfmt_misc cannot be had.
    """
    home = Path("/proc/sys/fs/binfmt_misc")
    if any(home.glob("*aarch64*")):
        return
    ensure("arm64")
    try:
        if not (home / "register").exists():
            argv = ["mount", "-t", "binfmt_misc", "binfmt_misc", str(home)]
            subprocess.run(argv, check=True, capture_output=True)
        if not any(home.glob("*aarch64*")):
            line = _BINFMT.format(interpreter=find("qemu-aarch64-static"))
            (home / "register").write_text(line)
    except (OSError, subprocess.CalledProcessError) as error:
        raise MissingProgramError(f"this kernel runs no foreign programs: {error}") from error


def _missing(groups: Sequence[str]) -> list[str]:
    wanted = {program: package for group in groups for program, package in GROUPS[group].items()}
    return sorted({package for program, package in wanted.items() if find(program) is None})


def _apt(*arguments: str, attempts: int = 4) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    argv = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300", *arguments]
    for attempt in range(1, attempts + 1):
        done = subprocess.run(
            argv,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            return
        # The lists' own lock is not waited for by apt-get.
        if "Could not get lock" not in done.stderr or attempt == attempts:
            raise MissingProgramError(
                f"apt-get {arguments[0]} failed: {done.stderr.strip()[-800:]}\n"
                "Check /etc/apt/sources.list and the network."
            )
        time.sleep(5)


def main(arguments: Sequence[str] | None = None) -> int:
    """Install the groups' packages; with no group all that can be had, and a note on the rest."""
    parser = argparse.ArgumentParser(prog="debian", description=__doc__.splitlines()[0])
    parser.add_argument("group", nargs="*", metavar="GROUP", help=f"of {', '.join(GROUPS)}")
    groups = parser.parse_args(arguments).group
    if unknown := set(groups) - set(GROUPS):
        parser.error(f"no group {', '.join(unknown)}; there are {', '.join(GROUPS)}")
    try:
        ensure(*(groups or GROUPS))
    except MissingProgramError as error:
        print(f"{'error' if groups else 'note'}: {error}", file=sys.stderr)
        return 1 if groups else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())

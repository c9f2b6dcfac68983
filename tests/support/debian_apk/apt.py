"""Driving ``apt-get`` with a state of its own, for any architecture, without root."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

from debian_apk.packages import DebianPackage, PackageList

#: Lists older than this are fetched anew.
_MAX_AGE = 24 * 3600.0
_HELPER = Path("/usr/lib/apt/apt-helper")


class AptError(Exception):
    """``apt-get`` is not here, or could not do what was asked."""


class Apt:
    """Package lists and downloads of one architecture.

    Uses the sources that the machine is set up with (Debian's own, where they stand in a file of
    their own), and leaves its package database alone.
    """

    def __init__(self, architecture: str, cache: Path) -> None:
        for tool in ("apt-get", "dpkg-deb"):
            if shutil.which(tool) is None:
                raise AptError(
                    f"{tool} is not here: base packages are made from Debian packages, which "
                    "needs a Debian or Ubuntu machine (give an APK repository of your own instead)"
                )
        self._root = cache / "apt" / architecture
        self._archives = cache / "deb"
        for path in ("state/lists/partial", "cache/archives/partial"):
            (self._root / path).mkdir(parents=True, exist_ok=True)
        self._archives.mkdir(parents=True, exist_ok=True)
        (self._root / "status").touch()
        options = {
            "APT::Architecture": architecture,
            "APT::Architectures": architecture,
            "APT::Sandbox::User": "",
            "Acquire::Languages": "none",
            "Acquire::GzipIndexes": "false",
            "Acquire::Retries": "3",
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
            "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled": "false",
            "Dir::State": str(self._root / "state"),
            "Dir::State::status": str(self._root / "status"),
            "Dir::Cache": str(self._root / "cache"),
            **_sources(),
        }
        self._options = [f"-o={key}={value}" for key, value in options.items()]
        self.architecture = architecture

    def packages(self, *, refresh: bool = False) -> PackageList:
        """The package lists, fetched if they are absent or a day old."""
        stamp = self._root / "updated"
        fresh = stamp.exists() and time.time() - stamp.stat().st_mtime < _MAX_AGE
        failure = ""
        if refresh or not fresh:
            try:
                self._run("update", "-q")
                stamp.touch()
            except AptError as error:
                # One list that a mirror is about to renew is no reason to do without the others.
                failure = f" ({error})"
                print("not all package lists can be renewed; using those that are here")
        targets = self._run("indextargets", "--format", "$(FILENAME)", "Created-By: Packages")
        texts = []
        for name in targets.split():
            path = Path(name)
            if path.exists():
                texts.append(path.read_bytes())
            elif _HELPER.exists():
                texts.append(_output([str(_HELPER), "cat-file", name]))
        if not texts:
            raise AptError(
                f"apt-get has no package lists for {self.architecture}: check the sources in "
                f"/etc/apt and the network{failure}"
            )
        return PackageList(texts)

    def download(self, packages: list[DebianPackage]) -> list[Path]:
        """Fetch packages (verified by apt-get); those that are here are not fetched again."""
        missing = [
            p
            for p in packages
            if not self.path(p).exists() or self.path(p).stat().st_size != int(p.fields["Size"])
        ]
        if missing:
            names = [f"{p.name}={p.version}" for p in missing]
            self._run("download", "-q", *names, directory=self._archives)
        return [self.path(p) for p in packages]

    def path(self, package: DebianPackage) -> Path:
        """Where a downloaded package lies."""
        return self._archives / package.file_name

    def _run(self, *arguments: str, directory: Path | None = None) -> str:
        return _output(["apt-get", *self._options, *arguments], directory).decode()


def _sources() -> dict[str, str]:
    own = Path("/etc/apt/sources.list.d/debian.sources")
    if own.exists():
        return {"Dir::Etc::sourcelist": str(own), "Dir::Etc::sourceparts": "-"}
    return {}


def _output(command: list[str], directory: Path | None = None) -> bytes:
    done = subprocess.run(
        command,
        cwd=directory,
        capture_output=True,
        check=False,
        env={**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
    )
    if done.returncode:
        lines = [line for line in done.stderr.decode(errors="replace").splitlines() if line.strip()]
        raise AptError(
            f"{command[0]} {next((a for a in command[1:] if not a.startswith('-')), '')} failed: "
            + " ".join(lines[-4:])
        )
    return done.stdout

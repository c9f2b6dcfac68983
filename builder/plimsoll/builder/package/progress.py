"""How far a build came in a workspace that is kept, so that the next one goes on from there."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from typing import TYPE_CHECKING

from plimsoll.builder.store import StorageError, storage_errors

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from plimsoll.builder.package.script import Script


class Progress:
    """Steps that were finished, and the workspace as the last of them left it.

    A step that fails leaves half of its work behind; so a copy is kept of what the last good step
    left (blocks are shared where the file system can do that), and taken up again.

    Args:
        root: directory of the workspace.
        keep: whether it outlives this build; otherwise nothing is kept.
    """

    def __init__(self, root: Path, *, keep: bool) -> None:
        self._home = root / "home"
        self._good = root / "good"
        self._state = root / "steps"
        self._keep = keep
        self._identities: list[str] = []
        text = self._state.read_text() if keep and self._state.exists() else ""
        self.done = text.split() if self._good.exists() else []

    def restore(self) -> None:
        """Bring the workspace to where the last good step left it; empty it if there is none.

        Raises:
            StorageError: it cannot be copied or emptied.
        """
        if self.done:
            self._copy(self._good, self._home)
        elif self._keep:
            with storage_errors(f"emptying {self._home}"):
                shutil.rmtree(self._home)
                self._home.mkdir()

    def begin(self, scripts: Sequence[Script], world: Sequence[str]) -> int:
        """How many of these steps need not run again: none, if one of the first ones changed.

        Args:
            scripts: the steps.
            world: what else decides what they do: architecture, guest, sources, variables.
        """
        digest = hashlib.sha256(json.dumps(list(world)).encode())
        for script in scripts:
            value = [script.text, script.working_directory, sorted(script.environment.items())]
            digest.update(json.dumps(value).encode())
            self._identities.append(digest.hexdigest())
        same = self._identities[: len(self.done)] == self.done
        if not same:
            self.done = []
        return len(self.done)

    def finished(self, number: int) -> None:
        """Remember that a step was finished.

        Raises:
            StorageError: the workspace cannot be copied.
        """
        if not self._keep:
            return
        self._state.unlink(missing_ok=True)
        self._copy(self._home, self._good)
        with storage_errors(f"writing {self._state}"):
            self._state.write_text("\n".join(self._identities[: number + 1]))

    @staticmethod
    def _copy(source: Path, target: Path) -> None:
        with storage_errors(f"copying {source}"):
            if target.exists():
                shutil.rmtree(target)
            copied = subprocess.run(
                ["cp", "-a", "--reflink=auto", "--", source, target],
                capture_output=True,
                text=True,
                check=False,
            )
        if copied.returncode:
            raise StorageError(
                f"the workspace {source} cannot be copied: {copied.stderr.strip()[-300:]}",
                hint="make room, or leave --workspace-dir out",
            )

"""Telling a person what a build does: lines on standard error, the result on standard output."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import click

from plimsoll.builder.cli.imagecommand import log_level
from plimsoll.builder.events import Events
from plimsoll.errors import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.progress import Progress

    from plimsoll.builder.lock import Lock, LockedPackage
    from plimsoll.builder.ociimage import ArchImage


def human(size: int) -> str:
    """A size for people: ``18.2 MB``."""
    number = float(size)
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.2f} GB"


def counted(count: int, one: str, many: str) -> str:
    """``1 layer``, ``2 layers``."""
    return f"{count} {one if count == 1 else many}"


class Report:
    """Lines on standard error; on a terminal a bar beneath them while packages arrive.

    Args:
        mode: ``auto`` (a bar on a terminal, few lines elsewhere), ``plain``, ``none``.
    """

    def __init__(self, mode: str) -> None:
        self._mode = "plain" if mode == "auto" and not sys.stderr.isatty() else mode
        self._level = log_level()
        if self._level in {"warn", "error"}:
            self._mode = "none"
        self._lock = threading.Lock()
        self._fetched = 0
        self._cached = 0
        self._bytes = 0
        self._total = 0
        self._bar: Progress | None = None
        self._started = time.monotonic()
        context = click.get_current_context(silent=True)
        if context is not None:
            # However the command ends, the terminal gets its cursor back.
            context.call_on_close(self._close_bar)
        self.events = Events(
            say=self.say, warn=self.warn, fetched=self._one_fetched, cached=self._one_cached
        )

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._started

    def say(self, text: str) -> None:
        """One line."""
        if self._mode != "none":
            with self._lock:
                self._line(visible(text))

    def warn(self, text: str) -> None:
        """One line that is always shown, unless only errors are asked for."""
        if self._level == "error":
            return
        with self._lock:
            self._line(click.style(f"warning: {visible(text)}", fg="yellow"))

    def resolved(self, lock: Lock) -> None:
        """What was resolved."""
        counts: dict[str, int] = {}
        for package in lock.contents.packages:
            counts[package.architecture] = counts.get(package.architecture, 0) + 1
        self._total = len(lock.contents.packages)
        text = ", ".join(f"{count} for {arch}" for arch, count in counts.items())
        self.say(f"resolved {text or 'no packages'}")

    def built(self, images: Sequence[ArchImage]) -> None:
        """What was built."""
        with self._lock:
            self._close_bar()
        if self._fetched:
            number = counted(self._fetched, "new package", "new packages")
            self.say(f"verified {number} ({human(self._bytes)})")
        for image in images:
            layers = counted(len(image.layers), "layer", "layers")
            packages = counted(len(image.packages), "package", "packages")
            self.say(
                f"{image.arch!s:8} {packages}, {layers}, "
                f"{human(image.size)}, {image.descriptor.digest}"
            )

    def _one_fetched(self, package: LockedPackage) -> None:
        with self._lock:
            self._fetched += 1
            self._bytes += package.file_size or 0
            if self._mode == "auto":
                self._show(package)

    def _one_cached(self, _: LockedPackage) -> None:
        with self._lock:
            self._cached += 1

    def _show(self, package: LockedPackage) -> None:
        if self._bar is None:
            from rich.console import Console  # noqa: PLC0415  (terminals only; start-up time)
            from rich.progress import (  # noqa: PLC0415
                BarColumn,
                MofNCompleteColumn,
                Progress,
                TextColumn,
                TimeElapsedColumn,
            )

            self._bar = Progress(
                TextColumn("verified"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                # Names come from strangers: no markup in them counts.
                TextColumn("{task.description}", markup=False),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.add_task("", total=self._total or None)
            self._bar.start()
        number = self._bar.task_ids[0]
        done = self._fetched + self._cached
        self._bar.update(number, completed=done, description=package.name)
        if done >= self._total:
            self._close_bar()

    def _line(self, text: str) -> None:
        """Write a line above the bar, if there is one."""
        if self._bar is None:
            click.echo(text, err=True)
        else:
            from rich.text import Text  # noqa: PLC0415  (only while a bar is shown)

            self._bar.console.print(Text.from_ansi(text), soft_wrap=True)

    def _close_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def summary(images: Sequence[ArchImage], digest: str) -> dict[str, Any]:
    """The result of a build as ``--json`` prints it."""
    return {
        "digest": digest,
        "images": [
            {
                "platform": image.arch.platform,
                "digest": image.descriptor.digest,
                "size": image.size,
                "created": image.created,
                "layers": [
                    {
                        "digest": f"sha256:{x.digest}",
                        "diffID": f"sha256:{x.diff_id}",
                        "size": x.size,
                    }
                    for x in image.layers
                ],
                "packages": [{"name": n, "version": v} for n, v in image.packages],
            }
            for image in images
        ],
    }

"""Telling a person what a build does: lines on standard error, the result on standard output."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import click

from plimsoll.builder.engine import Events

if TYPE_CHECKING:
    from collections.abc import Sequence

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


class Report:
    """Lines on standard error; a counter that rewrites itself on a terminal.

    Args:
        mode: ``auto`` (a counter on a terminal, few lines elsewhere), ``plain``, ``none``.
    """

    def __init__(self, mode: str) -> None:
        self._mode = "plain" if mode == "auto" and not sys.stderr.isatty() else mode
        self._lock = threading.Lock()
        self._fetched = 0
        self._bytes = 0
        self._total = 0
        self._open_line = False
        self._started = time.monotonic()
        self.events = Events(say=self.say, warn=self.warn, fetched=self._one_fetched)

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._started

    def say(self, text: str) -> None:
        """One line."""
        if self._mode != "none":
            with self._lock:
                self._end_line()
                click.echo(text, err=True)

    def warn(self, text: str) -> None:
        """One line that is always shown."""
        with self._lock:
            self._end_line()
            click.secho(f"warning: {text}", fg="yellow", err=True)

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
        if self._fetched:
            self.say(f"verified {self._fetched} new packages ({human(self._bytes)})")
        for image in images:
            layers = "1 layer" if len(image.layers) == 1 else f"{len(image.layers)} layers"
            self.say(
                f"{image.arch!s:8} {len(image.packages)} packages, {layers}, "
                f"{human(image.size)}, {image.descriptor.digest}"
            )

    def _one_fetched(self, package: LockedPackage) -> None:
        with self._lock:
            self._fetched += 1
            self._bytes += package.file_size or 0
            if self._mode == "auto":
                line = f"\rverified {self._fetched} of {self._total}: {package.name}"
                click.echo(f"{line:<78.78}", err=True, nl=False)
                self._open_line = True

    def _end_line(self) -> None:
        if self._open_line:
            click.echo("\r" + " " * 78 + "\r", err=True, nl=False)
            self._open_line = False


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

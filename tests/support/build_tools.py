"""Base packages with the tools that build packages: made on demand, and kept."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from debian_apk.apt import AptError
from debian_apk.repository import build
from gotools import cache_dir

if TYPE_CHECKING:
    from pathlib import Path


def build_tools(*sets: str, archs: tuple[str, ...] = ("amd64",)) -> Path:
    """A signed repository of the ``build`` set, and of further sets or Debian packages.

    Ten seconds and 50 MB of downloads the first time.

    Args:
        sets: further names, each combination kept as a repository of its own.
        archs: Debian's names of architectures.

    Raises:
        AptError: Debian packages cannot be had here.
    """
    name = "-".join(("build", *sets, *(arch for arch in archs if arch != "amd64")))
    return _made(name, ["build", *sets], list(archs))


def build_packages(names: list[str], arch: str) -> Path:
    """A signed repository of some Debian packages and what they need; see ``build_tools``."""
    return _made("-".join((*names, arch)), names, [arch])


def _made(folder: str, names: list[str], archs: list[str]) -> Path:
    if shutil.which("apt-get") is None:
        raise AptError("base packages are made from Debian's: this needs apt-get")
    out = cache_dir() / folder
    build(out, names, archs, cache_dir() / "debian")
    return out

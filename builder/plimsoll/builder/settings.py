"""How to build, apart from what."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from plimsoll.apk.index import MAX_INDEX_SIZE
from plimsoll.apk.package import Limits

if TYPE_CHECKING:
    from pathlib import Path

#: Most bytes of a package file, and of one HTTP answer, by default.
MAX_PACKAGE = 8 << 30


@dataclass(frozen=True, slots=True)
class Settings:
    """How to build, apart from what.

    Attributes:
        cache_dir: the cache directory.
        offline: use only what is cached or local.
        ignore_signatures: take indexes that no known key signed.
        max_index: most bytes an index may inflate to.
        max_http: most bytes of one HTTP answer.
        limits: what one package may hold.
        compat: make the image that the reference makes.
        build_date: least creation time, seconds since the epoch.
        trusted_hosts: as ``Transport`` takes them; files of this machine may be named only where
            there are none.
        insecure_registries: registries that are spoken to over plain HTTP.
    """

    cache_dir: Path
    offline: bool = False
    ignore_signatures: bool = False
    max_index: int = MAX_INDEX_SIZE
    max_http: int = MAX_PACKAGE
    limits: Limits = field(default_factory=Limits)
    compat: bool = False
    build_date: int = 0
    trusted_hosts: frozenset[str] | None = None
    insecure_registries: frozenset[str] = frozenset()

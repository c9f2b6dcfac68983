"""``plimsoll cache`` and ``plimsoll clean``."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from plimsoll.builder.cli.imagecommand import ImageCommand
from plimsoll.builder.cli.report import counted, human
from plimsoll.builder.store import FORMAT, Store, default_cache_dir, storage_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_DAY = 86400
#: Kinds of entries and, for each, how deep below its folder they lie.
_DERIVED = ("builds", "members", "layers", "images", "parts")
F = TypeVar("F", bound="Callable[..., object]")


def _place(command: F) -> F:
    return click.option(
        "--cache-dir",
        type=click.Path(path_type=Path),
        help="The package cache. Default: PLIMSOLL_CACHE_DIR, else in your cache folder.",
    )(command)


@click.group()
def cache() -> None:
    """Look after the package cache."""


@cache.command(cls=ImageCommand)
@_place
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def info(cache_dir: Path | None, *, as_json: bool) -> None:
    """Say where the cache is, and what of which size is in it."""
    root = cache_dir or default_cache_dir()
    kinds: dict[str, dict[str, int]] = {}
    for generation in sorted(root.glob("v*")) if root.is_dir() else ():
        for kind in sorted(path for path in generation.iterdir() if path.is_dir()):
            if kind.name in {"tmp", "locks"}:
                continue
            entries = list(_entries(kind))
            found = kinds.setdefault(kind.name, {"entries": 0, "bytes": 0})
            found["entries"] += len(entries)
            found["bytes"] += sum(_size(entry) for entry in entries)
    total = sum(kind["bytes"] for kind in kinds.values())
    if as_json:
        click.echo(json.dumps({"cache": str(root), "bytes": total, "kinds": kinds}))
        return
    click.echo(f"{root}: {human(total)}")
    for name, found in kinds.items():
        click.echo(f"  {name:10} {found['entries']:6}  {human(found['bytes'])}")


@cache.command(cls=ImageCommand)
@_place
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def verify(cache_dir: Path | None, *, as_json: bool) -> None:
    """Read every package and base image in the cache again, and drop what is damaged."""
    from plimsoll.builder import basecache  # noqa: PLC0415  (start-up time)

    with Store(cache_dir or default_cache_dir()) as store:
        good, bad = _verified(store)
        for folder in sorted((store.root / basecache.KIND).glob("*/*")):
            if not basecache.is_sound(folder):
                store.remove(folder)
                bad.append(f"base image sha256:{folder.name}")
        if bad:
            for kind in _DERIVED:
                store.remove(store.root / kind)
    if as_json:
        click.echo(json.dumps({"intact": good, "removed": bad}))
    else:
        click.echo(f"{counted(good, 'package is', 'packages are')} intact")
        for name in bad:
            click.echo(f"removed {name}: it was damaged")
    if bad:
        raise SystemExit(1)


@cache.command(cls=ImageCommand)
@_place
@click.option(
    "--older-than",
    type=click.IntRange(min=0),
    default=30,
    show_default=True,
    metavar="DAYS",
    help="Remove what was stored longer ago than this.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def prune(cache_dir: Path | None, older_than: int, *, as_json: bool) -> None:
    """Remove old entries, and caches of other versions of this program."""
    root = cache_dir or default_cache_dir()
    limit = time.time() - older_than * _DAY
    freed = count = 0
    with Store(root) as store:
        for entry in _prunable(root, store, limit):
            size = _size(entry)
            store.remove(entry)
            if not entry.exists():
                freed, count = freed + size, count + 1
    if as_json:
        click.echo(json.dumps({"removed": count, "bytes": freed}))
    else:
        click.echo(f"removed {counted(count, 'entry', 'entries')}, {human(freed)}")


@click.command(cls=ImageCommand)
@_place
@click.option("--dry-run", is_flag=True, help="Only say how much would be removed.")
def clean(cache_dir: Path | None, *, dry_run: bool) -> None:
    """Remove the whole package cache; nothing in it is lost that cannot be fetched again."""
    root = cache_dir or default_cache_dir()
    size = 0
    for generation in root.glob(f"{FORMAT[0]}*-*") if root.is_dir() else ():
        if not (generation / "locks").is_dir():
            continue
        size += _size(generation)
        if not dry_run:
            with storage_errors(f"removing {generation}"):
                shutil.rmtree(generation)
    click.echo(f"{'would remove' if dry_run else 'removed'} {human(size)} from {root}")


def _verified(store: Store) -> tuple[int, list[str]]:
    """How many packages are intact, and the names of those that were not and are gone now."""
    from plimsoll.builder.cache import KIND, PackageCache  # noqa: PLC0415  (start-up time)
    from plimsoll.builder.store import CorruptEntryError  # noqa: PLC0415

    good, bad = 0, []
    packages = PackageCache(store)
    for folder in sorted((store.root / KIND).glob("*/*")):
        package = packages.load(bytes.fromhex(folder.name))
        if package is None:
            bad.append(folder.name)
            continue
        try:
            package.segment.verify()
            good += 1
        except CorruptEntryError:
            packages.forget(package)
            bad.append(f"{package.info.name}-{package.info.version}")
    return good, bad


def _prunable(root: Path, store: Store, limit: float) -> Iterator[Path]:
    for generation in root.glob("v*"):
        if generation != store.root and (generation / "locks").is_dir():
            if generation.stat().st_mtime < limit:
                yield generation
            continue
        for kind in sorted(generation.iterdir()):
            if kind.is_dir() and kind.name not in {"tmp", "locks"}:
                yield from (e for e in _entries(kind) if e.stat().st_mtime < limit)


def _entries(kind: Path) -> Iterator[Path]:
    """The entries of a kind: ``KIND/ab/ab…``."""
    return (entry for entry in kind.glob("*/*") if not entry.is_symlink())


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(f.stat().st_size for f in path.rglob("*") if f.is_file() and not f.is_symlink())

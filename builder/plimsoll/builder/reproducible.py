"""Building an image twice under unlike circumstances, and comparing every byte.

Each build is a process of its own with its own empty cache, clock, time zone, locale, umask, hash
seed, working and temporary folder, and number of processors. Packages are the same: one lock. The
clock is set apart by libfaketime, where that is installed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plimsoll.errors import Error
from plimsoll.oci.digest import sha256_of_file
from plimsoll.oci.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from plimsoll.arch import Arch
    from plimsoll.builder.layerfiles import FileView
    from plimsoll.builder.view import View

_CHILD = "from plimsoll.builder.reproducible import child; child()"
_PATHS = ("cache_dir", "lockfile", "sbom_path")


class NotReproducibleError(Error):
    """Two builds of one lock differ."""

    reason = "NotReproducible"


class BuildFailedError(Error):
    """A build that was to be compared did not come about."""

    reason = "BuildFailed"


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What two builds do not share.

    Attributes:
        zone: ``TZ``.
        locale: ``LC_ALL``.
        umask: of the process.
        seed: of Python's hashes.
        processors: how many may be used; 0 for all.
        clock: how far it is from ours, as libfaketime writes it.
    """

    zone: str
    locale: str
    umask: int
    seed: int
    processors: int
    clock: str = ""

    def __str__(self) -> str:
        processors = {0: "all processors", 1: "one processor"}
        parts = [
            f"time zone {self.zone}",
            f"locale {self.locale}",
            f"umask {self.umask:03o}",
            processors.get(self.processors, f"{self.processors} processors"),
        ]
        return ", ".join([*parts, *([f"clock {self.clock}"] if self.clock else ())])


UNLIKE = (
    Circumstances("UTC", "C", 0o022, 0, 0),
    Circumstances("Pacific/Kiritimati", "C.UTF-8", 0o077, 4242, 1, "+1000d"),
)


def clock_library() -> Path | None:
    """The library that gives a process another clock; ``None`` where it is not installed."""
    found = sorted(
        path
        for folder in ("/usr/lib", "/usr/lib64", "/usr/local/lib")
        for pattern in ("faketime/libfaketimeMT.so.1", "*/faketime/libfaketimeMT.so.1")
        for path in Path(folder).glob(pattern)
    )
    return found[0] if found else None


def build_under(
    circumstances: Circumstances, config: Path, options: dict[str, Any], folder: Path
) -> dict[str, str]:
    """Build into a folder of its own; returns what came out: name → SHA-256 (hex).

    Args:
        circumstances: of this build.
        config: the configuration.
        options: of ``plimsoll build``, a lock among them.
        folder: an empty folder for cache, temporary files and output.

    Raises:
        BuildFailedError: with what the build said.
    """
    for name in ("cache", "tmp", "home", "out"):
        (folder / name).mkdir()
    order = {
        "config": str(config),
        "options": {**options, "cache_dir": folder / "cache"},
        "out": folder / "out",
        "umask": circumstances.umask,
        "processors": circumstances.processors,
    }
    environment = {
        **os.environ,
        "TZ": circumstances.zone,
        "LC_ALL": circumstances.locale,
        "PYTHONHASHSEED": str(circumstances.seed),
        "TMPDIR": str(folder / "tmp"),
        "XDG_CACHE_HOME": str(folder / "home"),
    }
    library = clock_library() if circumstances.clock else None
    if library is not None:
        environment |= {
            "LD_PRELOAD": str(library),
            "FAKETIME": circumstances.clock,
            # Waiting is measured by this one.
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
    done = subprocess.run(
        [sys.executable, "-c", _CHILD],
        input=json.dumps(order, default=str).encode(),
        env=environment,
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        raise BuildFailedError(
            f"a build under {circumstances.zone}, {circumstances.locale} failed: {said[-2000:]}",
            hint="see whether 'plimsoll build' with the same options works",
        )
    files = sorted(path for path in (folder / "out").rglob("*") if path.is_file())
    return {str(p.relative_to(folder / "out")): sha256_of_file(p) for p in files}


def differences(one: dict[str, str], other: dict[str, str]) -> list[str]:
    """Names of what only one build made, or made otherwise."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


async def explained(one: Path, other: Path, archs: Iterable[Arch]) -> list[str]:
    """What differs between two builds, in words: files of the images, and their configuration.

    Args:
        one: folder of the first build, as ``build_under`` made it.
        other: folder of the second one.
        archs: architectures of the images.

    Raises:
        ImageSourceError: an image cannot be read.
    """
    from plimsoll.builder.imagesource import open_image  # noqa: PLC0415  (rare)
    from plimsoll.builder.view import image_view  # noqa: PLC0415

    async def read(folder: Path, arch: Arch) -> View:
        layout = str(folder / "out" / "layout")
        async with open_image(layout, arch, Registry) as image:
            return await image_view(image)

    lines = []
    for arch in archs:
        before, after = await read(one, arch), await read(other, arch)
        if before.digest == after.digest:
            continue
        found = [
            *_unlike(before.config or {}, after.config or {}, "configuration: "),
            *_unlike(
                {f"/{path}": _facts(view) for path, view in (before.files or {}).items()},
                {f"/{path}": _facts(view) for path, view in (after.files or {}).items()},
            ),
        ]
        found = found or ["the same files, in another order or packed in another way"]
        lines += [f"{arch}: {line}" for line in found]
    return lines


def _facts(view: FileView) -> dict[str, Any]:
    names = ("kind", "mode", "uid", "gid", "size", "content", "mtime", "layer")
    return {name: getattr(view, name) for name in names}


def _unlike(one: dict[str, Any], other: dict[str, Any], what: str = "") -> Iterator[str]:
    for name in sorted(one.keys() | other.keys()):
        if name not in one or name not in other:
            yield f"{what}{name} is in build {1 if name in one else 2} only"
        elif isinstance(facts := one[name], dict):
            unlike = [key for key, value in facts.items() if other[name].get(key) != value]
            if unlike:
                yield f"{what}{name} differs in {', '.join(unlike)}"
        elif facts != other[name]:
            yield f"{what}{name} is {facts!r} and {other[name]!r}"


def child() -> None:
    """One build, as standard input orders it."""
    import asyncio  # noqa: PLC0415  (of the child only)
    import contextlib  # noqa: PLC0415
    import locale  # noqa: PLC0415

    order = json.load(sys.stdin)
    os.umask(order["umask"])
    with contextlib.suppress(locale.Error):
        locale.setlocale(locale.LC_ALL, "")
    if order["processors"]:
        os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[: order["processors"]]))
    options = order["options"]
    for name in _PATHS:
        options[name] = Path(options[name]) if options.get(name) else None
    options["include_paths"] = [Path(path) for path in options["include_paths"]]
    try:
        asyncio.run(_build(Path(order["config"]), options, Path(order["out"])))
    except Error as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)


async def _build(config: Path, options: dict[str, Any], out: Path) -> None:
    from plimsoll.builder.cli.options import read_inputs  # noqa: PLC0415  (of the child only)
    from plimsoll.builder.engine import Engine, build_all  # noqa: PLC0415
    from plimsoll.builder.output import write_layout, write_tar  # noqa: PLC0415
    from plimsoll.builder.sbomfiles import index_document, write_sboms  # noqa: PLC0415
    from plimsoll.oci.digest import digest_of  # noqa: PLC0415

    inputs = read_inputs(config, options)
    if inputs.lock is None:
        raise BuildFailedError("there is no lock to build from")
    notes = inputs.annotations
    async with Engine(inputs.settings) as engine:
        images = await build_all(
            engine, inputs.config, inputs.lock, inputs.archs, annotations=notes
        )
        index = engine.index(inputs.config, images, notes)
        (out / "layout").mkdir()
        write_layout(out / "layout", images, index, "latest")
        write_tar(out / "image.tar", images, index, ["image:latest"], engine.store)
    document = index_document(images, "image", digest_of(index))
    write_sboms(out, images, document, ("spdx", "cyclonedx"))

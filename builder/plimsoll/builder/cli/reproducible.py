"""``plimsoll verify-image-reproducible``."""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any

import click

from plimsoll.builder.cli.imagecommand import ImageCommand
from plimsoll.builder.cli.options import build_options, config_options, read_inputs
from plimsoll.builder.cli.report import Report


@click.command("verify-image-reproducible", cls=ImageCommand)
@click.argument("config", type=click.Path(path_type=Path))
@build_options
@config_options
def verify_image_reproducible(config: Path, **options: Any) -> None:
    """Build the image that CONFIG describes twice, and fail unless every byte is the same.

    The builds share the lock and nothing else: cache, time zone, locale, umask, hash seed,
    temporary folder and number of processors differ, and the clock by 1000 days where libfaketime
    is installed. Packages are fetched for each.
    """
    from plimsoll.builder.engine import Engine  # noqa: PLC0415  (start-up time)
    from plimsoll.builder.reproducible import (  # noqa: PLC0415
        UNLIKE,
        NotReproducibleError,
        build_under,
        clock_library,
        differences,
        explained,
    )

    inputs = read_inputs(config, options)
    report = Report(inputs.progress)
    if clock_library() is None:
        report.say("the clock is the same in both builds: libfaketime is not installed")

    async def lock_now() -> bytes:
        async with Engine(inputs.settings, report.events) as engine:
            found, _ = await engine.resolve(inputs.config, inputs.archs, origin=inputs.origin)
        return found.dump()

    with tempfile.TemporaryDirectory(prefix="plimsoll-twice-") as temporary:
        root = Path(temporary)
        if not options["lockfile"]:
            options["lockfile"] = root / "lock.json"
            options["lockfile"].write_bytes(asyncio.run(lock_now()))
        results = []
        for number, circumstances in enumerate(UNLIKE, start=1):
            report.say(f"build {number} of {len(UNLIKE)}: {circumstances}")
            folder = root / str(number)
            folder.mkdir()
            results.append(build_under(circumstances, config, options, folder))
        different = differences(*results)
        why = asyncio.run(explained(root / "1", root / "2", inputs.archs)) if different else []
    if inputs.as_json:
        shown = {"reproducible": not different, "different": different, "why": why}
        click.echo(json.dumps(shown))
    if different:
        for line in why if not inputs.as_json else ():
            click.echo(line)
        named = "; ".join(why[:3]) or ", ".join(different[:10])
        raise NotReproducibleError(
            f"two builds differ in {len(different)} files: {named}",
            hint="this is a fault of this program: tell its developers, with the lock",
        )
    if not inputs.as_json:
        click.echo(f"{len(results[0])} files are the same, byte for byte")

"""What ``plimsoll publish --local`` does."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import click

from plimsoll.arch import Arch
from plimsoll.builder.cli.options import read_inputs
from plimsoll.builder.cli.report import Report, summary
from plimsoll.builder.dockerdaemon import load
from plimsoll.builder.engine import Engine
from plimsoll.builder.output import write_tar

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from plimsoll.oci.reference import Reference


def load_to(references: Sequence[Reference], config: Path, options: dict[str, Any]) -> None:
    """Build the image for this machine and hand it to its Docker daemon.

    Args:
        references: what it is called there.
        config: the configuration file.
        options: of the command line.
    """
    inputs = read_inputs(config, options)
    # A daemon runs one architecture: this machine's, unless the image has another one only.
    arch = Arch.host() if Arch.host() in inputs.archs else inputs.archs[0]
    report = Report(inputs.progress)
    names = [f"{r.registry}/{r.repository}:{r.tag or 'latest'}" for r in references]

    async def run() -> dict[str, Any]:
        async with Engine(inputs.settings, report.events) as engine:

            async def once() -> dict[str, Any]:
                lock = inputs.lock
                if lock is None:
                    lock, _ = await engine.resolve(inputs.config, [arch], origin=inputs.origin)
                report.resolved(lock)
                image = await engine.build(
                    inputs.config,
                    lock,
                    arch,
                    name=names[0].rpartition(":")[0],
                    annotations=inputs.annotations,
                )
                archive = engine.store.scratch() / "image.tar"
                index = engine.index(inputs.config, [image], inputs.annotations)
                await asyncio.to_thread(write_tar, archive, [image], index, names, engine.store)
                report.built([image])
                for line in await load(archive):
                    report.say(line)
                return summary([image], image.descriptor.digest)

            return await engine.repairing(once)

    told = asyncio.run(run())
    click.echo(json.dumps({"tags": names} | told) if inputs.as_json else "\n".join(names))

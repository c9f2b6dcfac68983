"""What ``plimsoll build`` and ``plimsoll publish`` do when there is something to do."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from typing import TYPE_CHECKING, Any

import click

from plimsoll import outfile
from plimsoll.builder import unchanged
from plimsoll.builder.cli.options import Inputs, read_inputs
from plimsoll.builder.cli.registry import open_registry
from plimsoll.builder.cli.report import Report, summary
from plimsoll.builder.engine import Engine, build_all
from plimsoll.builder.publish import push_all
from plimsoll.builder.sbomfiles import index_document, write_sboms
from plimsoll.builder.store import storage_errors
from plimsoll.oci.digest import digest_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from plimsoll.builder.cli.target import Target
    from plimsoll.builder.ociimage import ArchImage
    from plimsoll.oci.reference import Reference


def build_to(target: Target, config: Path, options: dict[str, Any], key: str) -> None:
    """Build an image and write it.

    Args:
        target: where to.
        config: the configuration file.
        options: of the command line.
        key: under which the build is noted, where nothing but local files were read.
    """
    _settle()
    inputs = read_inputs(config, options)
    asyncio.run(_build(inputs, target, key))


def publish_to(references: Sequence[Reference], config: Path, options: dict[str, Any]) -> None:
    """Build an image and push it.

    Args:
        references: where to.
        config: the configuration file.
        options: of the command line.
    """
    _settle()
    asyncio.run(_publish(read_inputs(config, options), references, options))


def _settle() -> None:
    """Set the interpreter up for a process that builds one image and ends.

    What was loaded so far stays loaded, and the entries of packages are no garbage; looking
    through them again and again takes a tenth of a small build. A thread that has compressed a
    piece asks for its next one soon and not after 5 ms.
    """
    sys.setswitchinterval(0.0005)
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


async def _build(inputs: Inputs, target: Target, key: str) -> None:
    report = target.report
    async with Engine(inputs.settings, report.events) as engine:

        async def once() -> unchanged.Result:
            images, index = await _images(engine, inputs, report, target.name)
            document = index_document(images, target.name, digest_of(index))
            made = unchanged.Result(images, index, document)
            await asyncio.to_thread(target.write, made, engine.store)
            return made

        made = await engine.repairing(once)
        keys = engine.image_keys
        if inputs.files and not engine.repositories.asked and len(keys) == len(made.images):
            files = {**inputs.files, **engine.repositories.read}
            await asyncio.to_thread(unchanged.keep, engine.store, key, files, keys, made)
    target.finish(made)


async def _images(
    engine: Engine, inputs: Inputs, report: Report, name: str
) -> tuple[list[ArchImage], bytes]:
    lock = inputs.lock
    if lock is None:
        lock, _ = await engine.resolve(inputs.config, inputs.archs, origin=inputs.origin)
    _check_archs(inputs)
    report.resolved(lock)
    images = await build_all(
        engine, inputs.config, lock, inputs.archs, name=name, annotations=inputs.annotations
    )
    return images, engine.index(inputs.config, images, inputs.annotations)


def _check_archs(inputs: Inputs) -> None:
    """A lock must have been made for these architectures."""
    from plimsoll.builder.lock import LockError  # noqa: PLC0415  (only with a lock)

    if inputs.lock is None:
        return
    locked = {package.architecture for package in inputs.lock.contents.packages}
    missing = [str(arch) for arch in inputs.archs if arch.apk not in locked]
    if missing and inputs.config.contents.packages:
        raise LockError(
            f"the lock file has no packages for {', '.join(missing)}",
            hint="make it anew with 'plimsoll lock', or choose with --arch",
        )


async def _publish(
    inputs: Inputs, references: Sequence[Reference], options: dict[str, Any]
) -> None:
    report = Report(inputs.progress)
    first = references[0]
    name = f"{first.registry}/{first.repository}"
    async with (
        Engine(inputs.settings, report.events) as engine,
        open_registry(options["insecure"]) as registry,
    ):

        async def once() -> tuple[list[ArchImage], bytes]:
            images, index = await _images(engine, inputs, report, name)
            report.built(images)
            report.say(f"pushing to {', '.join(dict.fromkeys(r.registry for r in references))}")
            await push_all(registry, references, images, index, engine.store)
            return images, index

        images, index = await engine.repairing(once)
    digest = digest_of(index)
    if options["sbom"] and options["sbom_path"]:
        document = index_document(images, name, digest)
        write_sboms(options["sbom_path"], images, document, options["sbom_formats"])
    if options["image_refs"]:
        digests = [*(x.descriptor.digest for x in images), digest]
        with storage_errors(f"writing {options['image_refs']}"):
            outfile.write(options["image_refs"], "".join(f"{name}@{d}\n" for d in digests).encode())
    report.say(f"pushed {', '.join(map(str, references))} in {report.seconds:.1f} s")
    click.echo(json.dumps(summary(images, digest)) if inputs.as_json else f"{name}@{digest}")

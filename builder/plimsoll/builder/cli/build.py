"""``plimsoll build`` and ``plimsoll publish``."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from plimsoll.builder.cli.options import Inputs, build_options, config_options, read_inputs
from plimsoll.builder.cli.registry import insecure_option, open_registry
from plimsoll.builder.cli.report import Report, summary
from plimsoll.builder.engine import Engine, build_all
from plimsoll.builder.sbomfiles import write_sboms
from plimsoll.builder.store import storage_errors
from plimsoll.oci.digest import digest_of
from plimsoll.oci.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plimsoll.builder.ociimage import ArchImage


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.argument("image")
@click.argument("output", type=click.Path(path_type=Path))
@config_options
@build_options
def build(config: Path, image: str, output: Path, **options: Any) -> None:
    """Build the image that CONFIG describes, name it IMAGE, and write it to OUTPUT.

    OUTPUT is a .tar file, which 'docker load' and OCI tools read, or a directory that exists,
    which becomes an OCI layout. The digest of the image is printed on standard output.
    """
    inputs = read_inputs(config, options)
    reference = Reference.parse(image)
    folder = output if output.is_dir() else output.parent
    sbom_path = (options["sbom_path"] or folder) if options["sbom"] else None
    target = (output, output.is_dir())
    asyncio.run(_build(inputs, reference, target, sbom_path, options["sbom_formats"]))


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.argument("tags", nargs=-1, required=True)
@config_options
@build_options
@click.option(
    "--image-refs",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the references of the index and of every image to this file.",
)
@insecure_option
def publish(config: Path, tags: tuple[str, ...], **options: Any) -> None:
    """Build the image that CONFIG describes and push it to every one of TAGS.

    Logins are taken from docker's configuration. The reference with digest is printed on
    standard output.
    """
    inputs = read_inputs(config, options)
    references = [Reference.parse(tag) for tag in tags]
    asyncio.run(_publish(inputs, references, options))


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


async def _build(
    inputs: Inputs,
    reference: Reference,
    target: tuple[Path, bool],
    sbom_path: Path | None,
    formats: tuple[str, ...],
) -> None:
    from plimsoll.builder.output import write_layout, write_tar  # noqa: PLC0415  (start-up time)

    output, is_folder = target
    report = Report(inputs.progress)
    name = f"{reference.registry}/{reference.repository}"
    tag = reference.tag or "latest"
    async with Engine(inputs.settings, report.events) as engine:

        async def once() -> tuple[list[ArchImage], bytes]:
            images, index = await _images(engine, inputs, report, name)
            if is_folder:
                await asyncio.to_thread(write_layout, output, images, index, tag)
            else:
                named = [f"{name}:{tag}"]
                await asyncio.to_thread(write_tar, output, images, index, named, engine.store)
            return images, index

        images, index = await engine.repairing(once)
    report.built(images)
    digest = digest_of(index)
    if sbom_path is not None:
        write_sboms(sbom_path, images, name, digest, formats)
    report.say(f"wrote {output} in {report.seconds:.1f} s")
    click.echo(json.dumps(summary(images, digest)) if inputs.as_json else digest)


async def _publish(
    inputs: Inputs, references: Sequence[Reference], options: dict[str, Any]
) -> None:
    from plimsoll.builder.publish import push_all  # noqa: PLC0415  (start-up time)

    report = Report(inputs.progress)
    first = references[0]
    name = f"{first.registry}/{first.repository}"
    async with (
        Engine(inputs.settings, report.events) as engine,
        open_registry(options["insecure"]) as registry,
    ):

        async def once() -> tuple[list[ArchImage], bytes]:
            images, index = await _images(engine, inputs, report, name)
            await push_all(registry, references, images, index, engine.store)
            return images, index

        images, index = await engine.repairing(once)
    report.built(images)
    digest = digest_of(index)
    if options["sbom"] and options["sbom_path"]:
        write_sboms(options["sbom_path"], images, name, digest, options["sbom_formats"])
    if options["image_refs"]:
        lines = [f"{name}@{digest}", *(f"{name}@{x.descriptor.digest}" for x in images)]
        with storage_errors(f"writing {options['image_refs']}"):
            options["image_refs"].write_text("".join(f"{line}\n" for line in lines))
    report.say(f"pushed {', '.join(map(str, references))} in {report.seconds:.1f} s")
    click.echo(json.dumps(summary(images, digest)) if inputs.as_json else f"{name}@{digest}")

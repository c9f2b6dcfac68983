"""``plimsoll build-minirootfs`` and ``plimsoll build-cpio``."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tarfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from plimsoll.builder.cli.imagecommand import ImageCommand, examples
from plimsoll.builder.cli.options import build_options, config_options, read_inputs
from plimsoll.builder.cli.report import Report, human
from plimsoll.builder.engine import Engine
from plimsoll.builder.sbomfiles import write_sboms
from plimsoll.builder.store import storage_errors
from plimsoll.errors import Error
from plimsoll.outfile import replacing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plimsoll.builder.layer import Layer
    from plimsoll.builder.ociimage import ArchImage


class TreeError(Error):
    """A configuration that no single file tree can be made of."""

    reason = "InvalidConfiguration"


_BUILD_ARCH = click.option(
    "--build-arch", default="host", show_default=True, help="The architecture to build for."
)


@click.command(
    "build-minirootfs",
    cls=ImageCommand,
    epilog=examples("build-minirootfs app.yaml app.tar.gz --build-arch arm64"),
)
@click.argument("config", type=click.Path(path_type=Path))
@click.argument("output", type=click.Path(path_type=Path, dir_okay=False))
@_BUILD_ARCH
@build_options
@config_options
def build_minirootfs(config: Path, output: Path, **options: Any) -> None:
    """Build the file tree that CONFIG describes into OUTPUT, a .tar.gz (or .tar) file."""

    def write(layer: Layer, file: IO[bytes]) -> None:
        if output.suffix != ".tar":
            file.writelines(layer.chunks())
            return
        with layer_stream(layer) as stream:
            while piece := stream.read(1 << 20):
                file.write(piece)

    _make(config, output, options, write)


@click.command(
    "build-cpio", cls=ImageCommand, epilog=examples("build-cpio app.yaml initramfs.cpio.gz")
)
@click.argument("config", type=click.Path(path_type=Path))
@click.argument("output", type=click.Path(path_type=Path, dir_okay=False))
@_BUILD_ARCH
@build_options
@config_options
def build_cpio(config: Path, output: Path, **options: Any) -> None:
    """Build the file tree that CONFIG describes into OUTPUT, a cpio archive.

    It is compressed if OUTPUT ends in .gz; the kernel takes both as an initial root file system.
    """
    from plimsoll.builder.cpio import cpio_of, linked_names  # noqa: PLC0415  (start-up time)
    from plimsoll.builder.gzipfile import gzip_writer  # noqa: PLC0415

    def write(layer: Layer, file: IO[bytes]) -> None:
        with layer_stream(layer) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
            linked = linked_names(tar)
        with contextlib.ExitStack() as stack:
            stream = stack.enter_context(layer_stream(layer))
            tar = stack.enter_context(tarfile.open(fileobj=stream, mode="r|"))
            target = stack.enter_context(gzip_writer(file)) if output.suffix == ".gz" else file
            for piece in cpio_of(tar, linked):
                target.write(piece)

    _make(config, output, options, write)


def _make(config: Path, output: Path, options: dict[str, Any], write: Any) -> None:
    build_arch = options.pop("build_arch")
    options["archs"] = options["archs"] or (build_arch,)
    inputs = read_inputs(config, options)
    if len(inputs.archs) != 1:
        raise click.UsageError("a file tree has one architecture: choose it with --build-arch")
    if inputs.config.contents.baseimage is not None:
        raise TreeError(
            "a file tree is made of packages alone, and this configuration has a base image",
            hint="build the image with 'plimsoll build'",
        )
    # One tree is one layer, whatever the image of this configuration has.
    single = inputs.config.model_copy(update={"layering": None, "compression": "gzip"})
    report = Report(inputs.progress)

    def keep(layer: Layer) -> None:
        with storage_errors(f"writing {output}"), replacing(output) as file:
            write(layer, file)

    async def run() -> ArchImage:
        async with Engine(inputs.settings, report.events) as engine:

            async def once() -> ArchImage:
                lock = inputs.lock
                if lock is None:
                    lock, _ = await engine.resolve(single, inputs.archs, origin=inputs.origin)
                report.resolved(lock)
                image = await engine.build(
                    single, lock, inputs.archs[0], annotations=inputs.annotations
                )
                await asyncio.to_thread(keep, image.layers[0])
                if options["sbom"] and options["sbom_path"]:
                    write_sboms(options["sbom_path"], [image], b"", options["sbom_formats"])
                return image

            return await engine.repairing(once)

    image = asyncio.run(run())
    report.say(f"wrote {output} ({human(output.stat().st_size)}) in {report.seconds:.1f} s")
    if inputs.as_json:
        packages = [{"name": name, "version": version} for name, version in image.packages]
        told = {"output": str(output), "platform": image.arch.platform, "packages": packages}
        click.echo(json.dumps(told))


@contextlib.contextmanager
def layer_stream(layer: Layer) -> Iterator[IO[bytes]]:
    """The uncompressed tar of a layer as a stream."""
    import io  # noqa: PLC0415  (start-up time)

    from plimsoll.builder.gzipfile import gzip_reader  # noqa: PLC0415

    class Chunks(io.RawIOBase):
        def __init__(self) -> None:
            self.pieces = layer.chunks()
            self.rest = memoryview(b"")

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            while not self.rest:
                piece = next(self.pieces, None)
                if piece is None:
                    return 0
                self.rest = memoryview(piece)
            size = min(len(buffer), len(self.rest))
            buffer[:size] = self.rest[:size]
            self.rest = self.rest[size:]
            return size

    with io.BufferedReader(Chunks()) as raw, gzip_reader(raw) as stream:
        yield stream

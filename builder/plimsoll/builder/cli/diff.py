"""``plimsoll diff``."""

from __future__ import annotations

import asyncio
import json
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from plimsoll.builder.view import View

_MAX_DOCUMENT = 256 << 20


@click.command()
@click.argument("before")
@click.argument("after")
@click.option("--arch", help="Architecture to compare. Default: the first one.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "html"]),
    default="text",
    show_default=True,
    help="How to show it.",
)
@click.option("--exit-code", is_flag=True, help="Exit with status 1 if there is a difference.")
@click.option(
    "--insecure-registry",
    multiple=True,
    metavar="HOST[:PORT]",
    help="Speak plain HTTP to this registry, as to those in $PLIMSOLL_INSECURE_REGISTRIES.",
)
def diff(  # noqa: PLR0913  (one argument per option)
    before: str,
    after: str,
    arch: str | None,
    form: str,
    *,
    exit_code: bool,
    insecure_registry: tuple[str, ...],
) -> None:
    """Show what differs between two images, locks or SBOMs.

    BEFORE and AFTER are each an image in a registry, an OCI layout (a folder or a .tar file), a
    lock, or an SPDX or CycloneDX document.
    """
    from plimsoll.builder import diffrender  # noqa: PLC0415  (start-up time)
    from plimsoll.builder.diff import difference  # noqa: PLC0415

    async def run() -> tuple[View, View]:
        return (
            await _view(before, arch, insecure_registry),
            await _view(after, arch, insecure_registry),
        )

    found = difference(*asyncio.run(run()))
    if form == "json":
        click.echo(json.dumps(found.to_dict(), indent=2))
    else:
        click.echo(diffrender.html(found) if form == "html" else diffrender.text(found))
    if exit_code and found:
        raise SystemExit(1)


async def _view(text: str, arch: str | None, insecure: tuple[str, ...]) -> View:
    path = Path(text)
    exists = await asyncio.to_thread(path.exists)
    if exists:
        return await asyncio.to_thread(_local, path, arch)
    from plimsoll.builder.view import registry_view  # noqa: PLC0415  (start-up time)
    from plimsoll.oci.auth import Credentials  # noqa: PLC0415
    from plimsoll.oci.insecure import insecure_registries  # noqa: PLC0415
    from plimsoll.oci.reference import Reference  # noqa: PLC0415
    from plimsoll.oci.registry import Registry  # noqa: PLC0415

    reference = Reference.parse(text)
    with tempfile.TemporaryDirectory(prefix="plimsoll-diff-") as folder:
        async with Registry(
            Credentials.default(), insecure=insecure_registries(insecure)
        ) as registry:
            return await registry_view(registry, reference, arch, Path(folder))


def _local(path: Path, arch: str | None) -> View:
    from plimsoll.builder.store import storage_errors  # noqa: PLC0415  (start-up time)
    from plimsoll.builder.view import ViewError, document_view, layout_view  # noqa: PLC0415
    from plimsoll.oci.layout import Layout  # noqa: PLC0415

    if path.is_dir():
        layout = Layout.open(path)
        return layout_view(str(path), layout, layout.resolve(), arch)
    with storage_errors(f"reading {path}"):
        if not tarfile.is_tarfile(path):
            if path.stat().st_size > _MAX_DOCUMENT:
                raise ViewError(f"{path} is larger than {_MAX_DOCUMENT} bytes")
            return document_view(str(path), path.read_bytes(), arch)
        with tempfile.TemporaryDirectory(prefix="plimsoll-diff-") as folder:
            with tarfile.open(path) as tar:
                tar.extractall(folder, filter="data")
            layout = Layout.open(Path(folder))
            tops = {member.digest: member for member in layout.index.manifests}
            if len(tops) != 1:
                raise ViewError(f"{path} holds {len(tops)} images", hint="give one image")
            return layout_view(str(path), layout, next(iter(tops.values())), arch)

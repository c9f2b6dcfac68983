"""``plimsoll sign`` and ``plimsoll attest``."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from plimsoll.cli.options import (
    UsageError,
    annotation_option,
    insecure_option,
    open_registry,
    parse_image,
    parse_pairs,
    read_file,
    read_json,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from plimsoll.oci.model import Descriptor
    from plimsoll.oci.reference import Reference
    from plimsoll.oci.registry import Registry
    from plimsoll.signing.privatekey import PrivateKey

_KEY_HELP = (
    "Private key: cosign.key, a plain PEM file, or a directory with cosign.key and "
    "cosign.password. The password of a file is $COSIGN_PASSWORD."
)
_key_option = click.option(
    "--key",
    "-k",
    "key_path",
    required=True,
    type=click.Path(path_type=Path),
    help=_KEY_HELP,
)
_legacy_option = click.option(
    "--legacy", is_flag=True, help="Also write the tag that cosign 1 and 2 read."
)


@click.command()
@click.argument("image")
@_key_option
@annotation_option("Signed with the image; policies may ask for it.")
@_legacy_option
@insecure_option
def sign(
    image: str,
    key_path: Path,
    annotations: tuple[str, ...],
    *,
    legacy: bool,
    insecure: tuple[str, ...],
) -> None:
    """Sign IMAGE and attach the signature to it in its registry.

    The signature is for the digest that IMAGE names now; better name a digest yourself.
    Cosign verifies it with: cosign verify --key cosign.pub --insecure-ignore-tlog=true IMAGE
    """
    from plimsoll.signing import attach  # noqa: PLC0415  start-up time
    from plimsoll.signing.sign import sign_image, sign_legacy  # noqa: PLC0415

    key = load_key(key_path)
    notes = parse_pairs(annotations)

    async def work(registry: Registry, ref: Reference, subject: Descriptor) -> None:
        bundle = sign_image(key, subject.digest, annotations=notes)
        await attach.attach_bundle(registry, ref, subject, bundle)
        if legacy:
            payload, signature = sign_legacy(key, ref.name, subject.digest, annotations=notes)
            await attach.attach_legacy_signature(registry, ref, subject.digest, payload, signature)

    digest = asyncio.run(_with_image(image, insecure, work))
    click.echo(f"signed {digest} with key {key.public.fingerprint[:16]}")


@click.command()
@click.argument("image")
@_key_option
@click.option(
    "--type",
    "-t",
    "kind",
    required=True,
    metavar="TYPE",
    help="Predicate type: spdxjson, cyclonedx, slsaprovenance1, vuln, openvex… or a URI.",
)
@click.option(
    "--predicate",
    "-p",
    "predicate_path",
    required=True,
    type=click.Path(path_type=Path),
    help="JSON file with what is attested.",
)
@_legacy_option
@insecure_option
def attest(  # noqa: PLR0913  one per option
    image: str,
    key_path: Path,
    kind: str,
    predicate_path: Path,
    *,
    legacy: bool,
    insecure: tuple[str, ...],
) -> None:
    """Attest what a JSON file says about IMAGE, and attach that to it in its registry."""
    from plimsoll.signing import attach  # noqa: PLC0415  start-up time
    from plimsoll.signing.sign import attest as make  # noqa: PLC0415
    from plimsoll.signing.statement import predicate_type_of  # noqa: PLC0415

    predicate_type = predicate_type_of(kind)
    predicate = read_json(predicate_path, "the predicate")
    if not isinstance(predicate, dict):
        raise UsageError(f"the predicate {predicate_path} is no JSON object")
    key = load_key(key_path)

    async def work(registry: Registry, ref: Reference, subject: Descriptor) -> None:
        bundle = make(key, subject.digest, predicate_type, predicate, name=ref.name)
        await attach.attach_bundle(registry, ref, subject, bundle)
        if legacy:
            await attach.attach_legacy_attestation(registry, ref, subject.digest, bundle)

    digest = asyncio.run(_with_image(image, insecure, work))
    click.echo(f"attested {predicate_type} about {digest}")


def load_key(path: Path) -> PrivateKey:
    """The private key of a file or directory."""
    from plimsoll.signing.privatekey import (  # noqa: PLC0415  start-up time
        load_key_directory,
        load_private_key,
    )

    if path.is_dir():
        return load_key_directory(path)
    return load_private_key(
        read_file(path, "the private key"), os.environ.get("COSIGN_PASSWORD", "")
    )


async def _with_image(
    image: str,
    insecure: tuple[str, ...],
    work: Callable[[Registry, Reference, Descriptor], Awaitable[None]],
) -> str:
    ref = parse_image(image)
    async with open_registry(insecure) as registry:
        subject = await registry.resolve(ref)
        await work(registry, ref, subject)
    return f"{ref.with_digest(subject.digest)}"

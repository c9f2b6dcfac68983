"""``plimsoll sign`` and ``plimsoll attest``."""

from __future__ import annotations

import asyncio
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
    read_json,
)
from plimsoll.cli.signer import Who, signer_options

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from plimsoll.oci.model import Descriptor
    from plimsoll.oci.reference import Reference
    from plimsoll.oci.registry import Registry
    from plimsoll.signing.statementsigner import StatementSigner

_legacy_option = click.option(
    "--legacy", is_flag=True, help="Also write the tag that cosign 1 and 2 read."
)


@click.command()
@click.argument("image")
@signer_options
@annotation_option("Signed with the image; policies may ask for it.")
@_legacy_option
@insecure_option
def sign(
    image: str,
    annotations: tuple[str, ...],
    *,
    legacy: bool,
    insecure: tuple[str, ...],
    **signer: Any,
) -> None:
    """Sign IMAGE and attach the signature to it in its registry.

    The signature is for the digest that IMAGE names now; better name a digest yourself.
    Cosign verifies it with: cosign verify --key cosign.pub --insecure-ignore-tlog=true IMAGE
    """
    from plimsoll.signing import attach  # noqa: PLC0415  start-up time
    from plimsoll.signing.legacy import build_payload  # noqa: PLC0415
    from plimsoll.signing.statement import COSIGN_SIGN, build_statement  # noqa: PLC0415
    from plimsoll.signing.statementsigner import DataSigner  # noqa: PLC0415

    who = Who.of(**signer, legacy=legacy)
    notes = parse_pairs(annotations)

    async def work(
        registry: Registry, ref: Reference, subject: Descriptor, signer: StatementSigner
    ) -> None:
        statement = build_statement(subject.digest, COSIGN_SIGN, {}, annotations=notes)
        bundle = await signer.sign_statement(statement)
        await attach.attach_bundle(registry, ref, subject, bundle)
        if legacy and isinstance(signer, DataSigner):
            payload = build_payload(ref.name, subject.digest, notes)
            signature = await signer.sign(payload)
            await attach.attach_legacy_signature(registry, ref, subject.digest, payload, signature)

    digest, name = asyncio.run(_with_image(image, insecure, who, work))
    click.echo(f"signed {digest} {name}")


@click.command()
@click.argument("image")
@signer_options
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
def attest(
    image: str,
    kind: str,
    predicate_path: Path,
    *,
    legacy: bool,
    insecure: tuple[str, ...],
    **signer: Any,
) -> None:
    """Attest what a JSON file says about IMAGE, and attach that to it in its registry."""
    from plimsoll.signing import attach  # noqa: PLC0415  start-up time
    from plimsoll.signing.statement import build_statement, predicate_type_of  # noqa: PLC0415

    predicate_type = predicate_type_of(kind)
    predicate = read_json(predicate_path, "the predicate")
    if not isinstance(predicate, dict):
        raise UsageError(f"the predicate {predicate_path} is no JSON object")
    who = Who.of(**signer, legacy=legacy)

    async def work(
        registry: Registry, ref: Reference, subject: Descriptor, signer: StatementSigner
    ) -> None:
        statement = build_statement(subject.digest, predicate_type, predicate, name=ref.name)
        bundle = await signer.sign_statement(statement)
        await attach.attach_bundle(registry, ref, subject, bundle)
        if legacy:
            await attach.attach_legacy_attestation(registry, ref, subject.digest, bundle)

    digest, name = asyncio.run(_with_image(image, insecure, who, work))
    click.echo(f"attested {predicate_type} about {digest} {name}")


async def _with_image(
    image: str,
    insecure: tuple[str, ...],
    who: Who,
    work: Callable[[Registry, Reference, Descriptor, StatementSigner], Awaitable[None]],
) -> tuple[str, str]:
    ref = parse_image(image)
    async with open_registry(insecure) as registry:
        subject = await registry.resolve(ref)
        async with who.open() as (signer, name):
            await work(registry, ref, subject, signer)
    return f"{ref.with_digest(subject.digest)}", name

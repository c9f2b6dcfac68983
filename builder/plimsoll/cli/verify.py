"""``plimsoll verify``."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import click

from plimsoll.cli.options import (
    annotation_option,
    insecure_option,
    open_registry,
    parse_image,
    parse_pairs,
)
from plimsoll.cli.trust import authority_of, trust_options
from plimsoll.errors import Error

if TYPE_CHECKING:
    from plimsoll.signing.authority import Authority
    from plimsoll.signing.results import Verdict


class NotVerifiedError(Error):
    """What was asked for is not proven."""

    reason = "NotVerified"


_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command()
@click.argument("image")
@trust_options
@click.option(
    "--type",
    "-t",
    "kinds",
    multiple=True,
    metavar="TYPE",
    help="Ask for an attestation of this predicate type (spdxjson, slsaprovenance1… or a URI) "
    "instead of a signature; may be given more than once.",
)
@annotation_option("Ask for a signature with this annotation.")
@click.option("--explain", is_flag=True, help="Show everything that was found, as a tree.")
@_json_option
@insecure_option
def verify(  # noqa: PLR0913  one for each option
    image: str,
    kinds: tuple[str, ...],
    annotations: tuple[str, ...],
    *,
    explain: bool,
    as_json: bool,
    insecure: tuple[str, ...],
    **trust: Any,
) -> None:
    """Say who signed IMAGE, or who attested something about it; fail if nobody trusted did."""
    from plimsoll.signing.explain import Node, evidence  # noqa: PLC0415  start-up time
    from plimsoll.signing.statement import predicate_type_of  # noqa: PLC0415

    authority = authority_of(**trust)
    types = [predicate_type_of(kind) for kind in kinds]
    notes = parse_pairs(annotations)
    verdict = asyncio.run(_judge(image, authority, insecure))
    if explain:
        for line in Node(f"image {verdict.digest}", below=evidence(verdict)).lines():
            click.echo(line, err=as_json)
    missing = [f"no attestation {kind} is" for kind in types if not verdict.attestations_of(kind)]
    signatures = [
        one
        for one in verdict.signatures
        if all(one.annotations.get(key) == value for key, value in notes.items())
    ]
    if not signatures and (notes or not types):
        missing.append(f"no signature{' with these annotations' if notes else ''} is")
    if missing:
        why = "; ".join(f"{one.reason} ({one.source})" for one in verdict.rejections[:5])
        others = [one.predicate_type for one in verdict.attestations]
        others += ["a signature"] if verdict.signatures else []
        found = (
            f"only {', '.join(dict.fromkeys(others))} is attached"
            if others
            else "nothing is attached"
        )
        raise NotVerifiedError(
            f"{missing[0]} proven for {verdict.digest}", hint=why or f"{found} to the image"
        )
    wanted = signatures if notes or not types else []
    facts: list[Any] = [*wanted, *(f for kind in types for f in verdict.attestations_of(kind))]
    rows = [row_of(fact) for fact in facts]
    if as_json:
        click.echo(json.dumps({"digest": verdict.digest, "verified": rows}, indent=2))
        return
    click.echo(f"{verdict.digest}")
    for row in rows:
        what = row.get("predicateType", "signature")
        click.echo(f"  {what} by {row['signer']} ({row['source']})")


async def _judge(image: str, authority: Authority, insecure: tuple[str, ...]) -> Verdict:
    from plimsoll.signing.evidence import discover  # noqa: PLC0415  start-up time
    from plimsoll.signing.verify import verify as judge  # noqa: PLC0415

    ref = parse_image(image)
    async with open_registry(insecure) as registry:
        digest = ref.digest or (await registry.resolve(ref)).digest
        evidence = await discover(registry, ref, digest)
    return judge(evidence, digest, authority)


def row_of(fact: Any) -> dict[str, Any]:
    """A fact, as JSON takes it."""
    row: dict[str, Any] = {
        "signer": str(fact.identity),
        "id": fact.identity.id,
        "source": fact.source,
    }
    if hasattr(fact, "predicate_type"):
        return row | {"predicateType": fact.predicate_type, "predicate": fact.predicate}
    return row | {"annotations": dict(fact.annotations)}

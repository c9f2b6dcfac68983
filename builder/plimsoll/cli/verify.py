"""``plimsoll verify`` and ``plimsoll verify-bundle``."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from plimsoll.cli.options import (
    UsageError,
    annotation_option,
    insecure_option,
    open_registry,
    parse_image,
    parse_pairs,
    read_file,
)
from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import Callable

    from plimsoll.signing.authority import Authority
    from plimsoll.signing.keys import PublicKey
    from plimsoll.signing.results import Verdict


class NotVerifiedError(Error):
    """What was asked for is not proven."""

    reason = "NotVerified"


_TRUST_OPTIONS = (
    click.option(
        "--key",
        "-k",
        "keys",
        multiple=True,
        metavar="PATH|KMS",
        help="Public key (PEM), or a key in a key management service (hashivault://KEY), of which "
        "any may have signed; may be given more than once.",
    ),
    click.option(
        "--trusted-root",
        type=click.Path(path_type=Path),
        help="Sigstore trusted_root.json: whose certificates, logs and timestamps are believed. "
        "With --key, the signature must be in one of its logs, too.",
    ),
    click.option("--identity", metavar="TEXT", help="Subject of the signer's certificate."),
    click.option("--identity-regexp", metavar="RE2", help="Pattern for the subject."),
    click.option("--issuer", metavar="URL", help="OIDC issuer that vouched for the subject."),
    click.option("--issuer-regexp", metavar="RE2", help="Pattern for the issuer."),
    click.option(
        "--insecure-ignore-sct",
        is_flag=True,
        help="Accept certificates that are in no certificate transparency log.",
    ),
)


def _trust_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_TRUST_OPTIONS):
        command = option(command)
    return command


_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command()
@click.argument("image")
@_trust_options
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

    authority = _authority(**trust)
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
    rows = [_row(fact) for fact in facts]
    if as_json:
        click.echo(json.dumps({"digest": verdict.digest, "verified": rows}, indent=2))
        return
    click.echo(f"{verdict.digest}")
    for row in rows:
        what = row.get("predicateType", "signature")
        click.echo(f"  {what} by {row['signer']} ({row['source']})")


@click.command("verify-bundle")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("artifact")
@_trust_options
@_json_option
def verify_bundle(bundle: Path, artifact: str, *, as_json: bool, **trust: Any) -> None:
    """Verify a sigstore BUNDLE about ARTIFACT, a file or a digest (sha256:…), offline."""
    from plimsoll.oci.digest import is_digest  # noqa: PLC0415  start-up time
    from plimsoll.signing.verify import verify_bundle as judge  # noqa: PLC0415

    data = read_file(bundle, "the bundle")
    content = None if is_digest(artifact) else read_file(Path(artifact), "the artifact")
    digest = artifact if content is None else f"sha256:{hashlib.sha256(content).hexdigest()}"
    fact = judge(data, digest, _authority(**trust), artifact=content, source=str(bundle))
    row = _row(fact)
    if as_json:
        click.echo(json.dumps({"digest": digest, "verified": [row]}, indent=2))
    else:
        click.echo(f"{digest}\n  {row.get('predicateType', 'signature')} by {row['signer']}")


def _authority(  # noqa: PLR0913  one per option
    *,
    keys: tuple[str, ...],
    trusted_root: Path | None,
    identity: str | None,
    identity_regexp: str | None,
    issuer: str | None,
    issuer_regexp: str | None,
    insecure_ignore_sct: bool,
) -> Authority:
    from plimsoll.signing.authority import KeyAuthority  # noqa: PLC0415  start-up time

    names = (identity, identity_regexp, issuer, issuer_regexp)
    if not keys and trusted_root is None:
        raise UsageError(
            "nobody is trusted",
            hint="give --key cosign.pub, or --trusted-root with --identity and --issuer",
        )
    if keys and (any(names) or insecure_ignore_sct):
        raise UsageError("a signature is either by a key or by an identity", hint="drop one")
    if keys and trusted_root is None:
        return KeyAuthority(_load_keys(keys))

    from plimsoll.signing.identities import IdentityRule  # noqa: PLC0415
    from plimsoll.signing.keyless import (  # noqa: PLC0415
        KeylessAuthority,
        LoggedKeyAuthority,
        Witnesses,
    )
    from plimsoll.signing.trustroot import TrustRoot  # noqa: PLC0415

    if trusted_root is None:
        raise UsageError("an identity needs --trusted-root")
    root = TrustRoot.parse(read_file(trusted_root, "the trusted root"))
    witnesses = Witnesses(root=root)
    if keys:
        return LoggedKeyAuthority(keys=KeyAuthority(_load_keys(keys)), witnesses=witnesses)
    rule = IdentityRule.of(
        subject=identity,
        subject_pattern=identity_regexp,
        issuer=issuer,
        issuer_pattern=issuer_regexp,
    )
    return KeylessAuthority(witnesses=witnesses, identity=rule, require_sct=not insecure_ignore_sct)


def _load_keys(places: tuple[str, ...]) -> tuple[PublicKey, ...]:
    from plimsoll.signing.keys import load_public_keys  # noqa: PLC0415  start-up time

    loaded = [key for place in places for key in load_public_keys(_pem(place))]
    return tuple({key.fingerprint: key for key in loaded}.values())


def _pem(place: str) -> bytes:
    from plimsoll.signing.kms.names import is_reference  # noqa: PLC0415  start-up time

    if not is_reference(place):
        return read_file(Path(place), "the key")

    from plimsoll.http import Http  # noqa: PLC0415
    from plimsoll.signing.kms.service import authorities_of, open_kms  # noqa: PLC0415

    async def ask() -> bytes:
        async with Http(ca_file=authorities_of()) as http:
            return await open_kms(place, http).public_keys()

    return asyncio.run(ask())


async def _judge(image: str, authority: Authority, insecure: tuple[str, ...]) -> Verdict:
    from plimsoll.signing.evidence import discover  # noqa: PLC0415  start-up time
    from plimsoll.signing.verify import verify as judge  # noqa: PLC0415

    ref = parse_image(image)
    async with open_registry(insecure) as registry:
        digest = ref.digest or (await registry.resolve(ref)).digest
        evidence = await discover(registry, ref, digest)
    return judge(evidence, digest, authority)


def _row(fact: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "signer": str(fact.identity),
        "id": fact.identity.id,
        "source": fact.source,
    }
    if hasattr(fact, "predicate_type"):
        return row | {"predicateType": fact.predicate_type, "predicate": fact.predicate}
    return row | {"annotations": dict(fact.annotations)}

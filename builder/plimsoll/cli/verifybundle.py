"""``plimsoll verify-bundle``: also by the options that sigstore's conformance suite asks for."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import click

from plimsoll.cli.options import UsageError, read_file
from plimsoll.cli.trust import authority_of, trust_options
from plimsoll.cli.verify import row_of


@click.command("verify-bundle")
@click.argument("names", metavar="[BUNDLE] ARTIFACT", nargs=-1, required=True)
@click.option(
    "--bundle", type=click.Path(path_type=Path), help="The bundle, where it is no argument."
)
@trust_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify_bundle(
    names: tuple[str, ...], bundle: Path | None, *, as_json: bool, **trust: Any
) -> None:
    """Verify a sigstore BUNDLE about ARTIFACT, a file or a digest (sha256:…), offline."""
    if len(names) != (1 if bundle else 2):
        raise UsageError(
            "a bundle and one artifact are wanted", hint="plimsoll verify-bundle BUNDLE ARTIFACT"
        )
    bundle, artifact = bundle or Path(names[0]), names[-1]
    from plimsoll.oci.digest import is_digest  # noqa: PLC0415  start-up time
    from plimsoll.signing.verify import verify_bundle as judge  # noqa: PLC0415

    data = read_file(bundle, "the bundle")
    content = None if is_digest(artifact) else read_file(Path(artifact), "the artifact")
    digest = artifact if content is None else f"sha256:{hashlib.sha256(content).hexdigest()}"
    fact = judge(data, digest, authority_of(**trust), artifact=content, source=str(bundle))
    row = row_of(fact)
    if as_json:
        click.echo(json.dumps({"digest": digest, "verified": [row]}, indent=2))
    else:
        click.echo(f"{digest}\n  {row.get('predicateType', 'signature')} by {row['signer']}")

"""The options of ``plimsoll verify`` and ``verify-bundle`` that say whose word counts."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from plimsoll.cli.options import UsageError, read_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from plimsoll.signing.authority import Authority
    from plimsoll.signing.keys import PublicKey

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
        "With --key, the signature must be in one of its logs, too. Default for identities: the "
        "public instance of Sigstore, as this version knows it.",
    ),
    click.option(
        "--identity",
        "--certificate-identity",
        "identity",
        metavar="TEXT",
        help="Subject of the signer's certificate.",
    ),
    click.option(
        "--identity-regexp",
        "--certificate-identity-regexp",
        "identity_regexp",
        metavar="RE2",
        help="Pattern for the subject.",
    ),
    click.option(
        "--issuer",
        "--certificate-oidc-issuer",
        "issuer",
        metavar="URL",
        help="OIDC issuer that vouched for the subject.",
    ),
    click.option(
        "--issuer-regexp",
        "--certificate-oidc-issuer-regexp",
        "issuer_regexp",
        metavar="RE2",
        help="Pattern for the issuer.",
    ),
    click.option(
        "--staging",
        is_flag=True,
        help="Trust the staging instance of Sigstore where no trusted root is given.",
    ),
    click.option(
        "--insecure-ignore-sct",
        is_flag=True,
        help="Accept certificates that are in no certificate transparency log.",
    ),
)


def trust_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that ``authority_of`` takes."""
    for option in reversed(_TRUST_OPTIONS):
        command = option(command)
    return command


def authority_of(  # noqa: PLR0913  one per option
    *,
    keys: tuple[str, ...],
    trusted_root: Path | None,
    identity: str | None,
    identity_regexp: str | None,
    issuer: str | None,
    issuer_regexp: str | None,
    insecure_ignore_sct: bool,
    staging: bool,
) -> Authority:
    """Whose word counts, as the options say.

    Raises:
        UsageError: if they say nobody, or several.
        SigningError: if a key, root or identity is of no use.
    """
    from plimsoll.signing.authority import KeyAuthority  # noqa: PLC0415  start-up time

    names = (identity, identity_regexp, issuer, issuer_regexp)
    if not keys and trusted_root is None and not any(names):
        raise UsageError(
            "nobody is trusted",
            hint="give --key cosign.pub, or --identity and --issuer",
        )
    if keys and (any(names) or insecure_ignore_sct):
        raise UsageError("a signature is either by a key or by an identity", hint="drop one")
    if keys and trusted_root is None and not staging:
        return KeyAuthority(_load_keys(keys))

    from plimsoll.signing.identities import IdentityRule  # noqa: PLC0415
    from plimsoll.signing.keyless import (  # noqa: PLC0415
        KeylessAuthority,
        LoggedKeyAuthority,
        Witnesses,
    )
    from plimsoll.signing.publicroot import (  # noqa: PLC0415
        PUBLIC_MIRROR,
        STAGING_MIRROR,
        embedded,
    )
    from plimsoll.signing.trustroot import TrustRoot  # noqa: PLC0415

    root = TrustRoot.parse(
        embedded("trusted_root.json", STAGING_MIRROR if staging else PUBLIC_MIRROR)
        if trusted_root is None
        else read_file(trusted_root, "the trusted root")
    )
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

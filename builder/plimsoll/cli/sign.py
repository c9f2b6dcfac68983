"""``plimsoll sign`` and ``plimsoll attest``."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from dataclasses import dataclass
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
    from collections.abc import AsyncIterator, Awaitable, Callable
    from typing import Any

    from plimsoll.oci.model import Descriptor
    from plimsoll.oci.reference import Reference
    from plimsoll.oci.registry import Registry
    from plimsoll.signing.privatekey import PrivateKey
    from plimsoll.signing.statementsigner import StatementSigner

_KEY_HELP = (
    "Private key: cosign.key, a plain PEM file, or a directory with cosign.key and "
    "cosign.password. The password of a file is $COSIGN_PASSWORD."
)
_PATH = click.Path(path_type=Path)
_SIGNER_OPTIONS = (
    click.option("--key", "-k", "key_path", type=_PATH, help=_KEY_HELP),
    click.option(
        "--keyless",
        is_flag=True,
        help="Sign as whom an OIDC token names, with a certificate for minutes.",
    ),
    click.option(
        "--signing-config",
        type=_PATH,
        help="With --keyless: sigstore's signing config (JSON): which servers make the signature.",
    ),
    click.option(
        "--trusted-root",
        type=_PATH,
        help="With --keyless: sigstore's trusted_root.json. What it does not accept is not "
        "attached.",
    ),
    click.option(
        "--identity-token",
        type=_PATH,
        help="With --keyless: file with the OIDC token. Default: $SIGSTORE_ID_TOKEN, the token "
        "that a pod has mounted for sigstore, that of GitHub Actions, GitLab CI and others.",
    ),
)


def _signer_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_SIGNER_OPTIONS):
        command = option(command)
    return command


_legacy_option = click.option(
    "--legacy", is_flag=True, help="Also write the tag that cosign 1 and 2 read."
)


@click.command()
@click.argument("image")
@_signer_options
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
    from plimsoll.signing.sign import sign_legacy  # noqa: PLC0415
    from plimsoll.signing.statement import COSIGN_SIGN, build_statement  # noqa: PLC0415

    who = _Who.of(**signer, legacy=legacy)
    notes = parse_pairs(annotations)

    async def work(
        registry: Registry, ref: Reference, subject: Descriptor, signer: StatementSigner
    ) -> None:
        statement = build_statement(subject.digest, COSIGN_SIGN, {}, annotations=notes)
        bundle = await signer.sign_statement(statement)
        await attach.attach_bundle(registry, ref, subject, bundle)
        if legacy and who.key is not None:
            payload, signature = sign_legacy(who.key, ref.name, subject.digest, annotations=notes)
            await attach.attach_legacy_signature(registry, ref, subject.digest, payload, signature)

    digest, name = asyncio.run(_with_image(image, insecure, who, work))
    click.echo(f"signed {digest} {name}")


@click.command()
@click.argument("image")
@_signer_options
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
    type=_PATH,
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
    who = _Who.of(**signer, legacy=legacy)

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


@dataclass(frozen=True, kw_only=True)
class _Who:
    """Who signs: a key, or whom a token names."""

    key: PrivateKey | None
    signing_config: Path | None = None
    trusted_root: Path | None = None
    identity_token: Path | None = None

    @classmethod
    def of(  # noqa: PLR0913  one per option
        cls,
        *,
        key_path: Path | None,
        keyless: bool,
        signing_config: Path | None,
        trusted_root: Path | None,
        identity_token: Path | None,
        legacy: bool,
    ) -> _Who:
        if (key_path is not None) == keyless:
            raise UsageError(
                "it is not said who signs" if key_path is None else "two signers are given",
                hint="give either --key cosign.key or --keyless",
            )
        if key_path is not None:
            if signing_config or trusted_root or identity_token:
                raise UsageError(
                    "a key needs no sigstore servers",
                    hint="--signing-config, --trusted-root and --identity-token go with --keyless",
                )
            return cls(key=load_key(key_path))
        if legacy:
            raise UsageError(
                "--legacy tags are only written for keys",
                hint="clients that read certificates from tags are older than Rekor v2",
            )
        if signing_config is None or trusted_root is None:
            raise UsageError("--keyless needs --signing-config and --trusted-root")
        return cls(
            key=None,
            signing_config=signing_config,
            trusted_root=trusted_root,
            identity_token=identity_token,
        )

    @asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[StatementSigner, str]]:
        """The signer, and what to call it."""
        if self.key is not None:
            from plimsoll.signing.statementsigner import KeyStatements  # noqa: PLC0415

            yield KeyStatements(self.key), f"with key {self.key.public.fingerprint[:16]}"
            return
        from plimsoll.signing.keylesssign import keyless_signer  # noqa: PLC0415

        if self.signing_config is None or self.trusted_root is None:
            raise UsageError("--keyless needs --signing-config and --trusted-root")
        config = read_file(self.signing_config, "the signing config")
        root = read_file(self.trusted_root, "the trusted root")
        async with keyless_signer(config, root, self.identity_token) as signer:
            yield signer, f"as {await signer.identity()}"


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
    who: _Who,
    work: Callable[[Registry, Reference, Descriptor, StatementSigner], Awaitable[None]],
) -> tuple[str, str]:
    ref = parse_image(image)
    async with open_registry(insecure) as registry:
        subject = await registry.resolve(ref)
        async with who.open() as (signer, name):
            await work(registry, ref, subject, signer)
    return f"{ref.with_digest(subject.digest)}", name

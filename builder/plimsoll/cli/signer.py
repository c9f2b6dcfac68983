"""The options of ``plimsoll sign`` and ``attest`` that say who signs."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from plimsoll.cli.options import UsageError, read_file

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from typing import Any

    from plimsoll.signing.privatekey import PrivateKey
    from plimsoll.signing.statementsigner import StatementSigner

_KEY_HELP = (
    "Private key: cosign.key, a plain PEM file, or a directory with cosign.key and "
    "cosign.password. The password of a file is $COSIGN_PASSWORD. Or a key in a key management "
    "service: hashivault://KEY."
)
_PATH = click.Path(path_type=Path)
_SIGNER_OPTIONS = (
    click.option("--key", "-k", "key_path", metavar="PATH|KMS", help=_KEY_HELP),
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


def signer_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that ``Who.of`` takes."""
    for option in reversed(_SIGNER_OPTIONS):
        command = option(command)
    return command


@dataclass(frozen=True, kw_only=True)
class Who:
    """Who signs: a key, or whom a token names."""

    key: PrivateKey | None = None
    kms: str = ""
    """Reference of a key in a key management service."""

    signing_config: Path | None = None
    trusted_root: Path | None = None
    identity_token: Path | None = None

    @classmethod
    def of(  # noqa: PLR0913  one per option
        cls,
        *,
        key_path: str | None,
        keyless: bool,
        signing_config: Path | None,
        trusted_root: Path | None,
        identity_token: Path | None,
        legacy: bool,
    ) -> Who:
        """Who the options say.

        Raises:
            UsageError: if they say nobody, or several.
            InvalidKeyError: if the key is of no use.
        """
        from plimsoll.signing.kms.names import is_reference  # noqa: PLC0415  start-up time

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
            return (
                cls(kms=key_path) if is_reference(key_path) else cls(key=load_key(Path(key_path)))
            )
        if legacy:
            raise UsageError(
                "--legacy tags are only written for keys",
                hint="clients that read certificates from tags are older than Rekor v2",
            )
        if signing_config is None or trusted_root is None:
            raise UsageError("--keyless needs --signing-config and --trusted-root")
        return cls(
            signing_config=signing_config,
            trusted_root=trusted_root,
            identity_token=identity_token,
        )

    @asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[StatementSigner, str]]:
        """The signer, and what to call it.

        Raises:
            SigningError: if the key cannot be had.
        """
        if self.key is not None:
            from plimsoll.signing.statementsigner import KeyStatements  # noqa: PLC0415

            yield KeyStatements(self.key), f"with key {self.key.public.fingerprint[:16]}"
            return
        if self.kms:
            from plimsoll.http import Http  # noqa: PLC0415
            from plimsoll.signing.kms.service import (  # noqa: PLC0415
                KmsStatements,
                authorities_of,
                open_kms,
            )

            async with Http(ca_file=authorities_of()) as http:
                kept = await KmsStatements.of(open_kms(self.kms, http))
                yield kept, f"with {self.kms} ({kept.public[0].fingerprint[:16]})"
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

"""OIDC tokens that say who signs: given, mounted by Kubernetes, or from a CI system.

A token is a secret until it expires: it is never shown, logged or put into an error.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from plimsoll.signing.errors import IdentityTokenError

if TYPE_CHECKING:
    from collections.abc import Mapping

AUDIENCE: Final = "sigstore"
#: Where a pod has its token by convention of the sigstore clients.
MOUNTED: Final = Path("/var/run/sigstore/cosign/oidc-token")
VARIABLE: Final = "SIGSTORE_ID_TOKEN"
TOKEN_LIMIT: Final = 64 << 10
_HINT: Final = (
    f"give --identity-token FILE or ${VARIABLE}; in a pod project a ServiceAccount token with the "
    f"audience {AUDIENCE}; in GitHub Actions set permissions: id-token: write; in GitLab CI "
    f"declare id_tokens: {VARIABLE}"
)


@dataclass(frozen=True, slots=True)
class IdentityToken:
    """A token; its claims are only read to say early what is wrong with it."""

    secret: str = field(repr=False)
    expires: float
    """Seconds since 1970."""

    @classmethod
    def parse(cls, text: str, *, source: str, now: float | None = None) -> IdentityToken:
        """Look at a token without verifying it, which is Fulcio's to do.

        Raises:
            IdentityTokenError: if it is no JWT, or has expired.
        """
        secret = text.strip()
        try:
            _, payload, _ = secret.encode("ascii").split(b".")
            claims = json.loads(base64.urlsafe_b64decode(payload + b"=" * (-len(payload) % 4)))
            expires = float(claims["exp"])
        except (ValueError, TypeError, KeyError, RecursionError, binascii.Error):
            raise IdentityTokenError(
                f"what {source} holds is no OIDC token", hint="it must be a JWT that expires"
            ) from None
        if expires <= (time.time() if now is None else now):
            raise IdentityTokenError(
                f"the OIDC token of {source} has expired", hint="get a new one and sign again"
            )
        return cls(secret, expires)


async def find_token(
    given: Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    mounted: Path = MOUNTED,
) -> IdentityToken:
    """The token to sign with.

    In this order: the file that is named, ``$SIGSTORE_ID_TOKEN``, the file that a pod has mounted,
    GitHub Actions, GitLab CI and others that the package ``id`` knows.

    Args:
        given: a file; read anew with each call, as Kubernetes renews it.
        environ: where ``$SIGSTORE_ID_TOKEN`` is looked up.
        mounted: the file in a pod.

    Raises:
        IdentityTokenError: if there is none, or it is of no use.
    """
    if given is not None:
        return _read(given)
    text = (os.environ if environ is None else environ).get(VARIABLE, "")
    if text:
        return IdentityToken.parse(text, source=f"${VARIABLE}")
    return await asyncio.to_thread(_mounted_or_ambient, mounted)


def _mounted_or_ambient(mounted: Path) -> IdentityToken:
    return _read(mounted) if mounted.exists() else _ambient()


def _read(path: Path) -> IdentityToken:
    try:
        with path.open("rb") as file:
            data = file.read(TOKEN_LIMIT + 1)
    except OSError as error:
        raise IdentityTokenError(
            f"the OIDC token cannot be read: {error.strerror}: {path}", hint=_HINT
        ) from None
    if len(data) > TOKEN_LIMIT:
        raise IdentityTokenError(f"{path} is longer than {TOKEN_LIMIT} bytes, so no OIDC token")
    return IdentityToken.parse(data.decode(errors="replace"), source=str(path))


def _ambient() -> IdentityToken:
    from id import (  # noqa: PLC0415  brings urllib3
        AmbientCredentialError,
        GitHubOidcPermissionCredentialError,
        detect_credential,
    )

    try:
        text = detect_credential(AUDIENCE)
    except GitHubOidcPermissionCredentialError:
        raise IdentityTokenError(
            "the GitHub workflow may not ask for OIDC tokens",
            hint="add to the job: permissions: id-token: write",
        ) from None
    except AmbientCredentialError as error:
        raise IdentityTokenError(
            f"the CI system gave no OIDC token: {str(error).splitlines()[0][:200]}", hint=_HINT
        ) from None
    if text is None:
        raise IdentityTokenError("there is no OIDC token that says who signs", hint=_HINT)
    return IdentityToken.parse(text, source="the CI system")

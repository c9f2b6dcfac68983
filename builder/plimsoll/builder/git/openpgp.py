"""Signatures by OpenPGP keys, verified by Sequoia.

Sequoia's standard policy refuses weak hashes and keys. A key must have been valid when the
signature says that it was made; a revocation because of a compromise counts at all times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.builder.git.errors import GitError, NotSignedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pysequoia import Cert


def read_keys(text: str, name: str) -> list[Cert]:
    """Certificates of armored public keys.

    Raises:
        GitError: there is none, or one is a secret key.
    """
    from pysequoia import Cert  # noqa: PLC0415  (large)

    if "PRIVATE KEY BLOCK" in text:
        raise GitError(
            f"the OpenPGP keys of {name} hold a secret key", hint="give the public one only"
        )
    try:
        found = Cert.split_bytes(text.encode())
    except Exception:  # noqa: BLE001  the library raises its own kind of every error
        found = []
    if not found:
        raise GitError(f"the OpenPGP keys of {name} cannot be read", hint="gpg --armor --export")
    return found


def verify(armored: bytes, message: bytes, keys: Mapping[str, Cert]) -> str:
    """The fingerprint of the key whose signature it is.

    Args:
        armored: the signature.
        message: what it is over.
        keys: fingerprint → certificate, of those who may sign.

    Raises:
        NotSignedError: it is nobody's.
    """
    import pysequoia  # noqa: PLC0415  (large)

    def every(_: object) -> list[Cert]:
        return list(keys.values())

    try:
        signature = pysequoia.Sig.from_bytes(armored)
        result = pysequoia.verify(bytes=message, store=every, signature=signature)
    except Exception as error:  # noqa: BLE001  the library raises its own kind of every error
        reason = " ".join(str(error).split())[:200]
        raise NotSignedError(f"the OpenPGP signature is of nobody who may sign: {reason}") from None
    for one in result.valid_sigs:
        found = str(one.certificate).lower()
        if found in keys:
            return found
    raise NotSignedError("the OpenPGP signature is of nobody who may sign")

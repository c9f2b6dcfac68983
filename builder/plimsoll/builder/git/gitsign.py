"""Signatures by short-lived certificates (gitsign), verified as all keyless signatures are.

The entry of the transparency log must be in the signature (gitsign's ``rekorMode=offline``):
nothing is asked over the network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.builder.git.cms import (
    REKOR_ENTRY,
    TIMESTAMP,
    octets,
    read_cms,
    timestamp_response,
)
from plimsoll.builder.git.errors import NotSignedError
from plimsoll.builder.git.logentry import read_entry
from plimsoll.errors import Error
from plimsoll.signing.authority import Signed
from plimsoll.signing.bundle import CHAIN_LIMIT, Material
from plimsoll.signing.certificate import load_certificate, names

if TYPE_CHECKING:
    from plimsoll.builder.git.cms import CmsSignature
    from plimsoll.signing.keyless import KeylessAuthority
    from plimsoll.signing.results import Identity


def verify(armored: bytes, message: bytes, authority: KeylessAuthority) -> Identity:
    """Who made a signature.

    Args:
        armored: the signature.
        message: what it must be over.
        authority: whose word counts.

    Raises:
        NotSignedError: nobody whose word counts.
    """
    found = read_cms(armored)
    if not found.covers(message):
        raise NotSignedError("the certificate's signature is over something else")
    try:
        signed = Signed(signature=found.signature, message=found.signed, material=_material(found))
        return authority.identify(signed)
    except NotSignedError:
        raise
    except Error as error:
        hint = error.hint
        if REKOR_ENTRY not in found.unsigned and "log" in error.message:
            hint = "sign with 'git config gitsign.rekorMode offline'"
        raise NotSignedError(f"the certificate's signature: {error.message}", hint=hint) from None


def _material(found: CmsSignature) -> Material:
    """What came with a signature, the signer's certificate first."""
    loaded = [(load_certificate(der), der) for der in found.certificates[:CHAIN_LIMIT]]
    leaves = [
        (one, der)
        for one, der in loaded
        if one.serial_number == found.serial and names(one)[0] == found.issuer
    ]
    if len(leaves) != 1:
        raise NotSignedError("the signer's certificate is not with the signature")
    leaf, first = leaves[0]
    entries = [
        read_entry(octets(value), found.signed, found.signature, leaf)
        for value in found.unsigned.get(REKOR_ENTRY, ())
    ]
    stamps = [timestamp_response(token) for token in found.unsigned.get(TIMESTAMP, ())]
    return Material(
        certificates=(first, *(der for _, der in loaded if der is not first)),
        tlog_entries=tuple(entries),
        timestamps=tuple(stamps),
    )

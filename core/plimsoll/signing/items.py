"""Evidence as it was found: bytes of a registry, nothing of it verified."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plimsoll.signing.results import Rejection


@dataclass(frozen=True, slots=True)
class BundleItem:
    """A sigstore bundle."""

    source: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class LegacySignatureItem:
    """A layer of a ``.sig`` manifest: a simple signing payload, and annotations."""

    source: str
    payload: bytes = field(repr=False)
    annotations: Mapping[str, str] = field(hash=False)


@dataclass(frozen=True, slots=True)
class LegacyAttestationItem:
    """A layer of an ``.att`` manifest: a DSSE envelope, and annotations."""

    source: str
    envelope: bytes = field(repr=False)
    annotations: Mapping[str, str] = field(hash=False)


EvidenceItem = BundleItem | LegacySignatureItem | LegacyAttestationItem


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that was found for one digest in one repository."""

    digest: str
    repository: str
    items: tuple[EvidenceItem, ...] = ()
    rejections: tuple[Rejection, ...] = ()
    """What could not even be read: malformed manifests, too many or too large ones."""

"""in-toto statements: what is said (predicate) about which artifacts (subjects).

Spec: in-toto attestation framework, statement v1, and its predecessor v0.1, which cosign still
writes for attestations.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from plimsoll.oci.digest import check_digest
from plimsoll.oci.strictjson import dump
from plimsoll.signing.encoding import array, child, parse_json, text
from plimsoll.signing.errors import InvalidEvidenceError

if TYPE_CHECKING:
    from collections.abc import Mapping

STATEMENT_V1: Final = "https://in-toto.io/Statement/v1"
STATEMENT_V01: Final = "https://in-toto.io/Statement/v0.1"

#: What cosign 3 says about an image that it signs.
COSIGN_SIGN: Final = "https://sigstore.dev/cosign/sign/v1"
SPDX: Final = "https://spdx.dev/Document"
CYCLONEDX: Final = "https://cyclonedx.org/bom"
SLSA_PROVENANCE_V02: Final = "https://slsa.dev/provenance/v0.2"
SLSA_PROVENANCE_V1: Final = "https://slsa.dev/provenance/v1"
VULN: Final = "https://cosign.sigstore.dev/attestation/vuln/v1"
OPENVEX: Final = "https://openvex.dev/ns"
COSIGN_CUSTOM: Final = "https://cosign.sigstore.dev/attestation/v1"
LINK: Final = "https://in-toto.io/Link/v1"

#: Short names, those of ``cosign attest --type``.
PREDICATE_ALIASES: Final[Mapping[str, str]] = {
    "custom": COSIGN_CUSTOM,
    "cyclonedx": CYCLONEDX,
    "link": LINK,
    "openvex": OPENVEX,
    "slsaprovenance": SLSA_PROVENANCE_V02,
    "slsaprovenance02": SLSA_PROVENANCE_V02,
    "slsaprovenance1": SLSA_PROVENANCE_V1,
    "spdx": SPDX,
    "spdxjson": SPDX,
    "vuln": VULN,
}

SUBJECT_LIMIT: Final = 1024
#: Bytes of one statement; the SBOM of a large image is a few MiB.
STATEMENT_LIMIT: Final = 64 << 20


def predicate_type_of(name: str) -> str:
    """The predicate type for a short name, or ``name`` itself if it is a URI.

    Raises:
        InvalidEvidenceError: if it is neither.
    """
    if name in PREDICATE_ALIASES:
        return PREDICATE_ALIASES[name]
    if not urlsplit(name).scheme:
        raise InvalidEvidenceError(
            f"{name!r} is no predicate type",
            hint=f"use a URI or one of {', '.join(PREDICATE_ALIASES)}",
        )
    return name


@dataclass(frozen=True, slots=True)
class Subject:
    """One artifact by its digests (algorithm → lower-case hex)."""

    digest: Mapping[str, str]
    name: str = ""
    annotations: Mapping[str, Any] = field(default_factory=dict)

    def is_image(self, digest: str) -> bool:
        """Whether it is the image with this digest (``sha256:…``)."""
        algorithm, _, encoded = digest.partition(":")
        return bool(encoded) and self.digest.get(algorithm) == encoded


@dataclass(frozen=True, slots=True)
class Statement:
    """A parsed statement; only worth something once its envelope's signature is verified."""

    type: str
    subjects: tuple[Subject, ...]
    predicate_type: str
    predicate: Any

    def subject_of(self, digest: str) -> Subject | None:
        """The subject that is the image with this digest."""
        return next((one for one in self.subjects if one.is_image(digest)), None)

    @classmethod
    def parse(cls, data: bytes) -> Statement:
        """Read statement v1 or v0.1.

        A predicate that is a string holding a JSON object (as cosign's ``spdx`` type writes it)
        is decoded.

        Raises:
            InvalidEvidenceError: for anything else, duplicate keys and anything over a limit.
        """
        obj = parse_json(data, "the in-toto statement", STATEMENT_LIMIT)
        kind = text(obj, "_type", "the in-toto statement")
        if kind not in {STATEMENT_V1, STATEMENT_V01}:
            raise InvalidEvidenceError(f"{kind[:80]!r} is no in-toto statement type that is known")
        subjects = array(obj, "subject", "the in-toto statement", SUBJECT_LIMIT)
        if not subjects:
            raise InvalidEvidenceError("the in-toto statement has no subject")
        predicate_type = text(obj, "predicateType", "the in-toto statement")
        if not predicate_type:
            raise InvalidEvidenceError("the in-toto statement has an empty predicateType")
        return cls(
            type=kind,
            subjects=tuple(_subject(item) for item in subjects),
            predicate_type=predicate_type,
            predicate=_predicate(obj.get("predicate")),
        )


def build_statement(
    digest: str,
    predicate_type: str,
    predicate: Any,
    *,
    name: str = "",
    annotations: Mapping[str, Any] | None = None,
) -> bytes:
    """A statement v1 about one image, as the bytes to sign.

    Args:
        digest: of the image: ``sha256:…``.
        predicate_type: a URI.
        predicate: a JSON object.
        name: of the subject, for people; empty leaves it out.
        annotations: of the subject.
    """
    algorithm, _, encoded = check_digest(digest).partition(":")
    subject: dict[str, Any] = {"name": name} if name else {}
    subject["digest"] = {algorithm: encoded}
    if annotations:
        subject["annotations"] = dict(annotations)
    return dump(
        {
            "_type": STATEMENT_V1,
            "subject": [subject],
            "predicateType": predicate_type,
            "predicate": predicate,
        }
    )


def _subject(item: Any) -> Subject:
    if not isinstance(item, dict):
        raise InvalidEvidenceError("a subject of the in-toto statement is no object")
    digests = child(item, "digest", "a subject of the in-toto statement")
    if not digests or not all(isinstance(value, str) for value in digests.values()):
        raise InvalidEvidenceError("a subject of the in-toto statement has no digest")
    name = item.get("name", "")
    annotations = item.get("annotations") or {}
    if not isinstance(name, str) or not isinstance(annotations, dict):
        raise InvalidEvidenceError("a subject of the in-toto statement is malformed")
    return Subject(digest=digests, name=name, annotations=annotations)


def _predicate(value: Any) -> Any:
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            return parse_json(value.encode(), "the predicate", STATEMENT_LIMIT)
        except InvalidEvidenceError:
            return value
    return value

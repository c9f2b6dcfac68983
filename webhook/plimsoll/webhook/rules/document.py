"""The documents that rules are asked about, shaped as policy-controller shapes them. Pure."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from plimsoll.oci.strictjson import dump

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plimsoll.signing.results import Identity, VerifiedAttestation, VerifiedSignature
    from plimsoll.webhook.rules.text import CompiledRule

#: Claims of a certificate → what policy-controller calls them.
_GITHUB = {
    "githubWorkflowTrigger": "githubWorkflowTrigger",
    "githubWorkflowSha": "githubWorkflowSha",
    "githubWorkflowName": "githubWorkflowName",
    "githubWorkflowRepository": "githubWorkflowRepo",
    "githubWorkflowRef": "githubWorkflowRef",
}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a rule may be told beside the evidence.

    Attributes:
        config: platform (``linux/arm/v7``) → configuration of the image for it.
        object: the Kubernetes object that names the image.
    """

    config: Mapping[str, Any] = field(default_factory=dict)
    object: Mapping[str, Any] = field(default_factory=dict)

    def told(self, rule: CompiledRule | None) -> dict[str, Any]:
        """The part of it that a rule is given."""
        document: dict[str, Any] = {}
        if rule is None:
            return document
        if rule.config:
            document["config"] = dict(self.config)
        if rule.spec:
            document["spec"] = self.object.get("spec", {})
        if rule.metadata:
            document["metadata"] = self.object.get("metadata", {})
        if rule.typemeta:
            names = ("kind", "apiVersion")
            document["typemeta"] = {name: self.object.get(name, "") for name in names}
        return document


def object_fingerprint(rule: CompiledRule | None, about: Mapping[str, Any]) -> str:
    """Changes with all that a rule is told of an object; empty if that is nothing."""
    if rule is None or not rule.about_object:
        return ""
    told = json.dumps(Surroundings(object=about).told(rule), sort_keys=True, default=str)
    return hashlib.sha256(told.encode()).hexdigest()


def statement_document(attestation: VerifiedAttestation) -> bytes:
    """The statement, as it was signed; a predicate that is JSON in a text is decoded."""
    document = json.loads(attestation.payload)
    if isinstance(document.get("predicate"), str):
        document["predicate"] = attestation.predicate
        return dump(document)
    return attestation.payload


def signature_entry(fact: VerifiedSignature | VerifiedAttestation) -> dict[str, Any]:
    """One entry of ``signatures`` or ``attestations``."""
    identity = fact.identity
    entry: dict[str, Any] = {"id": fact.source or identity.id}
    entry |= _certificate(identity) if identity.kind == "certificate" else {}
    return entry


def _certificate(identity: Identity) -> dict[str, Any]:
    found = {"subject": identity.subject, "issuer": identity.issuer}
    for claim, name in _GITHUB.items():
        if value := identity.claims.get(claim):
            found[name] = value
    return found

"""Who may vouch for an image: the authorities of a ClusterImagePolicy."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from plimsoll.api.base import StrictModel
from plimsoll.api.meta import cel
from plimsoll.api.policytext import LongText, Name, PolicyText, Text

HashAlgorithm = Literal["sha224", "sha256", "sha384", "sha512"]

_KEY_RULES = (
    (
        "!has(self.data) || self.data.contains('-----BEGIN ')",
        "data has no PEM block",
    ),
    (
        (
            "!has(self.kms) || self.kms.startsWith('azurekms://') || "
            "self.kms.startsWith('gcpkms://') || self.kms.startsWith('hashivault://') || "
            "self.kms.matches('^awskms://[^/]*/arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:"
            "(key/[A-Za-z0-9-]+|alias/.+)$')"
        ),
        "kms is azurekms://, gcpkms://, hashivault:// or awskms:// with the ARN of a key or alias",
    ),
    (
        "!has(self.secretRef) || has(self.secretRef.name)",
        "secretRef needs a name",
    ),
)


class SecretRef(StrictModel):
    """A Secret beside the webhook."""

    name: Name | None = None
    """Name of the Secret. A public key is read from its entry ``cosign.pub``, or from its only
    entry."""

    namespace: Name | None = None
    """Namespace of the Secret. Only the webhook's own namespace is read, so leave it out."""


class LocalRef(StrictModel):
    """A Secret of the webhook's own namespace."""

    name: Name | None = None
    """Name of the Secret."""


class Key(StrictModel):
    """A public key, from exactly one place."""

    model_config = cel(
        (
            "[has(self.data), has(self.kms), has(self.secretRef)].filter(x, x).size() == 1",
            "expected exactly one of data, kms, secretRef",
        ),
        *_KEY_RULES,
    )

    data: LongText | None = None
    """Public key as PEM text (``cosign.pub``). Several PEM blocks mean any of these keys."""

    kms: Text | None = None
    """URI of a key in a key management service: ``awskms://``, ``azurekms://``, ``gcpkms://`` or
    ``hashivault://``."""

    secret_ref: SecretRef | None = None
    """Secret in the webhook's own namespace that holds the public key."""

    hash_algorithm: HashAlgorithm | None = None
    """The only hash that signatures by this key may be made over. Default: ``sha256``, or the one
    of the key's curve."""


class CaCert(StrictModel):
    """The certificate of a private certificate authority, from exactly one place."""

    model_config = cel(
        (
            "[has(self.data), has(self.kms), has(self.secretRef)].filter(x, x).size() == 1",
            "expected exactly one of data, kms, secretRef",
        ),
        *_KEY_RULES,
    )

    data: LongText | None = None
    """Certificates as PEM text."""

    kms: Text | None = None
    """URI of a key management service."""

    secret_ref: SecretRef | None = None
    """Secret in the webhook's own namespace."""

    hash_algorithm: HashAlgorithm | None = None
    """Hash that signatures are made over. Default ``sha256``."""


class Identity(StrictModel):
    """Who a keyless signature must come from: an issuer and a subject, each by text or pattern."""

    model_config = cel(
        ("has(self.issuer) || has(self.issuerRegExp)", "needs issuer or issuerRegExp"),
        ("has(self.subject) || has(self.subjectRegExp)", "needs subject or subjectRegExp"),
        # A text that is no expression makes the rule fail.
        (
            "!has(self.issuerRegExp) || (''.matches(self.issuerRegExp) ? 1 : 0) >= 0",
            "issuerRegExp is no RE2 expression",
        ),
        (
            "!has(self.subjectRegExp) || (''.matches(self.subjectRegExp) ? 1 : 0) >= 0",
            "subjectRegExp is no RE2 expression",
        ),
    )

    issuer: Text | None = None
    """Exact OIDC issuer, e.g. ``https://token.actions.githubusercontent.com``."""

    subject: Text | None = None
    """Exact subject of the certificate: a mail address or a URI."""

    issuer_reg_exp: Text | None = None
    """Regular expression for the issuer."""

    subject_reg_exp: Text | None = None
    """Regular expression for the subject."""


class Keyless(StrictModel):
    """Signatures by short-lived certificates (Fulcio)."""

    model_config = cel(
        (
            "has(self.identities) && self.identities.size() > 0",
            "at least one of identities is needed",
        ),
        (
            "!(has(self.url) && has(self.ca__dash__cert))",
            "expected at most one of ca-cert, url",
        ),
    )

    url: Text | None = None
    """URL of Fulcio."""

    identities: Annotated[list[Identity], Field(max_length=32)] | None = None
    """Identities of which any may have signed."""

    trust_root_ref: Name | None = None
    """Name of the TrustRoot that says which authorities and logs are trusted."""

    ca_cert: CaCert | None = Field(default=None, alias="ca-cert")
    """Certificate of a private certificate authority."""

    insecure_ignore_sct: bool | None = Field(default=None, alias="insecureIgnoreSCT")
    """Accept certificates without proof that they are in a certificate transparency log."""


class Static(StrictModel):
    """A fixed answer that looks at nothing."""

    model_config = cel(("has(self.action)", "needs an action"))

    action: Literal["pass", "fail"] | None = None
    """``pass`` admits the image, ``fail`` refuses it."""

    message: Text | None = None
    """Shown to the person whose pod is refused."""


class Source(StrictModel):
    """Where signatures and attestations are looked for."""

    oci: Text | None = None
    """Repository that holds them, without tag. Default: the repository of the image."""

    signature_pull_secrets: Annotated[list[LocalRef], Field(max_length=16)] | None = None
    """Secrets of type ``kubernetes.io/dockerconfigjson`` in the webhook's own namespace, to read
    that repository with."""

    tag_prefix: Annotated[str, StringConstraints(max_length=64)] | None = None
    """Put before ``sha256-….sig`` and ``.att`` in the tags of the legacy format."""


class TransparencyLog(StrictModel):
    """A Rekor log in which signatures must be found."""

    model_config = cel(("has(self.url) || has(self.trustRootRef)", "needs url or trustRootRef"))

    url: Text | None = None
    """URL of the log."""

    trust_root_ref: Name | None = None
    """Name of the TrustRoot with the key of the log."""


class Rfc3161Timestamp(StrictModel):
    """A timestamp authority (RFC 3161) that must have countersigned."""

    model_config = cel(("has(self.trustRootRef)", "needs trustRootRef"))

    trust_root_ref: Name | None = None
    """Name of the TrustRoot with the certificates of the authority."""


class Attestation(StrictModel):
    """An attestation that must be there and verify."""

    model_config = cel(
        ("has(self.name) && has(self.predicateType)", "needs name and predicateType")
    )

    name: Name | None = None
    """Name of this rule, unique in its authority."""

    predicate_type: Text | None = None
    """Type of the predicate: a URI, or one of ``custom``, ``cyclonedx``, ``link``, ``openvex``,
    ``slsaprovenance``, ``slsaprovenance02``, ``slsaprovenance1``, ``spdx``, ``spdxjson``,
    ``vuln``."""

    policy: PolicyText | None = None
    """Rule that the attestation must satisfy."""


class Authority(StrictModel):
    """Somebody whose word is taken: exactly one of ``key``, ``keyless`` and ``static``.

    An authority passes an image when every entry of ``attestations`` verifies; without entries,
    when a signature verifies.
    """

    model_config = cel(
        (
            "[has(self.key), has(self.keyless), has(self.static)].filter(x, x).size() == 1",
            "expected exactly one of key, keyless, static",
        )
    )

    name: Name | None = None
    """Name of the authority in messages. Default ``authority-`` and its place in the list."""

    key: Key | None = None
    """A long-lived public key."""

    keyless: Keyless | None = None
    """Short-lived certificates for OIDC identities."""

    static: Static | None = None
    """A fixed answer."""

    source: Annotated[list[Source], Field(max_length=16)] | None = None
    """Where to look for signatures and attestations. Default: beside the image."""

    ctlog: TransparencyLog | None = None
    """Log in which the signatures must be found."""

    rfc3161timestamp: Rfc3161Timestamp | None = Field(default=None, alias="rfc3161timestamp")
    """Timestamp authority that must have countersigned."""

    signature_format: Literal["legacy", "bundle"] | None = None
    """Accept only this format: ``legacy`` (tags ``sha256-….sig``, ``.att``) or ``bundle``
    (Sigstore bundles found by referrers). Default: both."""

    attestations: Annotated[list[Attestation], Field(max_length=32)] | None = None
    """Attestations of which each must be there and verify."""

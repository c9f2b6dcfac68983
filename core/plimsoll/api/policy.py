"""ClusterImagePolicy: which images may run, and what must vouch for them.

The schema is that of sigstore policy-controller (``policy.sigstore.dev/v1beta1``), whose objects
are read by the same models, plus ``require``. Structure is fixed here; what the structure cannot
say is in ``plimsoll.api.policycheck``.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from plimsoll.api.base import Model, StrictModel
from plimsoll.api.meta import Conditions, cel
from plimsoll.api.require import Require

SIGSTORE_GROUP = "policy.sigstore.dev"
SIGSTORE_VERSIONS = ("v1beta1", "v1alpha1")

SPDX = "https://spdx.dev/Document"
CYCLONEDX = "https://cyclonedx.org/bom"
SLSA_V02 = "https://slsa.dev/provenance/v0.2"
SLSA_V1 = "https://slsa.dev/provenance/v1"

#: What counts as a bill of materials: the types that cosign writes, and those with a version.
SBOM_TYPES = frozenset(
    {SPDX, CYCLONEDX}
    | {f"{SPDX}/v{version}" for version in ("2.2", "2.3", "3.0")}
    | {f"{CYCLONEDX}/v{version}" for version in ("1.4", "1.5", "1.6", "1.7")}
)
VULN = "https://cosign.sigstore.dev/attestation/vuln/v1"
OPENVEX = "https://openvex.dev/ns"
#: OpenVEX documents name their version in the type.
OPENVEX_TYPES = frozenset({OPENVEX, f"{OPENVEX}/v0.2.0"})
PROVENANCE_TYPES = frozenset({SLSA_V02, SLSA_V1})

#: Short names of predicate types, as ``cosign attest --type`` has them.
PREDICATE_ALIASES = {
    "custom": "https://cosign.sigstore.dev/attestation/v1",
    "cyclonedx": CYCLONEDX,
    "link": "https://in-toto.io/Link/v1",
    "openvex": OPENVEX,
    "slsaprovenance": SLSA_V02,
    "slsaprovenance02": SLSA_V02,
    "slsaprovenance1": SLSA_V1,
    "spdx": SPDX,
    "spdxjson": SPDX,
    "vuln": VULN,
}

HashAlgorithm = Literal["sha224", "sha256", "sha384", "sha512"]
Text = Annotated[str, StringConstraints(max_length=4096)]
LongText = Annotated[str, StringConstraints(max_length=131072)]
Name = Annotated[str, StringConstraints(max_length=253)]


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


_MATCHABLE = [
    *("pods", "replicationcontrollers", "replicasets", "deployments"),
    *("statefulsets", "daemonsets", "jobs", "cronjobs"),
]


class ImagePattern(StrictModel):
    """A set of images by name."""

    model_config = cel(
        (
            "has(self.glob) && self.glob.matches('^[a-zA-Z0-9\\\\-_:/*.@]+$')",
            "a glob has letters, digits and - _ : / * . @ only",
        )
    )

    glob: Text | None = None
    """Glob over the full reference, e.g. ``registry.example/team/**``. ``*`` stands for anything
    but ``/``, ``**`` for anything. References are completed first:
    ``nginx`` is ``index.docker.io/library/nginx:latest``. A bare ``*`` means the official images
    of Docker Hub, ``*/*`` all of Docker Hub."""


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


class ConfigMapRef(StrictModel):
    """An entry of a ConfigMap."""

    name: Name | None = None
    """Name of the ConfigMap."""

    namespace: Name | None = None
    """Namespace of the ConfigMap; only the webhook's own is read."""

    key: Name | None = None
    """Entry of the ConfigMap."""


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


class RemotePolicy(StrictModel):
    """A policy text fetched over https."""

    model_config = cel(
        ("has(self.url) && self.url.startsWith('https://')", "needs an https url"),
        (
            "has(self.sha256sum) && self.sha256sum.matches('^[0-9a-f]{64}$')",
            "needs the sha256sum of the text",
        ),
    )

    url: Text | None = None
    """An https URL."""

    sha256sum: Annotated[str, StringConstraints(max_length=64)] | None = Field(
        default=None, alias="sha256sum"
    )
    """SHA-256 of the text, in hexadecimal."""


class PolicyText(StrictModel):
    """A rule in a policy language, from exactly one place."""

    model_config = cel(
        ("has(self.type)", "needs a type"),
        (
            "[has(self.data), has(self.configMapRef), has(self.remote)].filter(x, x).size() == 1",
            "expected exactly one of configMapRef, data, remote",
        ),
    )

    type: Literal["cue", "rego"] | None = None
    """Language of the rule."""

    data: LongText | None = None
    """The rule, inline."""

    config_map_ref: ConfigMapRef | None = None
    """ConfigMap in the webhook's own namespace that holds the rule."""

    remote: RemotePolicy | None = None
    """Where to fetch the rule."""

    fetch_config_file: bool | None = None
    """Give the rule the image's configuration as ``config``."""

    include_spec: bool | None = None
    """Give the rule the pod's spec as ``spec``."""

    include_object_meta: bool | None = None
    """Give the rule the pod's metadata as ``metadata``."""

    include_type_meta: bool | None = None
    """Give the rule the object's kind and version as ``typemeta``."""


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


class LabelSelectorRequirement(StrictModel):
    """One condition on labels."""

    key: Annotated[str, StringConstraints(max_length=317)]
    """Label key."""

    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """How the label's value relates to ``values``."""

    values: Annotated[
        list[Annotated[str, StringConstraints(max_length=63)]], Field(max_length=64)
    ] = []
    """Values for ``In`` and ``NotIn``."""


class LabelSelector(StrictModel):
    """Which labels an object must have."""

    match_labels: dict[str, str] | None = None
    """Labels that must all be there with these values."""

    match_expressions: Annotated[list[LabelSelectorRequirement], Field(max_length=32)] | None = None
    """Conditions that must all hold."""


class MatchResource(StrictModel):
    """Kind of object that a policy is about."""

    model_config = cel(
        (
            f"has(self.resource) && self.resource in {_MATCHABLE}",
            f"resource is one of {', '.join(_MATCHABLE)}",
        ),
        ("!has(self.version) || self.version == 'v1'", "version is v1"),
    )

    group: Name | None = None
    """API group; empty for the core group."""

    version: Name | None = None
    """API version."""

    resource: Name | None = None
    """Plural name: ``pods``, ``deployments``, …"""

    selector: LabelSelector | None = None
    """Only objects with these labels."""


class ClusterImagePolicySpec(StrictModel):
    """What images the policy is about and what must vouch for them.

    Every policy that matches an image must pass; a policy passes when any one of its authorities
    does and everything in ``require`` is there.
    """

    model_config = cel(
        ("has(self.images) && self.images.size() > 0", "needs images"),
        (
            "has(self.authorities) && self.authorities.size() > 0",
            "needs authorities; one that is static admits or refuses without evidence",
        ),
        (
            (
                "!has(self.require) || self.authorities.exists(a, !has(a.static)) || "
                "(has(self.require.digest) && self.require.digest)"
            ),
            "nobody could vouch for what is required; add an authority with a key",
        ),
    )

    images: Annotated[list[ImagePattern], Field(max_length=256)] | None = None
    """Images the policy is about; any pattern may match."""

    authorities: Annotated[list[Authority], Field(max_length=64)] | None = None
    """Who may vouch for an image; one of them is enough."""

    require: Require | None = None
    """Evidence that an image must have beside what its authorities ask for."""

    policy: PolicyText | None = None
    """Rule over what all authorities found."""

    mode: Literal["enforce", "warn", "audit"] = "enforce"
    """``enforce`` refuses an image that fails, ``warn`` admits it with a warning, ``audit`` says so
    in the audit log, the webhook's log and its metrics only."""

    match: Annotated[list[MatchResource], Field(max_length=32)] | None = None
    """Only these kinds of object, all when empty. Workloads (Deployments and the like) are only
    warned about unless a policy names them here."""


class PolicyStatus(Model):
    """What the webhook made of the policy."""

    observed_generation: int | None = None
    """Generation of the spec that the conditions speak of."""

    conditions: Conditions = []
    """``Ready``: the policy is understood and in force."""

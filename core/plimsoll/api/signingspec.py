"""Who signs an image, as people say it."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

from plimsoll.api.base import StrictModel
from plimsoll.api.meta import LocalReference, ObjectName, cel


class ConfigMapEntry(StrictModel):
    """An entry of a ConfigMap of the same namespace."""

    name: ObjectName
    """Name of the ConfigMap."""

    key: Annotated[
        str, StringConstraints(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")
    ]
    """The entry."""


class Document(StrictModel):
    """A JSON document: inline, or in a ConfigMap."""

    model_config = cel(
        ("has(self.inline) != has(self.configMap)", "expected exactly one of inline, configMap"),
    )

    inline: Annotated[str, StringConstraints(min_length=2, max_length=262144)] | None = None
    """The document."""

    config_map: ConfigMapEntry | None = None
    """Where the document is. It is read when an image is signed."""


class Keyless(StrictModel):
    """Signing with a short-lived certificate for the ServiceAccount of the Job that signs."""

    signing_config: Document
    """Sigstore's signing config (v0.2): the Fulcio, Rekor and timestamp servers to use."""

    trusted_root: Document
    """Sigstore's ``trusted_root.json`` of the same instance. What it does not accept is not
    attached to the image."""

    audience: Annotated[
        str, StringConstraints(min_length=1, max_length=256, pattern=r"^[\x21-\x7e]+$")
    ] = "sigstore"
    """Audience of the token, as Fulcio's configuration has it for the cluster's issuer."""


class Kms(StrictModel):
    """Signing with a key that stays in a key management service."""

    key: Annotated[
        str,
        StringConstraints(
            max_length=1024, pattern=r"^(awskms|azurekms|gcpkms|hashivault)://[!-~]+$"
        ),
    ]
    """Reference of the key: ``hashivault://KEY`` for Vault's or OpenBao's transit engine. The other
    schemes need a plug-in in the image that signs."""

    settings: LocalReference
    """Secret whose entries are the settings of the service: ``VAULT_ADDR``, and ``VAULT_TOKEN`` or
    ``VAULT_ROLE`` (log in as the ServiceAccount of the Job that signs). Mounted by that Job and by
    no other; none of it becomes an environment variable."""

    audience: (
        Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[\x21-\x7e]+$")]
        | None
    ) = None
    """Audience of the token of the ServiceAccount. Default: that of the API server."""


class Signing(StrictModel):
    """Who signs the image."""

    model_config = cel(
        (
            "[has(self.keySecret), has(self.keyless), has(self.kms)].filter(x, x).size() == 1",
            "expected exactly one of keySecret, keyless, kms",
        ),
    )

    key_secret: LocalReference | None = None
    """Secret with a key pair as ``cosign generate-key-pair k8s://…`` makes it: ``cosign.key``,
    ``cosign.password``, ``cosign.pub``. Mounted by the Job that signs and by no other."""

    keyless: Keyless | None = None
    """Sign as the ServiceAccount of the Job that signs. Its token is mounted by that Job and by
    no other."""

    kms: Kms | None = None
    """Sign with a key in a key management service."""


class AttestSpec(StrictModel):
    """Which attestations are attached to the image beside its signature."""

    sbom: bool = True
    """The software bill of materials (SPDX)."""

    cyclonedx: bool = False
    """The bill of materials as CycloneDX too."""

    provenance: bool = True
    """SLSA v1 provenance with every package as a resolved dependency."""

    vulnerabilities: bool = True
    """The vulnerability report of the scan, where there is one."""

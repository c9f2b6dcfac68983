"""TrustRoot: whose certificates, logs and timestamps are believed.

The schema of policy-controller's TrustRoot (``policy.sigstore.dev/v1alpha1``), plus
``trustedRoot``.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, StringConstraints, ValidationError

from plimsoll.api.base import StrictModel
from plimsoll.api.meta import cel
from plimsoll.api.policycheck import PolicyInvalidError, describe, without_nulls

if TYPE_CHECKING:
    from collections.abc import Iterator

Text = Annotated[str, StringConstraints(max_length=4096)]
Blob = Annotated[str, StringConstraints(max_length=524288)]

_PEM = re.compile(r"-----BEGIN [A-Z ]+-----")


class TufRemote(StrictModel):
    """A TUF repository on the network."""

    root: Blob | None = None
    """The trusted ``root.json``, base64."""

    mirror: Text | None = None
    """URL of the repository."""

    targets: Text | None = None
    """Directory of the targets. Default ``targets``."""

    trusted_root_target: Text | None = None
    """Name of the target that is the trusted root. Default ``trusted_root.json``."""


class TufRepository(StrictModel):
    """A whole TUF repository inline, for clusters without a network."""

    root: Blob | None = None
    """The trusted ``root.json``, base64."""

    mirror_fs: Blob | None = Field(default=None, alias="mirrorFS")
    """The repository as a gzipped tar, base64."""

    targets: Text | None = None
    """Directory of the targets. Default ``targets``."""

    trusted_root_target: Text | None = None
    """Name of the target that is the trusted root. Default ``trusted_root.json``."""


class DistinguishedName(StrictModel):
    """Who a certificate authority is."""

    organization: Text | None = None
    """Organization of the certificate."""

    common_name: Text | None = None
    """Common name of the certificate."""


class CertificateAuthority(StrictModel):
    """A certificate or timestamp authority."""

    subject: DistinguishedName | None = None
    """Name of the authority."""

    uri: Text | None = None
    """URL of the authority."""

    cert_chain: Blob | None = None
    """Its certificates up to the root, PEM in base64."""


class TransparencyLogKey(StrictModel):
    """A log and its public key."""

    base_url: Text | None = Field(default=None, alias="baseURL")
    """URL of the log."""

    hash_algorithm: Text | None = None
    """Hash of its tree: ``sha-256``, ``sha-384`` or ``sha-512``."""

    public_key: Blob | None = None
    """Public key, PEM in base64."""


class SigstoreKeys(StrictModel):
    """Authorities and logs by their keys."""

    certificate_authorities: Annotated[list[CertificateAuthority], Field(max_length=16)] | None = (
        None
    )
    """Fulcio instances."""

    t_logs: Annotated[list[TransparencyLogKey], Field(max_length=16)] | None = None
    """Rekor instances."""

    ct_logs: Annotated[list[TransparencyLogKey], Field(max_length=16)] | None = None
    """Certificate transparency logs."""

    timestamp_authorities: Annotated[list[CertificateAuthority], Field(max_length=16)] | None = None
    """Timestamp authorities (RFC 3161)."""


class TrustRootSpec(StrictModel):
    """Where trust comes from; exactly one field."""

    model_config = cel(
        (
            (
                "[has(self.remote), has(self.repository), has(self.sigstoreKeys), "
                "has(self.trustedRoot)].filter(x, x).size() == 1"
            ),
            "expected exactly one of remote, repository, sigstoreKeys, trustedRoot",
        ),
    )

    remote: TufRemote | None = None
    """A TUF repository on the network."""

    repository: TufRepository | None = None
    """A TUF repository inline."""

    sigstore_keys: SigstoreKeys | None = None
    """Keys and certificates."""

    trusted_root: Blob | None = None
    """A Sigstore trusted root: the text of ``trusted_root.json``."""


def read_trust_root_spec(spec: Any) -> TrustRootSpec:
    """Read and check the ``spec`` of a TrustRoot.

    Raises:
        PolicyInvalidError: with every fault and the path of its field.
    """
    if not isinstance(spec, dict):
        raise PolicyInvalidError(["missing field(s): spec"])
    try:
        model = TrustRootSpec.model_validate(without_nulls(spec))
    except ValidationError as error:
        raise PolicyInvalidError(list(describe(error, "spec"))) from None
    problems = list(_check(model))
    if problems:
        raise PolicyInvalidError(problems)
    return model


def pem_of(text: str) -> str:
    """Decode a PEM that is in base64; PEM text itself is taken as it is.

    Raises:
        ValueError: if it is neither.
    """
    if _PEM.match(text.strip()):
        return text
    try:
        pem = base64.b64decode(text, validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise ValueError("not base64 of a PEM text") from error
    if not _PEM.match(pem.strip()):
        raise ValueError("not base64 of a PEM text")
    return pem


def _check(spec: TrustRootSpec) -> Iterator[str]:
    present = {
        "remote": spec.remote is not None,
        "repository": spec.repository is not None,
        "sigstoreKeys": spec.sigstore_keys is not None,
        "trustedRoot": spec.trusted_root is not None,
    }
    if sum(present.values()) != 1:
        got = "both" if any(present.values()) else "neither"
        fields = ", ".join(f"spec.{name}" for name in present)
        yield f"expected exactly one, got {got}: {fields}"
    if spec.remote is not None:
        yield from _needed("spec.remote", root=spec.remote.root, mirror=spec.remote.mirror)
    if spec.repository is not None:
        yield from _needed(
            "spec.repository", root=spec.repository.root, mirrorFS=spec.repository.mirror_fs
        )
    if spec.trusted_root is not None:
        yield from _check_trusted_root(spec.trusted_root)
    if spec.sigstore_keys is not None:
        yield from _check_keys(spec.sigstore_keys)


def _needed(path: str, **fields: str | None) -> Iterator[str]:
    for name, value in fields.items():
        if not value:
            yield f"missing field(s): {path}.{name}"


def _check_trusted_root(text: str) -> Iterator[str]:
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as error:
        yield f"invalid value: spec.trustedRoot: no JSON: {error}"
        return
    if not isinstance(parsed, dict) or "mediaType" not in parsed:
        yield "invalid value: spec.trustedRoot: an object with mediaType is expected"


def _check_keys(keys: SigstoreKeys) -> Iterator[str]:
    path = "spec.sigstoreKeys"
    if not any((keys.certificate_authorities, keys.t_logs, keys.timestamp_authorities)):
        yield f"missing field(s): {path}.certificateAuthorities"
    for field, authorities in (
        ("certificateAuthorities", keys.certificate_authorities),
        ("timestampAuthorities", keys.timestamp_authorities),
    ):
        for index, authority in enumerate(authorities or []):
            yield from _check_pem(f"{path}.{field}[{index}].certChain", authority.cert_chain)
    for field, logs in (("tLogs", keys.t_logs), ("ctLogs", keys.ct_logs)):
        for index, log in enumerate(logs or []):
            where = f"{path}.{field}[{index}]"
            yield from _check_pem(f"{where}.publicKey", log.public_key)
            if (log.hash_algorithm or "sha-256") not in {"sha-256", "sha-384", "sha-512"}:
                yield f"invalid value: {log.hash_algorithm}: {where}.hashAlgorithm"


def _check_pem(path: str, text: str | None) -> Iterator[str]:
    if not text:
        yield f"missing field(s): {path}"
        return
    try:
        pem_of(text)
    except ValueError as error:
        yield f"invalid value: {path}: {error}"

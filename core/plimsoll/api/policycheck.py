"""Reading a ClusterImagePolicy strictly: every fault with the path of its field.

Messages follow the pattern of policy-controller (``invalid value: X: spec.path``,
``missing field(s): …``, ``expected exactly one, got both: …``), so people find known texts.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from plimsoll.api.imageglob import Glob
from plimsoll.api.policy import (
    Attestation,
    Authority,
    CaCert,
    ClusterImagePolicySpec,
    Identity,
    Key,
    Keyless,
    MatchResource,
    PolicyText,
    Source,
)
from plimsoll.api.require import check_require

if TYPE_CHECKING:
    from collections.abc import Iterator

_PEM = re.compile(r"-----BEGIN ([A-Z ]+)-----\s[A-Za-z0-9+/=\s]+-----END \1-----\s*", re.ASCII)
_KMS_SCHEMES = ("awskms://", "azurekms://", "gcpkms://", "hashivault://")
_AWS_ARN = re.compile(
    r"awskms://[^/]*/arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:(?:key/[A-Za-z0-9-]+|alias/.+)", re.ASCII
)
#: Resources that ``match`` may name: group and plural.
MATCHABLE = {
    "pods": "",
    "replicationcontrollers": "",
    "replicasets": "apps",
    "deployments": "apps",
    "statefulsets": "apps",
    "daemonsets": "apps",
    "jobs": "batch",
    "cronjobs": "batch",
}
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


class PolicyInvalidError(ValueError):
    """A policy that no object may have.

    Attributes:
        problems: one line per fault, each ending with the path of its field.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__(f"validation failed: {'; '.join(problems)}")
        self.problems = problems


def read_spec(spec: Any, *, allow_no_authorities: bool = False) -> ClusterImagePolicySpec:
    """Read and check the ``spec`` of a policy object.

    Args:
        spec: parsed YAML or JSON.
        allow_no_authorities: accept a policy without authorities, which admits every image it
            matches (policy-controller's ``fail-on-empty-authorities: false``).

    Raises:
        PolicyInvalidError: with every fault found.
    """
    if not isinstance(spec, dict):
        raise PolicyInvalidError(["missing field(s): spec"])
    try:
        model = ClusterImagePolicySpec.model_validate(without_nulls(spec))
    except ValidationError as error:
        raise PolicyInvalidError(list(describe(error, "spec"))) from None
    problems = list(check_spec(model, allow_no_authorities=allow_no_authorities))
    if problems:
        raise PolicyInvalidError(problems)
    return model


def without_nulls(value: Any) -> Any:
    """Drop fields that are null, as the API server does for fields that are not nullable."""
    if isinstance(value, dict):
        return {k: without_nulls(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


def describe(error: ValidationError, root: str) -> Iterator[str]:
    """Say each fault that pydantic found with the path of its field."""
    for fault in error.errors(include_url=False, include_context=False):
        path = root
        for part in fault["loc"]:
            path += f"[{part}]" if isinstance(part, int) else f".{part}"
        if fault["type"] == "missing":
            yield f"missing field(s): {path}"
        elif fault["type"] == "extra_forbidden":
            yield f"unknown field: {path}"
        elif fault["type"] == "literal_error":
            yield f"invalid value: {_short(fault['input'])}: {path} ({fault['msg']})"
        else:
            yield f"invalid value: {_short(fault['input'])}: {path}: {fault['msg']}"


def check_spec(spec: ClusterImagePolicySpec, *, allow_no_authorities: bool) -> Iterator[str]:
    """Say what is wrong with a policy beyond its structure."""
    if not spec.images:
        yield "missing field(s): spec.images"
    for index, pattern in enumerate(spec.images or []):
        path = f"spec.images[{index}].glob"
        if not pattern.glob:
            yield f"missing field(s): {path}"
            continue
        try:
            Glob(pattern.glob)
        except ValueError:
            yield f"invalid value: {_short(pattern.glob)}: {path}"
    if not spec.authorities and not allow_no_authorities:
        yield "missing field(s): spec.authorities"
    names: set[str] = set()
    for index, authority in enumerate(spec.authorities or []):
        path = f"spec.authorities[{index}]"
        name = authority.name or f"authority-{index}"
        if name in names:
            yield f"duplicate name: {name}: {path}.name"
        names.add(name)
        yield from _check_authority(authority, path)
    if spec.policy is not None:
        yield from _check_text(spec.policy, "spec.policy")
    for index, match in enumerate(spec.match or []):
        yield from _check_match(match, f"spec.match[{index}]")
    yield from _check_require(spec)


def _check_require(spec: ClusterImagePolicySpec) -> Iterator[str]:
    if spec.require is None:
        return
    yield from check_require(spec.require)
    real = any(authority.static is None for authority in spec.authorities or [])
    if spec.require.wanted and not real:
        yield (
            "invalid value: require: spec.require: nobody could vouch for what is required; "
            "add an authority with a key"
        )
    signers = sum(1 for one in spec.authorities or [] if one.static is None)
    keys = [one.key for one in spec.authorities or []]
    wanted = spec.require.signers or 0
    if real and wanted > signers and all(key is not None and key.data for key in keys):
        pems = sum((key.data or "").count("-----BEGIN ") for key in keys if key is not None)
        if pems < wanted:
            yield f"invalid value: {wanted}: spec.require.signers: there are only {pems} keys"


def _exactly_one(path: str, present: dict[str, bool]) -> Iterator[str]:
    count = sum(present.values())
    if count != 1:
        got = "both" if count else "neither"
        fields = ", ".join(f"{path}.{name}" for name in present)
        yield f"expected exactly one, got {got}: {fields}"


def _check_authority(authority: Authority, path: str) -> Iterator[str]:
    yield from _exactly_one(
        path,
        {
            "key": authority.key is not None,
            "keyless": authority.keyless is not None,
            "static": authority.static is not None,
        },
    )
    if authority.key is not None:
        yield from _check_key(authority.key, f"{path}.key")
    if authority.keyless is not None:
        yield from _check_keyless(authority.keyless, f"{path}.keyless")
    if authority.static is not None:
        yield from _check_static(authority, path)
    for index, source in enumerate(authority.source or []):
        yield from _check_source(source, f"{path}.source[{index}]")
    log, timestamp = authority.ctlog, authority.rfc3161timestamp
    if log is not None and not log.url and not log.trust_root_ref:
        yield f"missing field(s): {path}.ctlog.trustRootRef, {path}.ctlog.url"
    if timestamp is not None and not timestamp.trust_root_ref:
        yield f"missing field(s): {path}.rfc3161timestamp.trustRootRef"
    yield from _check_attestations(authority.attestations or [], f"{path}.attestations")


def _check_static(authority: Authority, path: str) -> Iterator[str]:
    if authority.static is None or authority.static.action is None:
        yield f"missing field(s): {path}.static.action"
    # A fixed answer looks at nothing, so what restricts it would be ignored.
    for field, value in (
        ("attestations", authority.attestations),
        ("source", authority.source),
        ("ctlog", authority.ctlog),
        ("rfc3161timestamp", authority.rfc3161timestamp),
        ("signatureFormat", authority.signature_format),
    ):
        if value:
            yield f"expected exactly one, got both: {path}.{field}, {path}.static"


def _check_attestations(attestations: list[Attestation], path: str) -> Iterator[str]:
    names: set[str] = set()
    for index, attestation in enumerate(attestations):
        where = f"{path}[{index}]"
        if not attestation.name:
            yield f"missing field(s): {where}.name"
        elif attestation.name in names:
            yield f"duplicate name: {attestation.name}: {where}.name"
        names.add(attestation.name or "")
        if not attestation.predicate_type:
            yield f"missing field(s): {where}.predicateType"
        if attestation.policy is not None:
            yield from _check_text(attestation.policy, f"{where}.policy")


def _check_key(key: Key | CaCert, path: str) -> Iterator[str]:
    yield from _exactly_one(
        path,
        {
            "data": key.data is not None,
            "kms": key.kms is not None,
            "secretref": key.secret_ref is not None,
        },
    )
    if key.data is not None and _PEM.match(key.data.strip()) is None:
        yield f"invalid value: {_short(key.data)}: {path}.data: no PEM block"
    if key.kms is not None:
        if not key.kms.startswith(_KMS_SCHEMES):
            yield f"invalid value: {_short(key.kms)}: {path}.kms: use {', '.join(_KMS_SCHEMES)}"
        elif key.kms.startswith("awskms://") and _AWS_ARN.fullmatch(key.kms) is None:
            yield f"invalid value: {_short(key.kms)}: {path}.kms: give the ARN of a key or alias"
    if key.secret_ref is not None and not key.secret_ref.name:
        yield f"missing field(s): {path}.secretRef.name"


def _check_keyless(keyless: Keyless, path: str) -> Iterator[str]:
    if not keyless.identities:
        yield f"{path}.identities: Invalid value: at least one identity is needed"
    for index, identity in enumerate(keyless.identities or []):
        yield from _check_identity(identity, f"{path}.identities[{index}]")
    if keyless.ca_cert is not None and keyless.url is not None:
        yield f"expected exactly one, got both: {path}.ca-cert, {path}.url"
    if keyless.url is not None and not keyless.url.startswith(("https://", "http://")):
        yield f"invalid value: {_short(keyless.url)}: {path}.url"
    if keyless.ca_cert is not None:
        yield from _check_key(keyless.ca_cert, f"{path}.ca-cert")


def _check_identity(identity: Identity, path: str) -> Iterator[str]:
    for field, text, pattern in (
        ("issuer", identity.issuer, identity.issuer_reg_exp),
        ("subject", identity.subject, identity.subject_reg_exp),
    ):
        if not text and not pattern:
            yield f"missing field(s): {path}.{field}, {path}.{field}RegExp"
        if pattern and (fault := _pattern_fault(pattern)):
            yield f"invalid value: {_short(pattern)}: {path}.{field}RegExp: {fault}"


def _pattern_fault(pattern: str) -> str:
    """Why a text is no RE2 expression, or nothing."""
    # Native, and wanted by few of those who import the models.
    import re2  # type: ignore[import-untyped]  # noqa: PLC0415

    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(pattern, options)
    except re2.error as error:
        first = error.args[0] if error.args else ""
        return first.decode(errors="replace") if isinstance(first, bytes) else str(first)
    return ""


def _check_source(source: Source, path: str) -> Iterator[str]:
    for index, secret in enumerate(source.signature_pull_secrets or []):
        if not secret.name:
            yield f"missing field(s): {path}.signaturePullSecrets[{index}].name"
    prefix = source.tag_prefix
    if prefix is not None and re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,47}", prefix) is None:
        yield f"invalid value: {_short(prefix)}: {path}.tagPrefix"


def _check_text(text: PolicyText, path: str) -> Iterator[str]:
    if text.type is None:
        yield f"missing field(s): {path}.type"
    yield from _exactly_one(
        path,
        {
            "configMapRef": text.config_map_ref is not None,
            "data": text.data is not None,
            "remote": text.remote is not None,
        },
    )
    if text.config_map_ref is not None:
        checks: tuple[tuple[str, str | None], ...] = (
            ("name", text.config_map_ref.name),
            ("key", text.config_map_ref.key),
        )
        for field, value in checks:
            if not value:
                yield f"missing field(s): {path}.configMapRef.{field}"
    if text.remote is not None:
        url, checksum = text.remote.url, text.remote.sha256sum
        if not url:
            yield f"missing field(s): {path}.remote.url"
        elif not url.startswith("https://"):
            yield f"invalid value: {_short(url)}: {path}.remote.url: only https is fetched"
        if not checksum:
            yield f"missing field(s): {path}.remote.sha256sum"
        elif _SHA256.fullmatch(checksum) is None:
            yield f"invalid value: {_short(checksum)}: {path}.remote.sha256sum"


def _check_match(match: MatchResource, path: str) -> Iterator[str]:
    if not match.resource:
        yield f"missing field(s): {path}.resource"
        return
    if match.resource not in MATCHABLE:
        yield f"invalid value: {_short(match.resource)}: {path}.resource"
        return
    if (match.group or "") != MATCHABLE[match.resource]:
        yield f"invalid value: {_short(match.group or '')}: {path}.group"
    if (match.version or "v1") != "v1":
        yield f"invalid value: {_short(match.version)}: {path}.version"


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 100 else f"{text[:97]}..."

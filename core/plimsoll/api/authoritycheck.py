"""What is wrong with an authority of a policy, beyond its structure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plimsoll.api.authority import (
        Attestation,
        Authority,
        CaCert,
        Identity,
        Key,
        Keyless,
        Source,
    )
    from plimsoll.api.policytext import PolicyText

_PEM = re.compile(r"-----BEGIN ([A-Z ]+)-----\s[A-Za-z0-9+/=\s]+-----END \1-----\s*", re.ASCII)
_KMS_SCHEMES = ("awskms://", "azurekms://", "gcpkms://", "hashivault://")
_AWS_ARN = re.compile(
    r"awskms://[^/]*/arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:(?:key/[A-Za-z0-9-]+|alias/.+)", re.ASCII
)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


def _exactly_one(path: str, present: dict[str, bool]) -> Iterator[str]:
    count = sum(present.values())
    if count != 1:
        got = "both" if count else "neither"
        fields = ", ".join(f"{path}.{name}" for name in present)
        yield f"expected exactly one, got {got}: {fields}"


def check_authority(authority: Authority, path: str) -> Iterator[str]:
    """Say each fault of an authority with the path of its field."""
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
            yield from check_text(attestation.policy, f"{where}.policy")


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
        yield f"invalid value: {short(key.data)}: {path}.data: no PEM block"
    if key.kms is not None:
        if not key.kms.startswith(_KMS_SCHEMES):
            yield f"invalid value: {short(key.kms)}: {path}.kms: use {', '.join(_KMS_SCHEMES)}"
        elif key.kms.startswith("awskms://") and _AWS_ARN.fullmatch(key.kms) is None:
            yield f"invalid value: {short(key.kms)}: {path}.kms: give the ARN of a key or alias"
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
        yield f"invalid value: {short(keyless.url)}: {path}.url"
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
            yield f"invalid value: {short(pattern)}: {path}.{field}RegExp: {fault}"


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
        yield f"invalid value: {short(prefix)}: {path}.tagPrefix"


def check_text(text: PolicyText, path: str) -> Iterator[str]:
    """Say each fault of a rule with the path of its field."""
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
            yield f"invalid value: {short(url)}: {path}.remote.url: only https is fetched"
        if not checksum:
            yield f"missing field(s): {path}.remote.sha256sum"
        elif _SHA256.fullmatch(checksum) is None:
            yield f"invalid value: {short(checksum)}: {path}.remote.sha256sum"


def short(value: Any) -> str:
    """A value as a message shows it."""
    text = " ".join(str(value).split())
    return text if len(text) <= 100 else f"{text[:97]}..."

"""What policies take from elsewhere: Secrets, trust roots, rules, keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plimsoll.api.policycheck import PolicyInvalidError, read_spec
from plimsoll.webhook.trust import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plimsoll.api.policy import ClusterImagePolicySpec
    from plimsoll.api.policytext import PolicyText


@dataclass(frozen=True, slots=True)
class Needs:
    """What a policy takes from elsewhere."""

    secrets: frozenset[str] = frozenset()
    """Names of Secrets with keys and certificates."""

    roots: frozenset[str] = frozenset()
    """Names of trust roots, ``DEFAULT`` for the default one."""

    config_maps: frozenset[str] = frozenset()
    """Names of ConfigMaps with rules."""

    remote: frozenset[tuple[str, str]] = frozenset()
    """URL and SHA-256 (hex) of rules that are fetched."""

    kms: frozenset[str] = frozenset()
    """References of keys in key management services."""


def needs_of(spec: Any) -> Needs:
    """What a policy takes from elsewhere; nothing for an invalid policy."""
    try:
        model = read_spec(spec, allow_no_authorities=True)
    except PolicyInvalidError:
        return Needs()
    secrets: set[str] = set()
    roots: set[str] = set()
    kms: set[str] = set()
    for authority in model.authorities or []:
        keyless = authority.keyless
        ca_cert = keyless.ca_cert if keyless is not None else None
        secrets |= {
            holder.secret_ref.name
            for holder in (authority.key, ca_cert)
            if holder is not None and holder.secret_ref is not None and holder.secret_ref.name
        }
        if authority.key is not None and authority.key.kms:
            kms.add(authority.key.kms)
        named = [part for part in (authority.ctlog, authority.rfc3161timestamp) if part is not None]
        roots |= {part.trust_root_ref or DEFAULT for part in named}
        if keyless is not None and (ca_cert is None or keyless.trust_root_ref):
            roots.add(keyless.trust_root_ref or DEFAULT)
    rules = [rule for _, rule in rules_of(model)]
    maps = {one.config_map_ref.name for one in rules if one.config_map_ref is not None}
    remote = {
        (one.remote.url, one.remote.sha256sum)
        for one in rules
        if one.remote is not None and one.remote.url and one.remote.sha256sum
    }
    return Needs(
        frozenset(secrets),
        frozenset(roots),
        frozenset(name for name in maps if name),
        frozenset(remote),
        frozenset(kms),
    )


def rules_of(spec: ClusterImagePolicySpec) -> Iterator[tuple[str, PolicyText]]:
    """Every rule in a language, with its path."""
    for index, authority in enumerate(spec.authorities or []):
        for number, attestation in enumerate(authority.attestations or []):
            if attestation.policy is not None:
                path = f"spec.authorities[{index}].attestations[{number}].policy"
                yield path, attestation.policy
    if spec.policy is not None:
        yield "spec.policy", spec.policy


def beyond_a_namespace(spec: ClusterImagePolicySpec) -> Iterator[str]:
    """What would let a namespace reach into the webhook's own."""
    for index, authority in enumerate(spec.authorities or []):
        path = f"spec.authorities[{index}]"
        ca_cert = authority.keyless.ca_cert if authority.keyless is not None else None
        for field, holder in (("key", authority.key), ("keyless.ca-cert", ca_cert)):
            if holder is not None and holder.secret_ref is not None:
                yield f"{path}.{field}.secretRef is not read for a namespace; give data"
        for number, source in enumerate(authority.source or []):
            if source.signature_pull_secrets:
                yield f"{path}.source[{number}].signaturePullSecrets are not read for a namespace"
        if authority.key is not None and authority.key.kms is not None:
            yield f"{path}.key.kms is not asked for a namespace; give data"
    for path, rule in rules_of(spec):
        if rule.config_map_ref is not None:
            yield f"{path}.configMapRef is not read for a namespace; give data"
        if rule.remote is not None:
            yield f"{path}.remote is not fetched for a namespace; give data"

"""Policies as the webhook runs them: compiled once, when they change.

A policy that cannot be honoured in full is kept with a sentence that says why (``fault``), and
refuses every image it matches: nothing that a policy asks for is ever left out in silence.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from plimsoll.api.imageglob import Glob
from plimsoll.api.meta import GROUP
from plimsoll.api.policy import PREDICATE_ALIASES, PROVENANCE_TYPES, SBOM_TYPES, Require
from plimsoll.api.policycheck import PolicyInvalidError, read_spec
from plimsoll.oci.errors import InvalidReferenceError
from plimsoll.oci.reference import Reference
from plimsoll.signing.errors import InvalidKeyError
from plimsoll.signing.keys import PublicKey, load_public_keys
from plimsoll.signing.statement import COSIGN_SIGN
from plimsoll.webhook.selectors import Target, compile_target

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from plimsoll.api.policy import Authority, ClusterImagePolicySpec, SecretRef

Format = Literal["legacy", "bundle"]


@dataclass(frozen=True, slots=True)
class EvidenceSource:
    """A place where an authority's evidence is looked for."""

    repository: str = ""
    """Registry and repository; empty for the image's own."""

    tag_prefix: str = ""
    pull_secrets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CompiledAuthority:
    """Who may vouch, ready to verify with."""

    name: str
    keys: tuple[PublicKey, ...] = ()
    static: Literal["pass", "fail"] | None = None
    message: str = ""
    sources: tuple[EvidenceSource, ...] = (EvidenceSource(),)
    format: Format | None = None
    attestations: tuple[tuple[str, str], ...] = ()
    """Name and predicate type of each attestation that must be there."""


@dataclass(frozen=True, slots=True)
class CompiledPolicy:
    """One policy."""

    name: str
    group: str
    enforce: bool
    globs: tuple[Glob, ...]
    targets: tuple[Target, ...]
    authorities: tuple[CompiledAuthority, ...]
    require: tuple[str, ...]
    fingerprint: str
    """Changes with everything that a verdict depends on: the spec and the keys."""

    fault: str = ""
    """Why no image can pass, or empty."""

    @property
    def sources(self) -> tuple[EvidenceSource, ...]:
        """Every place to look, each once."""
        return tuple(
            dict.fromkeys(
                source
                for authority in self.authorities
                if authority.static is None
                for source in authority.sources
            )
        )

    @property
    def formats(self) -> frozenset[Format]:
        """The ways of storing evidence that some authority accepts."""
        accepted: set[Format] = set()
        for authority in self.authorities:
            accepted |= {authority.format} if authority.format else {"bundle", "legacy"}
        return frozenset(accepted)

    @property
    def predicate_types(self) -> frozenset[str]:
        """Types of the statements that can make a difference, signatures included."""
        types = {kind for a in self.authorities for _, kind in a.attestations}
        if "signature" in self.require or any(not a.attestations for a in self.authorities):
            types.add(COSIGN_SIGN)
        if "sbom" in self.require:
            types |= SBOM_TYPES
        if "provenance" in self.require:
            types |= PROVENANCE_TYPES
        return frozenset(types)

    def concerns(self, names: tuple[str, ...]) -> bool:
        """Whether a glob matches any of the names of an image."""
        return any(glob.matches(name) for glob in self.globs for name in names)


@dataclass(frozen=True, slots=True)
class Secrets:
    """Secrets of the webhook's own namespace that policies name.

    Attributes:
        namespace: the webhook's own.
        data: name → entries; ``None`` for a Secret that does not exist.
    """

    namespace: str
    data: Mapping[str, Mapping[str, bytes] | None]


def compile_policy(
    name: str,
    spec: Any,
    secrets: Secrets,
    *,
    group: str = GROUP,
    allow_no_authorities: bool = False,
) -> CompiledPolicy:
    """Compile the ``spec`` of a policy object; never fails, see ``CompiledPolicy.fault``."""
    try:
        model = read_spec(spec, allow_no_authorities=allow_no_authorities)
    except PolicyInvalidError as error:
        return broken_policy(name, spec, group, str(error))
    faults = list(unsupported(model))
    authorities = []
    for index, authority in enumerate(model.authorities or []):
        try:
            authorities.append(_authority(authority, index, secrets))
        except ValueError as error:
            faults.append(f"spec.authorities[{index}]{error}")
    policy = CompiledPolicy(
        name=name,
        group=group,
        enforce=model.mode != "warn",
        globs=tuple(Glob(pattern.glob) for pattern in model.images or [] if pattern.glob),
        targets=tuple(compile_target(match) for match in model.match or []),
        authorities=tuple(authorities),
        require=(model.require or Require()).wanted,
        fingerprint="",
        fault="; ".join(faults),
    )
    return replace(policy, fingerprint=_fingerprint(policy, spec))


def secret_names(spec: Any) -> set[str]:
    """Names of the Secrets that a policy's keys are in; empty for an invalid policy."""
    try:
        model = read_spec(spec, allow_no_authorities=True)
    except PolicyInvalidError:
        return set()
    return {
        authority.key.secret_ref.name
        for authority in model.authorities or []
        if authority.key and authority.key.secret_ref and authority.key.secret_ref.name
    }


def broken_policy(name: str, spec: Any, group: str, fault: str) -> CompiledPolicy:
    """A policy that refuses what it can be seen to match; everything, if that is not clear."""
    fields = spec if isinstance(spec, dict) else {}
    globs: list[Glob] = []
    try:
        globs = [Glob(pattern["glob"]) for pattern in fields["images"]]
    except (KeyError, TypeError, ValueError):
        globs = []
    policy = CompiledPolicy(
        name=name,
        group=group,
        enforce=fields.get("mode") != "warn",
        globs=tuple(globs) or (Glob("**"),),
        targets=(),
        authorities=(),
        require=(),
        fingerprint="",
        fault=fault,
    )
    return replace(policy, fingerprint=_fingerprint(policy, spec))


def unsupported(spec: ClusterImagePolicySpec) -> Iterator[str]:
    """What a valid policy asks for that this version cannot check."""
    later = "is not supported by this version"
    if spec.policy is not None:
        yield f"spec.policy (a rule in {spec.policy.type}) {later}"
    for index, authority in enumerate(spec.authorities or []):
        path = f"spec.authorities[{index}]"
        if authority.keyless is not None:
            yield f"{path}.keyless {later}"
        if authority.key is not None and authority.key.kms is not None:
            yield f"{path}.key.kms {later}"
        if authority.ctlog is not None:
            yield f"{path}.ctlog {later}"
        if authority.rfc3161timestamp is not None:
            yield f"{path}.rfc3161timestamp {later}"
        for number, attestation in enumerate(authority.attestations or []):
            if attestation.policy is not None:
                language = attestation.policy.type
                yield f"{path}.attestations[{number}].policy (a rule in {language}) {later}"


def _authority(authority: Authority, index: int, secrets: Secrets) -> CompiledAuthority:
    name = authority.name or f"authority-{index}"
    if authority.static is not None:
        return CompiledAuthority(
            name, static=authority.static.action or "fail", message=authority.static.message or ""
        )
    return CompiledAuthority(
        name=name,
        keys=_keys(authority, secrets),
        sources=tuple(_sources(authority)) or (EvidenceSource(),),
        format=authority.signature_format,
        attestations=tuple(
            (entry.name or "", _predicate_type(entry.predicate_type or ""))
            for entry in authority.attestations or []
        ),
    )


def _sources(authority: Authority) -> Iterator[EvidenceSource]:
    for index, source in enumerate(authority.source or []):
        names = tuple(ref.name for ref in source.signature_pull_secrets or [] if ref.name)
        repository = ""
        if source.oci:
            try:
                repository = Reference.repository_of(source.oci).name
            except InvalidReferenceError as error:
                raise ValueError(f".source[{index}].oci: {error}") from error
        yield EvidenceSource(repository, source.tag_prefix or "", names)


def _predicate_type(text: str) -> str:
    return PREDICATE_ALIASES.get(text, text)


def _keys(authority: Authority, secrets: Secrets) -> tuple[PublicKey, ...]:
    """The public keys of an authority.

    Raises:
        ValueError: what is wrong, to follow the authority's path.
    """
    key = authority.key
    if key is None or key.kms is not None:
        return ()
    path = ".key.data" if key.secret_ref is None else ".key.secretRef"
    try:
        pem = (key.data or "").encode()
        if key.secret_ref is not None:
            pem = _from_secret(key.secret_ref, secrets)
        return load_public_keys(pem, hash_algorithm=key.hash_algorithm)
    except (InvalidKeyError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def _from_secret(ref: SecretRef, secrets: Secrets) -> bytes:
    where = f"Secret {secrets.namespace}/{ref.name}"
    if ref.namespace not in {None, "", secrets.namespace}:
        raise ValueError(f"only Secrets of namespace {secrets.namespace} are read")
    entries = secrets.data.get(ref.name or "")
    if entries is None:
        raise ValueError(f"{where} does not exist")
    if "cosign.pub" in entries:
        return entries["cosign.pub"]
    if len(entries) != 1:
        raise ValueError(f"{where} has no entry cosign.pub")
    return next(iter(entries.values()))


def _fingerprint(policy: CompiledPolicy, spec: Any) -> str:
    keys = [key.fingerprint for authority in policy.authorities for key in authority.keys]
    text = json.dumps([policy.group, policy.name, spec, keys, policy.fault], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()

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
from plimsoll.api.policycheck import PolicyInvalidError, read_spec
from plimsoll.api.predicates import (
    OPENVEX_TYPES,
    PREDICATE_ALIASES,
    PROVENANCE_TYPES,
    SBOM_TYPES,
    VULN_TYPES,
)
from plimsoll.api.require import Require
from plimsoll.oci.errors import InvalidReferenceError
from plimsoll.oci.reference import Reference
from plimsoll.signing.statement import COSIGN_SIGN
from plimsoll.webhook.authorities import AuthorityCompiler, Secrets
from plimsoll.webhook.needs import beyond_a_namespace, rules_of
from plimsoll.webhook.rules.text import RuleCompiler, Texts
from plimsoll.webhook.selectors import Target, compile_target
from plimsoll.webhook.trust import KnownRoots

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from plimsoll.api.authority import Authority
    from plimsoll.signing.authority import Authority as Trusted
    from plimsoll.webhook.authorities import KmsKey
    from plimsoll.webhook.rules.text import CompiledRule, Judges
    from plimsoll.webhook.trust import Trust

Format = Literal["legacy", "bundle"]
NOTHING = Require()


@dataclass(frozen=True, slots=True)
class EvidenceSource:
    """A place where an authority's evidence is looked for."""

    repository: str = ""
    """Registry and repository; empty for the image's own."""

    tag_prefix: str = ""
    pull_secrets: tuple[str, ...] = ()
    as_pod: bool = False
    """Read with the pod's logins, as the policy is not the administrator's."""


@dataclass(frozen=True, slots=True)
class CompiledAuthority:
    """Who may vouch, ready to verify with."""

    name: str
    trusted: Trusted | None = None
    """Verifies; ``None`` for a fixed answer."""

    static: Literal["pass", "fail"] | None = None
    message: str = ""
    sources: tuple[EvidenceSource, ...] = (EvidenceSource(),)
    format: Format | None = None
    attestations: tuple[tuple[str, str], ...] = ()
    """Name and predicate type of each attestation that must be there."""

    rules: tuple[tuple[str, CompiledRule], ...] = ()
    """Name of an attestation, and the rule that it must satisfy."""

    def rule_of(self, name: str) -> CompiledRule | None:
        """The rule that the attestation of a name must satisfy."""
        return next((rule for one, rule in self.rules if one == name), None)


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
    """Changes with everything that a verdict depends on: spec, keys and trust roots."""

    fault: str = ""
    """Why no image can pass, or empty."""

    namespace: str = ""
    """Of a namespaced policy: the only one whose pods it is about."""

    audit: bool = False
    """Whether it says nothing to who makes a pod."""

    rules: Require = NOTHING
    """What the evidence in ``require`` must say."""

    rule: CompiledRule | None = None
    """Rule over what all authorities found."""

    @property
    def has_rules(self) -> bool:
        """Whether judging it starts processes."""
        return self.rule is not None or any(one.rules for one in self.authorities)

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
        if self.rules.vulnerabilities is not None:
            types |= VULN_TYPES | (OPENVEX_TYPES if self.rules.vulnerabilities.vex else set())
        return frozenset(types)

    def concerns(self, names: tuple[str, ...]) -> bool:
        """Whether a glob matches any of the names of an image."""
        return any(glob.matches(name) for glob in self.globs for name in names)


def compile_policy(  # noqa: PLR0913  surroundings, by name
    name: str,
    spec: Any,
    secrets: Secrets,
    *,
    group: str = GROUP,
    namespace: str = "",
    trust: Trust | None = None,
    allow_no_authorities: bool = False,
    engines: Judges | None = None,
    texts: Texts | None = None,
    kms: Mapping[str, KmsKey] | None = None,
) -> CompiledPolicy:
    """Compile the ``spec`` of a policy object; never fails, see ``CompiledPolicy.fault``.

    Args:
        name: of the object.
        spec: as it stands in the object.
        secrets: that hold keys.
        group: API group of the object.
        namespace: of a namespaced policy.
        trust: finds trust roots.
        allow_no_authorities: let a policy without authorities admit what it matches.
        engines: evaluate rules in policy languages; blocks while rules are checked.
        texts: rules that do not stand in the policy.
        kms: public keys of key management services, by their references.
    """
    try:
        model = read_spec(spec, allow_no_authorities=allow_no_authorities)
    except PolicyInvalidError as error:
        return broken_policy(name, spec, group, str(error), namespace)
    faults = list(beyond_a_namespace(model)) if namespace else []
    authorities = []
    compiler = AuthorityCompiler(group, secrets, trust or KnownRoots(), kms or {})
    ruler = RuleCompiler(engines, texts or Texts(), compiler.used)
    rules: dict[str, CompiledRule] = {}
    for path, text in () if faults else rules_of(model):
        try:
            rules[path] = ruler.compile(text, of_attestation=path != "spec.policy")
        except ValueError as error:
            faults.append(f"{path}{error}")
    for index, authority in enumerate(model.authorities or []):
        try:
            made = _authority(authority, index, compiler, as_pod=bool(namespace))
        except ValueError as error:
            told = f"spec.authorities[{index}]{error}"
            faults += [] if any(told.startswith(one) for one in faults) else [told]
        else:
            authorities.append(replace(made, rules=tuple(_rules(authority, index, rules))))
    policy = CompiledPolicy(
        name=name,
        group=group,
        enforce=model.mode == "enforce",
        audit=model.mode == "audit",
        namespace=namespace,
        globs=tuple(Glob(pattern.glob) for pattern in model.images or [] if pattern.glob),
        targets=tuple(compile_target(match) for match in model.match or []),
        authorities=tuple(authorities),
        require=(model.require or NOTHING).wanted,
        rules=model.require or NOTHING,
        rule=rules.get("spec.policy"),
        fingerprint="",
        fault="; ".join(faults),
    )
    return replace(policy, fingerprint=_fingerprint(policy, spec, compiler.used))


def broken_policy(
    name: str, spec: Any, group: str, fault: str, namespace: str = ""
) -> CompiledPolicy:
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
        enforce=fields.get("mode") not in {"warn", "audit"},
        audit=fields.get("mode") == "audit",
        namespace=namespace,
        globs=tuple(globs) or (Glob("**"),),
        targets=(),
        authorities=(),
        require=(),
        fingerprint="",
        fault=fault,
    )
    return replace(policy, fingerprint=_fingerprint(policy, spec))


def _authority(
    authority: Authority, index: int, compiler: AuthorityCompiler, *, as_pod: bool
) -> CompiledAuthority:
    name = authority.name or f"authority-{index}"
    if authority.static is not None:
        return CompiledAuthority(
            name, static=authority.static.action or "fail", message=authority.static.message or ""
        )
    return CompiledAuthority(
        name=name,
        trusted=compiler.compile(authority),
        sources=tuple(_sources(authority, as_pod=as_pod)) or (EvidenceSource(as_pod=as_pod),),
        format=authority.signature_format,
        attestations=tuple(
            (entry.name or "", _predicate_type(entry.predicate_type or ""))
            for entry in authority.attestations or []
        ),
    )


def _rules(
    authority: Authority, index: int, rules: Mapping[str, CompiledRule]
) -> Iterator[tuple[str, CompiledRule]]:
    for number, entry in enumerate(authority.attestations or []):
        rule = rules.get(f"spec.authorities[{index}].attestations[{number}].policy")
        if rule is not None:
            yield entry.name or "", rule


def _sources(authority: Authority, *, as_pod: bool) -> Iterator[EvidenceSource]:
    for index, source in enumerate(authority.source or []):
        names = tuple(ref.name for ref in source.signature_pull_secrets or [] if ref.name)
        repository = ""
        if source.oci:
            try:
                repository = Reference.repository_of(source.oci).name
            except InvalidReferenceError as error:
                raise ValueError(f".source[{index}].oci: {error}") from error
        yield EvidenceSource(repository, source.tag_prefix or "", names, as_pod)


def _predicate_type(text: str) -> str:
    return PREDICATE_ALIASES.get(text, text)


def _fingerprint(policy: CompiledPolicy, spec: Any, used: Sequence[str] = ()) -> str:
    rests_on = [policy.group, policy.name, spec, used, policy.fault]
    text = json.dumps(rests_on, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()

"""Rules as policies hold them: their text found, checked once, ready to be asked."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plimsoll.api.policytext import PolicyText
    from plimsoll.webhook.rules.engines import Language


class Judges(Protocol):
    """What evaluates rules; see ``plimsoll.webhook.rules.engines.Engines``."""

    def lack(self, language: Language) -> str:
        """Why rules of a language cannot be evaluated here; nothing if they can."""

    def check(self, language: Language, text: str) -> str:
        """Why a text is no rule of a language, or nothing."""

    def judge(self, language: Language, text: str, document: bytes) -> str:
        """Why a JSON document does not satisfy a rule; nothing if it does."""


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts of rules that do not stand in their policy.

    Attributes:
        namespace: the webhook's own.
        config_maps: name → entries; ``None`` for a ConfigMap that does not exist.
        remote: SHA-256 (hex) → text, or why it could not be had.
    """

    namespace: str = ""
    config_maps: Mapping[str, Mapping[str, str] | None] = field(default_factory=dict)
    remote: Mapping[str, RemoteText] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RemoteText:
    """A text from a URL."""

    text: str | None = None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """One rule, ready to be asked."""

    language: Language
    text: str
    engines: Judges = field(repr=False, compare=False)
    config: bool = False
    """Whether it is given the configuration of the image."""

    spec: bool = False
    metadata: bool = False
    typemeta: bool = False

    @property
    def about_object(self) -> bool:
        """Whether its answer depends on more of the object than the image."""
        return self.spec or self.metadata or self.typemeta

    def judge(self, document: bytes) -> str:
        """Why a JSON document does not satisfy it; nothing if it does."""
        return self.engines.judge(self.language, self.text, document)


@dataclass(slots=True)
class RuleCompiler:
    """Makes the rules of one policy.

    Attributes:
        engines: evaluate; ``None`` where rules are not evaluated.
        texts: for rules that stand elsewhere.
        used: digests of all that verdicts will rest on.
    """

    engines: Judges | None
    texts: Texts = field(default_factory=Texts)
    used: list[str] = field(default_factory=list)

    def compile(self, rule: PolicyText, *, of_attestation: bool = False) -> CompiledRule:
        """The rule.

        Args:
            rule: as the policy has it.
            of_attestation: it is asked about a statement, and told nothing else.

        Raises:
            ValueError: what is wrong, to follow the rule's path.
        """
        language = rule.type or "cel"
        asked = [
            name
            for name, value in (
                ("fetchConfigFile", rule.fetch_config_file),
                ("includeSpec", rule.include_spec),
                ("includeObjectMeta", rule.include_object_meta),
                ("includeTypeMeta", rule.include_type_meta),
            )
            if value
        ]
        if of_attestation and asked:
            raise ValueError(f".{asked[0]}: only spec.policy is told that")
        if self.engines is None:
            raise ValueError(f": rules in {language} are not evaluated here")
        if fault := self.engines.lack(language):
            raise ValueError(f".type: {fault}")
        text = self._text(rule)
        if fault := self.engines.check(language, text):
            raise ValueError(f": it is no rule in {language}: {fault}")
        self.used.append(hashlib.sha256(text.encode()).hexdigest())
        return CompiledRule(
            language=language,
            text=text,
            engines=self.engines,
            config=bool(rule.fetch_config_file),
            spec=bool(rule.include_spec),
            metadata=bool(rule.include_object_meta),
            typemeta=bool(rule.include_type_meta),
        )

    def _text(self, rule: PolicyText) -> str:
        if rule.remote is not None:
            found = self.texts.remote.get(rule.remote.sha256sum or "")
            if found is None or found.text is None:
                why = found.fault if found is not None else "it is not fetched yet"
                raise ValueError(f".remote: {why}")
            return found.text
        place = rule.config_map_ref
        if place is None:
            return rule.data or ""
        if place.namespace not in {None, "", self.texts.namespace}:
            own = self.texts.namespace
            raise ValueError(f".configMapRef: only ConfigMaps of namespace {own} are read")
        entries = self.texts.config_maps.get(place.name or "")
        where = f"ConfigMap {self.texts.namespace}/{place.name}"
        if entries is None:
            raise ValueError(f".configMapRef: {where} does not exist")
        text = entries.get(place.key or "")
        if text is None:
            raise ValueError(f".configMapRef: {where} has no entry {place.key}")
        return text

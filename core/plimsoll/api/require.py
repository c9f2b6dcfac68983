"""``require``: what must be proven about an image, with no policy language."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, StringConstraints

from plimsoll.api.base import StrictModel
from plimsoll.api.meta import Duration, parse_duration

if TYPE_CHECKING:
    from collections.abc import Iterator

Pattern = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
VersionCondition = Annotated[
    str, StringConstraints(max_length=256, pattern=r"^(<|<=|=|>=|>)[^<>=]+$")
]
Severity = Literal["critical", "high", "medium", "low", "negligible", "unknown"]
Kind = Literal["signature", "sbom", "provenance", "vulnerabilities"]


class DeniedPackage(StrictModel):
    """A package that must not be in an image."""

    name: Pattern
    """Name; ``*`` stands for anything."""

    versions: Annotated[list[VersionCondition], Field(max_length=8)] | None = None
    """Conditions that a denied version meets all of: ``>=3.0``, ``<3.0.7``. Default: every version.
    A version that cannot be compared is denied."""


class SbomRules(StrictModel):
    """What a bill of materials must look like and what must not be in it."""

    formats: Annotated[list[Literal["spdx", "cyclonedx"]], Field(max_length=2)] | None = None
    """Formats of which one must be there. Default: both."""

    denied_licenses: Annotated[list[Pattern], Field(max_length=256)] | None = None
    """Licences (SPDX identifiers, ``*`` stands for anything) that no package may need. A package
    that offers a choice passes when some choice needs none of them."""

    denied_packages: Annotated[list[DeniedPackage], Field(max_length=256)] | None = None
    """Packages that must not be in the image."""

    completeness: Annotated[int, Field(ge=1, le=100)] | None = None
    """Per cent of the packages that must state a version, a licence and a purl or CPE."""

    minimum_packages: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """How many packages must be listed at least."""


class Builder(StrictModel):
    """Who may have built an image."""

    id: Pattern
    """``builder.id`` of the provenance; ``*`` stands for anything."""

    level: Annotated[int, Field(ge=1, le=3)] = 2
    """The SLSA Build level that this builder is trusted to have; provenance cannot say it."""


class SourceRule(StrictModel):
    """Where the source may have come from."""

    repository: Pattern
    """Repository as in the provenance, without ``git+``; ``*`` stands for anything."""

    branch: Pattern | None = None
    """Branch that must have been built."""

    tag: Pattern | None = None
    """Tag that must have been built."""


class ProvenanceRules(StrictModel):
    """How an image must have been built; one provenance must satisfy all of it."""

    builders: Annotated[list[Builder], Field(min_length=1, max_length=64)] | None = None
    """Builders of which one must have made it."""

    sources: Annotated[list[SourceRule], Field(min_length=1, max_length=64)] | None = None
    """Sources of which one must have been built: what the build was asked for (``configSource``,
    ``externalParameters``), never its dependencies."""

    level: Annotated[int, Field(ge=1, le=3)] | None = None
    """SLSA Build level that the builder must be trusted to have by ``builders``."""


class Ignored(StrictModel):
    """A vulnerability that is accepted for a time."""

    id: Pattern
    """Its name or an alias of it."""

    reason: Annotated[str, StringConstraints(min_length=1, max_length=1024)]
    """Why it is accepted."""

    until: datetime
    """When that ends."""


class VulnerabilityRules(StrictModel):
    """What the newest vulnerability report may say."""

    max_age: Duration | None = None
    """How old the report may be: ``24h``."""

    severities: Annotated[list[Severity], Field(min_length=1, max_length=6)] = ["critical", "high"]
    """Severities that refuse an image."""

    only_fixable: bool | None = None
    """Count only what has a fix."""

    ignore: Annotated[list[Ignored], Field(max_length=256)] | None = None
    """Vulnerabilities that do not count for a time."""

    vex: bool | None = None
    """Believe OpenVEX statements, attested by an authority of the policy, that the image is not
    affected or is fixed."""


class Freshness(StrictModel):
    """How new an image must be."""

    max_age: Duration
    """How long ago it may have been built, as its provenance says: ``720h``."""


class Require(StrictModel):
    """Evidence that an image must have, each verified by one of the policy's authorities."""

    signature: bool | None = None
    """A signature, also where all authorities ask for attestations."""

    signers: Annotated[int, Field(ge=1, le=32)] | None = None
    """Signatures by this many different signers: keys or identities of any of the authorities.
    Several signatures of one signer count once."""

    sbom: bool | None = None
    """An attested software bill of materials: SPDX or CycloneDX."""

    sbom_rules: SbomRules | None = None
    """What the bill of materials must look like; implies ``sbom``."""

    provenance: bool | None = None
    """Attested SLSA provenance, v0.2 or v1."""

    provenance_rules: ProvenanceRules | None = None
    """How the image must have been built; implies ``provenance``."""

    vulnerabilities: VulnerabilityRules | None = None
    """An attested vulnerability report (cosign's type with the JSON of Trivy or Grype, or in-toto's
    own type) and what it may say."""

    freshness: Freshness | None = None
    """How long ago the image may have been built; implies ``provenance``."""

    digest: bool | None = None
    """The pod must name the image by digest."""

    @property
    def wanted(self) -> tuple[Kind, ...]:
        """The kinds of evidence asked for, in the order that messages name them."""
        asked: dict[Kind, object] = {
            "signature": self.signature or self.signers,
            "sbom": self.sbom or self.sbom_rules,
            "provenance": self.provenance or self.provenance_rules or self.freshness,
            "vulnerabilities": self.vulnerabilities,
        }
        return tuple(kind for kind, value in asked.items() if value)


def check_require(require: Require) -> Iterator[str]:
    """What is wrong with it beyond its structure."""
    path = "spec.require"
    if not (require.wanted or require.digest):
        fields = ", ".join(f"{path}.{name}" for name in ("signature", "sbom", "provenance"))
        yield f"missing field(s): {fields}"
    rules = require.provenance_rules
    if rules is not None and (rules.level or 1) > 1 and not rules.builders:
        yield f"missing field(s): {path}.provenanceRules.builders: a level is that of a builder"
    for index, source in enumerate((rules.sources if rules else None) or []):
        if source.branch and source.tag:
            where = f"{path}.provenanceRules.sources[{index}]"
            yield f"expected exactly one, got both: {where}.branch, {where}.tag"
    for name, holder in (
        ("vulnerabilities", require.vulnerabilities),
        ("freshness", require.freshness),
    ):
        if holder is not None and holder.max_age:
            try:
                parse_duration(holder.max_age)
            except ValueError as error:
                yield f"invalid value: {holder.max_age}: {path}.{name}.maxAge: {error}"
    for index, ignored in enumerate(
        (require.vulnerabilities.ignore if require.vulnerabilities else None) or []
    ):
        if ignored.until.tzinfo is None:
            yield f"invalid value: {path}.vulnerabilities.ignore[{index}].until: no time zone"

"""``require.sbomRules``: pure, over the predicate of a verified attestation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plimsoll.api.predicates import SPDX
from plimsoll.apk.version import try_version
from plimsoll.webhook.patterns import like
from plimsoll.webhook.sbomformats import Component, components

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from plimsoll.api.require import DeniedPackage, SbomRules
    from plimsoll.signing.results import VerifiedAttestation

_SHOWN = 3


def sbom_failures(rules: SbomRules, documents: Sequence[VerifiedAttestation]) -> Iterator[str]:
    """Why the verified bills of materials of an image are not good enough.

    Nothing denied may stand in any of them; one must have a wanted format and be complete enough.
    """
    reasons: list[str] = []
    good = False
    for document in documents:
        kind = "spdx" if document.predicate_type.startswith(SPDX) else "cyclonedx"
        try:
            found = list(components(document))
        except ValueError as error:
            yield f"the SBOM ({kind}) cannot be read: {error}"
            continue
        yield from _denied(rules, found)
        why = _too_little(rules, kind, found)
        good |= not why
        reasons += [why] if why else []
    if not good and reasons:
        yield "no SBOM is good enough: " + "; ".join(dict.fromkeys(reasons))


def _denied(rules: SbomRules, found: Sequence[Component]) -> Iterator[str]:
    for denied in rules.denied_packages or []:
        for component in found:
            if like(denied.name, component.name) and _version_denied(denied, component.version):
                yield f"package {component} is denied"
    patterns = [one.lower() for one in rules.denied_licenses or []]
    bad = [
        f"{component.name} ({expression})"
        for component in found
        for expression in component.licenses
        if patterns and license_denied(expression, patterns)
    ]
    if bad:
        more = f" and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
        yield f"a licence is denied: {', '.join(bad[:_SHOWN])}{more}"


def _version_denied(denied: DeniedPackage, text: str) -> bool:
    version = try_version(text)
    for condition in denied.versions or []:
        operand = condition.lstrip("<>=")
        operator = condition[: len(condition) - len(operand)]
        bound = try_version(operand.strip())
        if version is None or bound is None:
            continue  # what cannot be compared is denied
        order = (version > bound) - (version < bound)
        if order not in _ORDERS[operator]:
            return False
    return True


_ORDERS = {"<": {-1}, "<=": {-1, 0}, "=": {0}, ">=": {0, 1}, ">": {1}}


def license_denied(expression: str, patterns: Sequence[str]) -> bool:
    """Whether a licence expression cannot be satisfied without a denied licence.

    Args:
        expression: SPDX expression, or any name.
        patterns: in lower case.
    """
    # A large library that few policies need.
    from license_expression import (  # type: ignore[import-untyped]  # noqa: PLC0415
        ExpressionError,
        Licensing,
    )

    licensing = Licensing()
    try:
        tree = licensing.parse(expression)
    except (ExpressionError, ValueError, RecursionError):
        tree = None
    if tree is None:
        words = expression.replace("(", " ").replace(")", " ").split()
        return any(_matches(text, patterns) for text in [expression, *words])

    def denied(node: Any) -> bool:
        if isinstance(node, licensing.AND):
            return any(denied(one) for one in node.args)
        if isinstance(node, licensing.OR):
            return all(denied(one) for one in node.args)
        return any(_matches(text, patterns) for text in [str(node), *map(str, node.decompose())])

    return denied(tree)


def _matches(text: str, patterns: Sequence[str]) -> bool:
    return any(like(pattern, text.lower()) for pattern in patterns)


def _too_little(rules: SbomRules, kind: str, found: Sequence[Component]) -> str:
    if rules.formats and kind not in rules.formats:
        return f"it is {kind}, not {' or '.join(rules.formats)}"
    if len(found) < (rules.minimum_packages or 0):
        return f"it lists {len(found)} packages, not {rules.minimum_packages}"
    if rules.completeness:
        complete = sum(one.complete for one in found)
        if not found or complete * 100 < rules.completeness * len(found):
            return (
                f"{complete} of {len(found)} packages state version, licence and purl or CPE, "
                f"not {rules.completeness} %"
            )
    return ""

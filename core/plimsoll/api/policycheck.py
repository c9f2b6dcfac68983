"""Reading a ClusterImagePolicy strictly: every fault with the path of its field.

Messages follow the pattern of policy-controller (``invalid value: X: spec.path``,
``missing field(s): …``, ``expected exactly one, got both: …``), so people find known texts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from plimsoll.api.authoritycheck import check_authority, check_text, short
from plimsoll.api.imageglob import Glob
from plimsoll.api.policy import ClusterImagePolicySpec, MatchResource
from plimsoll.api.require import check_require

if TYPE_CHECKING:
    from collections.abc import Iterator

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
            yield f"invalid value: {short(fault['input'])}: {path} ({fault['msg']})"
        else:
            yield f"invalid value: {short(fault['input'])}: {path}: {fault['msg']}"


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
            yield f"invalid value: {short(pattern.glob)}: {path}"
    if not spec.authorities and not allow_no_authorities:
        yield "missing field(s): spec.authorities"
    names: set[str] = set()
    for index, authority in enumerate(spec.authorities or []):
        path = f"spec.authorities[{index}]"
        name = authority.name or f"authority-{index}"
        if name in names:
            yield f"duplicate name: {name}: {path}.name"
        names.add(name)
        yield from check_authority(authority, path)
    if spec.policy is not None:
        yield from check_text(spec.policy, "spec.policy")
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


def _check_match(match: MatchResource, path: str) -> Iterator[str]:
    if not match.resource:
        yield f"missing field(s): {path}.resource"
        return
    if match.resource not in MATCHABLE:
        yield f"invalid value: {short(match.resource)}: {path}.resource"
        return
    if (match.group or "") != MATCHABLE[match.resource]:
        yield f"invalid value: {short(match.group or '')}: {path}.group"
    if (match.version or "v1") != "v1":
        yield f"invalid value: {short(match.version)}: {path}.version"

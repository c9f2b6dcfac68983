"""ClusterImagePolicy: which images may run, and what must vouch for them.

The schema is that of sigstore policy-controller (``policy.sigstore.dev/v1beta1``), whose objects
are read by the same models, plus ``require``. Structure is fixed here; what the structure cannot
say is in ``plimsoll.api.policycheck``.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from plimsoll.api.authority import Authority
from plimsoll.api.base import Model, StrictModel
from plimsoll.api.meta import Conditions, cel
from plimsoll.api.policytext import Name, PolicyText, Text
from plimsoll.api.require import Require

SIGSTORE_GROUP = "policy.sigstore.dev"
SIGSTORE_VERSIONS = ("v1beta1", "v1alpha1")

_MATCHABLE = [
    *("pods", "replicationcontrollers", "replicasets", "deployments"),
    *("statefulsets", "daemonsets", "jobs", "cronjobs"),
]


class ImagePattern(StrictModel):
    """A set of images by name."""

    model_config = cel(
        (
            "has(self.glob) && self.glob.matches('^[a-zA-Z0-9\\\\-_:/*.@]+$')",
            "a glob has letters, digits and - _ : / * . @ only",
        )
    )

    glob: Text | None = None
    """Glob over the full reference, e.g. ``registry.example/team/**``. ``*`` stands for anything
    but ``/``, ``**`` for anything. References are completed first:
    ``nginx`` is ``index.docker.io/library/nginx:latest``. A bare ``*`` means the official images
    of Docker Hub, ``*/*`` all of Docker Hub."""


class LabelSelectorRequirement(StrictModel):
    """One condition on labels."""

    key: Annotated[str, StringConstraints(max_length=317)]
    """Label key."""

    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """How the label's value relates to ``values``."""

    values: Annotated[
        list[Annotated[str, StringConstraints(max_length=63)]], Field(max_length=64)
    ] = []
    """Values for ``In`` and ``NotIn``."""


class LabelSelector(StrictModel):
    """Which labels an object must have."""

    match_labels: dict[str, str] | None = None
    """Labels that must all be there with these values."""

    match_expressions: Annotated[list[LabelSelectorRequirement], Field(max_length=32)] | None = None
    """Conditions that must all hold."""


class MatchResource(StrictModel):
    """Kind of object that a policy is about."""

    model_config = cel(
        (
            f"has(self.resource) && self.resource in {_MATCHABLE}",
            f"resource is one of {', '.join(_MATCHABLE)}",
        ),
        ("!has(self.version) || self.version == 'v1'", "version is v1"),
    )

    group: Name | None = None
    """API group; empty for the core group."""

    version: Name | None = None
    """API version."""

    resource: Name | None = None
    """Plural name: ``pods``, ``deployments``, …"""

    selector: LabelSelector | None = None
    """Only objects with these labels."""


class ClusterImagePolicySpec(StrictModel):
    """What images the policy is about and what must vouch for them.

    Every policy that matches an image must pass; a policy passes when any one of its authorities
    does and everything in ``require`` is there.
    """

    model_config = cel(
        ("has(self.images) && self.images.size() > 0", "needs images"),
        (
            "has(self.authorities) && self.authorities.size() > 0",
            "needs authorities; one that is static admits or refuses without evidence",
        ),
        (
            (
                "!has(self.require) || self.authorities.exists(a, !has(a.static)) || "
                "(has(self.require.digest) && self.require.digest)"
            ),
            "nobody could vouch for what is required; add an authority with a key",
        ),
    )

    images: Annotated[list[ImagePattern], Field(max_length=256)] | None = None
    """Images the policy is about; any pattern may match."""

    authorities: Annotated[list[Authority], Field(max_length=64)] | None = None
    """Who may vouch for an image; one of them is enough."""

    require: Require | None = None
    """Evidence that an image must have beside what its authorities ask for."""

    policy: PolicyText | None = None
    """Rule over what all authorities found."""

    mode: Literal["enforce", "warn", "audit"] = "enforce"
    """``enforce`` refuses an image that fails, ``warn`` admits it with a warning, ``audit`` says so
    in the audit log, the webhook's log and its metrics only."""

    match: Annotated[list[MatchResource], Field(max_length=32)] | None = None
    """Only these kinds of object, all when empty. Workloads (Deployments and the like) are only
    warned about unless a policy names them here."""


class PolicyStatus(Model):
    """What the webhook made of the policy."""

    observed_generation: int | None = None
    """Generation of the spec that the conditions speak of."""

    conditions: Conditions = []
    """``Ready``: the policy is understood and in force."""

"""Every kind of the API group."""

from __future__ import annotations

from plimsoll.api import imagebuild, packagerepo
from plimsoll.api.meta import AGE, READY, REASON, Column, Definition
from plimsoll.api.policy import ClusterImagePolicySpec, PolicyStatus
from plimsoll.api.trustroot import TrustRootSpec

CLUSTER_IMAGE_POLICY = Definition(
    kind="ClusterImagePolicy",
    plural="clusterimagepolicies",
    description=(
        "Which images may run in the cluster, and what must vouch for them. The schema is that of "
        "sigstore policy-controller, plus `require`."
    ),
    spec=ClusterImagePolicySpec,
    status=PolicyStatus,
    namespaced=False,
    short_names=("cip",),
    columns=(
        Column("Mode", ".spec.mode"),
        READY,
        REASON,
        AGE,
    ),
)

TRUST_ROOT = Definition(
    kind="TrustRoot",
    plural="trustroots",
    description="Whose certificates, transparency logs and timestamps are believed.",
    spec=TrustRootSpec,
    status=PolicyStatus,
    namespaced=False,
    columns=(READY, REASON, AGE),
)

DEFINITIONS: tuple[Definition, ...] = (
    imagebuild.DEFINITION,
    packagerepo.DEFINITION,
    CLUSTER_IMAGE_POLICY,
    TRUST_ROOT,
)

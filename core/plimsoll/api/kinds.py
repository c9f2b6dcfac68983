"""Every kind of the API group."""

from __future__ import annotations

from plimsoll.api import imagebuild, packagerepo
from plimsoll.api.meta import AGE, READY, REASON, Column, Definition
from plimsoll.api.policy import ClusterImagePolicySpec, PolicyStatus
from plimsoll.api.policyexception import ImagePolicyExceptionSpec
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

IMAGE_POLICY = Definition(
    kind="ImagePolicy",
    plural="imagepolicies",
    description=(
        "What images of one namespace must satisfy beside the policies of the cluster. It can only "
        "tighten: it admits nothing that those refuse."
    ),
    spec=ClusterImagePolicySpec,
    status=PolicyStatus,
    short_names=("ip",),
    columns=(Column("Mode", ".spec.mode"), READY, REASON, AGE),
)

IMAGE_POLICY_EXCEPTION = Definition(
    kind="ImagePolicyException",
    plural="imagepolicyexceptions",
    description="Images that need not satisfy some policies of the cluster for a time.",
    spec=ImagePolicyExceptionSpec,
    status=PolicyStatus,
    short_names=("ipe",),
    columns=(Column("Until", ".spec.until", "date"), READY, REASON, AGE),
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
    IMAGE_POLICY,
    IMAGE_POLICY_EXCEPTION,
    TRUST_ROOT,
)

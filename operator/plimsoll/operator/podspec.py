"""What the manifests of all Jobs share. Pure: same input, same bytes.

Every container is confined as the ``restricted`` Pod Security Standard asks, and no pod holds a
token of the API server.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from plimsoll.api.meta import API_VERSION, GROUP, parse_duration

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plimsoll.api.jobspec import JobSpec, Resources
    from plimsoll.api.meta import LocalReference, ObjectMeta
    from plimsoll.operator.settings import JobSettings

Manifest = dict[str, Any]
OwnerKind = Literal["ImageBuild", "PackageRepo"]

BUILD_LABEL = f"{GROUP}/build"
STEP_LABEL = f"{GROUP}/step"
ARCH_LABEL = f"{GROUP}/arch"
VARIANT_LABEL = f"{GROUP}/variant"
REQUEST_LABEL = f"{GROUP}/request"
MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "plimsoll-operator"

USER = 65532
RETRIES = 2
REQUEST_FILE = "request.json"
REQUEST_DIR = "/etc/plimsoll/request"

_DOCKER_DIR = "/etc/plimsoll/docker"
_CACHE_DIR = "/var/cache/plimsoll"


def owner_label(kind: OwnerKind) -> str:
    """Label of everything that the operator makes for an object; the value is its uid."""
    return f"{GROUP}/{kind.lower()}-uid"


def name_annotation(kind: OwnerKind) -> str:
    """Annotation with the name of the object, which may be too long for a label."""
    return f"{GROUP}/{kind.lower()}"


def metadata(kind: OwnerKind, owner: ObjectMeta, name: str, labels: Mapping[str, str]) -> Manifest:
    """Metadata of something that belongs to one of our objects."""
    return {
        "name": name,
        "namespace": owner.namespace,
        "labels": {
            MANAGED_BY: MANAGER,
            "app.kubernetes.io/component": "build",
            owner_label(kind): owner.uid,
            **labels,
        },
        "annotations": {name_annotation(kind): owner.name},
        "ownerReferences": [
            {
                "apiVersion": API_VERSION,
                "kind": kind,
                "name": owner.name,
                "uid": owner.uid,
                "controller": True,
            }
        ],
    }


@dataclass(slots=True)
class Mounts:
    """Volumes of a pod, with where its step sees them."""

    volumes: list[Manifest] = field(default_factory=list)
    mounts: list[Manifest] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, path: str, source: Manifest, *, read_only: bool = True) -> None:
        """Mount a volume."""
        self.volumes.append({"name": name, **source})
        mount: Manifest = {"name": name, "mountPath": path}
        if read_only:
            mount["readOnly"] = True
        self.mounts.append(mount)

    def secret(self, name: str, path: str, secret: str) -> None:
        """Mount all entries of a Secret."""
        self.add(name, path, {"secret": {"secretName": secret, "defaultMode": 0o440}})


def step_mounts(request: str, spec: JobSpec, login: LocalReference | None) -> Mounts:
    """What a step of ours sees: its request, scratch space, the cache, the registry's login.

    Args:
        request: name of the ConfigMap with the request; empty for none.
        spec: how Jobs run.
        login: Secret of type ``kubernetes.io/dockerconfigjson``.
    """
    found = Mounts(
        environment={"HOME": "/tmp", "TMPDIR": "/tmp", "XDG_CACHE_HOME": _CACHE_DIR}  # noqa: S108  the pod's own
    )
    if request:
        found.add("request", REQUEST_DIR, {"configMap": {"name": request}})
    found.add("tmp", "/tmp", {"emptyDir": {}}, read_only=False)  # noqa: S108  the pod's own
    cache: Manifest = {"emptyDir": {}}
    if spec.cache_claim:
        cache = {"persistentVolumeClaim": {"claimName": spec.cache_claim.name}}
    found.add("cache", _CACHE_DIR, cache, read_only=False)
    if login is not None:
        item = {"key": ".dockerconfigjson", "path": "config.json"}
        source = {"secretName": login.name, "items": [item], "defaultMode": 0o440}
        found.add("docker", _DOCKER_DIR, {"secret": source})
        found.environment["DOCKER_CONFIG"] = _DOCKER_DIR
    return found


def container(
    name: str, image: str, *, resources: Resources | None = None, read_only_root: bool = True
) -> Manifest:
    """A confined container; what it runs is up to the caller."""
    made: Manifest = {
        "name": name,
        "image": image,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": read_only_root,
        },
    }
    if resources is not None:
        made["resources"] = plain(resources)
    return made


def step_container(
    command: Sequence[str],
    arguments: Sequence[str],
    mounts: Mounts,
    settings: JobSettings,
    resources: Resources | None,
) -> Manifest:
    """The container of a step of ours."""
    made = container("step", settings.image, resources=resources)
    made["imagePullPolicy"] = settings.pull_policy
    made["command"] = ["plimsoll", "step", *command]
    made["args"] = list(arguments)
    made["env"] = [{"name": name, "value": value} for name, value in mounts.environment.items()]
    made["volumeMounts"] = mounts.mounts
    return made


def pod(  # noqa: PLR0913  what pods differ in
    containers: Sequence[Manifest],
    volumes: Sequence[Manifest],
    spec: JobSpec,
    settings: JobSettings,
    *,
    account: str,
    user: int | None = USER,
    non_root: bool = False,
    group: bool = True,
    pull_secrets: Sequence[str] = (),
    node_selector: Mapping[str, str] | None = None,
) -> Manifest:
    """A confined pod.

    Args:
        containers: of the pod.
        volumes: of the pod.
        spec: how Jobs run.
        settings: how all Jobs run.
        account: its ServiceAccount.
        user: whom it runs as; ``None`` for whom its images say.
        non_root: refuse images that say root.
        group: let volumes belong to the user's group, which sets the bit setgid on their folders.
        pull_secrets: Secrets to pull images with, beside those of the settings.
        node_selector: labels of nodes, beside those of ``spec``.
    """
    made: Manifest = {
        "restartPolicy": "Never",
        "serviceAccountName": account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            **_identity(user, non_root=non_root),
            **({"fsGroup": user, "fsGroupChangePolicy": "OnRootMismatch"} if group else {}),
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": list(containers),
        "volumes": list(volumes),
    }
    if names := dict.fromkeys([*settings.pull_secrets, *pull_secrets]):
        made["imagePullSecrets"] = [{"name": name} for name in names]
    if selector := {**(spec.node_selector or {}), **(node_selector or {})}:
        made["nodeSelector"] = selector
    if spec.tolerations:
        made["tolerations"] = [plain(toleration) for toleration in spec.tolerations]
    if priority := spec.priority_class_name or settings.priority_class:
        made["priorityClassName"] = priority
    return made


def _identity(user: int | None, *, non_root: bool) -> Manifest:
    if user is None:
        return {"runAsNonRoot": True} if non_root else {}
    return {"runAsNonRoot": user != 0, "runAsUser": user, "runAsGroup": user}


def job(about: Manifest, template: Manifest, *, seconds: int, retries: int = RETRIES) -> Manifest:
    """A Job of one pod.

    Args:
        about: its metadata; labels and annotations are the pod's too.
        template: the pod.
        seconds: how long it may take, its retries included.
        retries: how often a failed pod is tried again; one that ends with status 2 or 3 is not.
    """
    rules: list[Manifest] = [
        {
            "action": "Ignore",
            "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
        }
    ]
    if retries:
        codes = {"containerName": "step", "operator": "In", "values": [2, 3]}
        rules.append({"action": "FailJob", "onExitCodes": codes})
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": about,
        "spec": {
            "backoffLimit": retries,
            "activeDeadlineSeconds": max(seconds, 1),
            "completions": 1,
            "parallelism": 1,
            "podFailurePolicy": {"rules": rules},
            "template": {
                "metadata": {"labels": about["labels"], "annotations": about["annotations"]},
                "spec": template,
            },
        },
    }


def without_names(pod: Manifest) -> None:
    """No name server: names do not get out where packets do not."""
    pod["dnsPolicy"] = "None"
    pod["dnsConfig"] = {"nameservers": ["127.0.0.1"]}


def node_arch(arch: str) -> str:
    """What ``kubernetes.io/arch`` of a node is: ``arm`` for all of its variants."""
    return arch.partition("/")[0]


def seconds_of(spec: JobSpec) -> int:
    """How long each Job may take."""
    return int(parse_duration(spec.timeout).total_seconds())


def service_account(namespace: str, name: str) -> Manifest:
    """An account without any right, and without a token."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": namespace, "labels": {MANAGED_BY: MANAGER}},
        "automountServiceAccountToken": False,
    }


def plain(model: Any) -> Manifest:
    """A model as the API server takes it."""
    data: Manifest = json.loads(model.model_dump_json(by_alias=True, exclude_none=True))
    return data

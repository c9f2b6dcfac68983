"""AdmissionReview (admission.k8s.io/v1): reading requests.

Pure. Whatever does not have the shape that the API server sends raises ``BadReviewError``, which
the server turns into a denial: a request that is not understood is never admitted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypedDict

from plimsoll.webhook.errors import BadReviewError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: Containers of a pod spec: field → how messages name one.
_CONTAINERS = {
    "initContainers": "init container",
    "containers": "container",
    "ephemeralContainers": "ephemeral container",
}


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind whose objects carry images.

    Attributes:
        resource: plural name, as rules and policies have it.
        path: where the pod's metadata and spec stand inside the object.
    """

    resource: str
    path: tuple[str, ...]

    @property
    def is_pod(self) -> bool:
        """Whether objects of the kind run containers themselves."""
        return not self.path


#: API group and kind → what is known about it.
KINDS: Mapping[tuple[str, str], Kind] = {
    ("", "Pod"): Kind("pods", ()),
    ("", "ReplicationController"): Kind("replicationcontrollers", ("spec", "template")),
    ("apps", "ReplicaSet"): Kind("replicasets", ("spec", "template")),
    ("apps", "Deployment"): Kind("deployments", ("spec", "template")),
    ("apps", "StatefulSet"): Kind("statefulsets", ("spec", "template")),
    ("apps", "DaemonSet"): Kind("daemonsets", ("spec", "template")),
    ("batch", "Job"): Kind("jobs", ("spec", "template")),
    ("batch", "CronJob"): Kind("cronjobs", ("spec", "jobTemplate", "spec", "template")),
}
#: Operations and sub-resources that start no image.
_HARMLESS_OPERATIONS = frozenset({"DELETE"})
_HARMLESS_SUBRESOURCES = frozenset({"status", "resize", "scale"})


@dataclass(frozen=True, slots=True)
class ImageUse:
    """One place of an object that names an image."""

    role: str
    """``container``, ``init container``, ``ephemeral container`` or ``image volume``."""

    name: str
    """Name of the container or volume."""

    image: str
    """The reference as the object writes it."""

    path: str = field(default="", compare=False)
    """Where it stands in the object, as a JSON pointer (RFC 6901)."""

    def __str__(self) -> str:
        return f"{self.role} {self.name!r}"


@dataclass(frozen=True, slots=True)
class Review:
    """What the webhook is asked."""

    uid: str
    group: str
    kind: str
    resource: str
    subresource: str
    operation: str
    namespace: str
    name: str
    user: str
    is_pod: bool
    dry_run: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    images: tuple[ImageUse, ...] = ()
    """The images to check: all of a new object, the changed ones of an update."""

    settled: frozenset[ImageUse] = frozenset()
    """Those among them that were there before, and cannot be changed."""

    pull_secrets: tuple[str, ...] = ()
    service_account: str = "default"
    object: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """The whole object, for rules that ask about more than its images."""


class _About(TypedDict):
    """The part of a ``Review`` that every request has."""

    uid: str
    group: str
    kind: str
    resource: str
    subresource: str
    operation: str
    namespace: str
    name: str
    user: str
    is_pod: bool
    dry_run: bool


def uid_of(review: Mapping[str, Any]) -> str:
    """The ``uid`` to echo.

    Raises:
        BadReviewError: no AdmissionReview v1, or none.
    """
    if review.get("apiVersion") != "admission.k8s.io/v1" or review.get("kind") != "AdmissionReview":
        raise BadReviewError("the request is no AdmissionReview of admission.k8s.io/v1")
    request = review.get("request")
    if not isinstance(request, dict):
        raise BadReviewError("the AdmissionReview has no request")
    uid = request.get("uid")
    if not isinstance(uid, str) or not uid:
        raise BadReviewError("the request has no uid")
    return uid


def read(document: Mapping[str, Any]) -> Review:
    """Read a decoded AdmissionReview.

    Raises:
        BadReviewError: naming the part that is not understood.
    """
    uid = uid_of(document)
    request = document["request"]
    kind = _mapping(request, "request", "kind")
    group, name = _text(kind, "group"), _text(kind, "kind")
    operation = _text(request, "operation")
    subresource = _text(request, "subResource")
    known = KINDS.get((group, name))
    if known is None:
        raise BadReviewError(
            f"{_gk(group, name)} is no kind that this webhook knows",
            hint="take it out of the rules of the ValidatingWebhookConfiguration",
        )
    about = _About(
        uid=uid,
        group=group,
        kind=name,
        resource=known.resource,
        subresource=subresource,
        operation=operation,
        namespace=_text(request, "namespace"),
        name=_text(request, "name"),
        user=_text(_mapping(request, "request", "userInfo", optional=True), "username"),
        is_pod=known.is_pod,
        dry_run=request.get("dryRun") is True,
    )
    if operation in _HARMLESS_OPERATIONS or subresource in _HARMLESS_SUBRESOURCES:
        return Review(**about)
    if operation not in {"CREATE", "UPDATE"} or subresource not in {"", "ephemeralcontainers"}:
        raise BadReviewError(f"{operation} of {known.resource}/{subresource} is not understood")
    return _with_images(about, known, request)


def _with_images(about: _About, kind: Kind, request: Mapping[str, Any]) -> Review:
    target = _mapping(request, "request", "object")
    metadata = _mapping(target, "object", "metadata", optional=True)
    spec = _pod_spec(target, kind, "object")
    images = tuple(_images(spec, "object", strict=kind.is_pod))
    before: set[ImageUse] = set()
    old = request.get("oldObject")
    if about["operation"] == "UPDATE" and old is not None:
        if not isinstance(old, dict):
            raise BadReviewError("oldObject is no object")
        before = set(_images(_pod_spec(old, kind, "oldObject"), "oldObject", strict=False))
        # Adding an ephemeral container asks anew about all of them: they cannot be removed again.
        keep = "ephemeral container" if about["subresource"] == "ephemeralcontainers" else ""
        images = tuple(use for use in images if use not in before or use.role == keep)
    secrets = spec.get("imagePullSecrets") or []
    if not isinstance(secrets, list):
        raise BadReviewError("spec.imagePullSecrets is no list")
    if not about["name"]:
        about["name"] = _text(metadata, "name") or _text(metadata, "generateName")
    return Review(
        **about,
        labels=_mapping(metadata, "metadata", "labels", optional=True),
        images=images,
        settled=frozenset(before.intersection(images)),
        pull_secrets=tuple(
            _text(item, "name") for item in secrets if isinstance(item, dict) and item.get("name")
        ),
        service_account=_text(spec, "serviceAccountName") or "default",
        object=target,
    )


def _pod_spec(target: Mapping[str, Any], kind: Kind, what: str) -> Mapping[str, Any]:
    holder: Mapping[str, Any] = target
    for step in kind.path:
        holder = _mapping(holder, what, step, optional=True)
    return _mapping(holder, what, "spec", optional=not kind.is_pod)


def _images(spec: Mapping[str, Any], what: str, *, strict: bool) -> Iterator[ImageUse]:
    """All images of a pod spec; a workload's template may leave an image to be filled in later."""
    for key, role in _CONTAINERS.items():
        for number, item in enumerate(_items(spec, what, key)):
            if not (image := _image(role, item.get("image"), f"{what}.spec.{key}", strict=strict)):
                continue
            yield ImageUse(role, _text(item, "name"), image, f"/spec/{key}/{number}/image")
    for number, item in enumerate(_items(spec, what, "volumes")):
        source = item.get("image")
        if source is None:
            continue
        if not isinstance(source, dict):
            raise BadReviewError(f"{what}.spec.volumes has an image that is no object")
        role, path = "image volume", f"/spec/volumes/{number}/image/reference"
        if image := _image(role, source.get("reference"), f"{what}.spec.volumes", strict=strict):
            yield ImageUse(role, _text(item, "name"), image, path)


def _image(role: str, image: Any, what: str, *, strict: bool) -> str:
    if image is None or image == "":
        if strict:
            raise BadReviewError(f"{what} has a {role} without an image")
        return ""
    if not isinstance(image, str):
        raise BadReviewError(f"{what} has a {role} whose image is no text")
    return image


def _items(spec: Mapping[str, Any], what: str, key: str) -> list[Mapping[str, Any]]:
    items = spec.get(key)
    if items is None:
        return []
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise BadReviewError(f"{what}.spec.{key} is no list of objects")
    return items


def _mapping(
    holder: Mapping[str, Any], what: str, key: str, *, optional: bool = False
) -> Mapping[str, Any]:
    value = holder.get(key)
    if value is None and optional:
        return {}
    if not isinstance(value, dict):
        raise BadReviewError(f"{what}.{key} is {'missing' if value is None else 'no object'}")
    return value


def _text(holder: Mapping[str, Any], key: str) -> str:
    value = holder.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadReviewError(f"{key} is no text")
    return value


def _gk(group: str, kind: str) -> str:
    return f"{kind}.{group}" if group else kind or "an object without kind"

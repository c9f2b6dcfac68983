"""URL paths of the kinds that we touch."""

from __future__ import annotations

from urllib.parse import quote

_OURS = "/apis/plimsoll.dev/v1alpha1"

#: Kind → API root and plural name.
_KINDS = {
    "ConfigMap": ("/api/v1", "configmaps"),
    "Event": ("/api/v1", "events"),
    "ImageBuild": (_OURS, "imagebuilds"),
    "Job": ("/apis/batch/v1", "jobs"),
    "NetworkPolicy": ("/apis/networking.k8s.io/v1", "networkpolicies"),
    "PackageRepo": (_OURS, "packagerepos"),
    "Pod": ("/api/v1", "pods"),
    "Secret": ("/api/v1", "secrets"),
    "ServiceAccount": ("/api/v1", "serviceaccounts"),
}


def path(kind: str, namespace: str = "", name: str = "", subresource: str = "") -> str:
    """Path of an object; of a collection without ``name``; of all namespaces without one."""
    root, plural = _KINDS[kind]
    parts = [root]
    if namespace:
        parts.append(f"namespaces/{quote(namespace, safe='')}")
    parts.append(plural)
    if name:
        parts.append(quote(name, safe=""))
    if subresource:
        parts.append(subresource)
    return "/".join(parts)

"""Our objects in the API server: those that others refer to, and what we write into them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plimsoll.api.packagerepo import PackageRepo
from plimsoll.kube.paths import path
from plimsoll.operator.podspec import plain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from plimsoll.api.base import Model
    from plimsoll.kube.client import KubeClient
    from plimsoll.operator.podspec import OwnerKind
    from plimsoll.operator.workqueue import Key

Body = dict[str, Any]


async def find_repositories(
    kube: KubeClient, namespace: str, names: Iterable[str | None]
) -> dict[str, PackageRepo]:
    """Those PackageRepos of these names that exist.

    Raises:
        KubeError: the API server is not reachable.
    """
    repositories: dict[str, PackageRepo] = {}
    for name in names:
        if name is not None:
            found = await kube.find(path("PackageRepo", namespace, name))
            if found is not None:
                repositories[name] = PackageRepo.model_validate(found)
    return repositories


async def write_status(
    kube: KubeClient, kind: OwnerKind, key: Key, body: Body, statuses: tuple[Model, Model]
) -> Body:
    """Write the status of an object if it is another one.

    Args:
        kube: the API server.
        kind: of the object.
        key: of the object.
        body: the object as the API server gave it.
        statuses: what is in it, and what is to be.

    Returns:
        The object as it is now.

    Raises:
        KubeError: the API server is not reachable, or somebody wrote in between (409).
    """
    old, new = map(plain, statuses)
    if new == old and body.get("status") is not None:
        return body
    where = path(kind, key.namespace, key.name, "status")
    return await kube.replace(where, {**body, "status": new})

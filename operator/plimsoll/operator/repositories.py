"""PackageRepos: those of others are followed, those of our own are built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog
from pydantic import ValidationError

from plimsoll.api.packagerepo import PackageRepo
from plimsoll.kube.paths import path
from plimsoll.operator.controller import Done
from plimsoll.operator.specs import explain

if TYPE_CHECKING:
    from plimsoll.kube.client import KubeClient
    from plimsoll.operator.follow import Follower
    from plimsoll.operator.packagecontroller import PackageBuilder
    from plimsoll.operator.workqueue import Key

log = structlog.get_logger(__name__)
Body = dict[str, Any]


class PackageRepoController:
    """Reconciles PackageRepos."""

    def __init__(self, kube: KubeClient, follower: Follower, builder: PackageBuilder) -> None:
        self._kube = kube
        self._follower = follower
        self._builder = builder

    async def reconcile(self, key: Key) -> Done:
        """Look at one PackageRepo and do what is to be done.

        Raises:
            KubeError: the API server is not reachable, or somebody wrote in between (409).
        """
        body = await self._kube.find(path("PackageRepo", key.namespace, key.name))
        if body is None:
            self._builder.forget(key)
            return Done(gone=True)
        repo, fault = read(body)
        if repo.metadata.deletion_timestamp is not None:
            return Done()
        if repo.spec.upstream is not None:
            return await self._follower.reconcile(body, repo)
        return await self._builder.reconcile(key, body, repo, fault)


def read(body: Body) -> tuple[PackageRepo, str]:
    """A PackageRepo as the API server gives it, and what is wrong with its spec.

    The CRD's schema is looser than the model. A spec that the model refuses is replaced by an
    empty one beside the fault, so that the object's state can still be told.

    Raises:
        ValueError: not even its metadata can be read.
    """
    known = {name: body[name] for name in ("metadata", "spec", "status") if name in body}
    try:
        return PackageRepo.model_validate(known), ""
    except ValidationError as error:
        fault = explain(error)
    for status in (known.get("status") or {}, {}):
        try:
            return PackageRepo.model_validate({**known, "spec": {}, "status": status}), fault
        except ValidationError:
            log.warning("status cannot be read", name=body["metadata"].get("name"))
    raise ValueError(f"the metadata of {body['metadata'].get('name')} cannot be read")

"""PackageRepos: those of others are followed, those of our own are built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.api.packagerepo import PackageRepo
from plimsoll.kube.paths import path
from plimsoll.operator.controller import Done

if TYPE_CHECKING:
    from plimsoll.kube.client import KubeClient
    from plimsoll.operator.follow import Follower
    from plimsoll.operator.workqueue import Key


class PackageRepoController:
    """Reconciles PackageRepos."""

    def __init__(self, kube: KubeClient, follower: Follower) -> None:
        self._kube = kube
        self._follower = follower

    async def reconcile(self, key: Key) -> Done:
        """Look at one PackageRepo and do what is to be done.

        Raises:
            KubeError: the API server is not reachable, or somebody wrote in between (409).
        """
        body = await self._kube.find(path("PackageRepo", key.namespace, key.name))
        if body is None:
            return Done(gone=True)
        repo = PackageRepo.model_validate(
            {name: body[name] for name in ("metadata", "spec", "status") if name in body}
        )
        if repo.metadata.deletion_timestamp is not None or repo.spec.upstream is None:
            return Done()
        return await self._follower.reconcile(body, repo)

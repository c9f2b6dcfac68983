"""Kopf's part: watches that feed the queue. Everything else is in the manager."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import kopf

from plimsoll.api.meta import GROUP, VERSION
from plimsoll.kube.session import open_session
from plimsoll.operator.podspec import MANAGED_BY, MANAGER, OwnerKind, name_annotation
from plimsoll.operator.workqueue import Key

if TYPE_CHECKING:
    from plimsoll.kube.config import KubeConfig
    from plimsoll.operator.manager import Manager

AGENT = "plimsoll-operator"


def registry(manager: Manager, config: KubeConfig) -> kopf.OperatorRegistry:
    """Handlers for all that is watched.

    Only raw events are handled: kopf then writes nothing, neither annotations nor finalizers.
    """
    handlers = kopf.OperatorRegistry()
    ours = {MANAGED_BY: MANAGER}

    @kopf.on.event(GROUP, VERSION, "imagebuilds", registry=handlers)
    def image_build(namespace: str | None, name: str | None, **_: Any) -> None:
        manager.notice(Key("ImageBuild", namespace or "", name or ""))

    @kopf.on.event(GROUP, VERSION, "packagerepos", registry=handlers)
    def package_repo(namespace: str | None, name: str | None, **_: Any) -> None:
        manager.notice_repository(namespace or "", name or "")

    @kopf.on.event("batch", "v1", "jobs", labels=ours, registry=handlers)
    @kopf.on.event("v1", "pods", labels=ours, registry=handlers)
    def child(namespace: str | None, annotations: kopf.Annotations, **_: Any) -> None:
        kinds: tuple[OwnerKind, ...] = ("ImageBuild", "PackageRepo")
        for kind in kinds:
            if owner := annotations.get(name_annotation(kind)):
                manager.notice(Key(kind, namespace or "", owner))

    @kopf.on.login(registry=handlers)
    async def login(**_: Any) -> kopf.AiohttpSession:
        # Kopf's own ways import the full Kubernetes client, or keep a token until it has expired.
        return kopf.AiohttpSession(
            server=config.server,
            default_namespace=config.namespace,
            aiohttp_session=open_session(config, agent=AGENT, limit=0),
        )

    return handlers


def settings() -> kopf.OperatorSettings:
    """Kopf's settings."""
    result = kopf.OperatorSettings()
    result.posting.enabled = False
    result.peering.standalone = True
    result.scanning.disabled = True
    result.watching.server_timeout = 300
    result.watching.client_timeout = 310
    result.watching.connect_timeout = 15
    result.watching.chunk_size = 500
    result.networking.request_timeout = 30
    selector = f"{MANAGED_BY}={MANAGER}"
    result.watching.label_selectors["batch", "v1", "jobs"] = selector
    result.watching.label_selectors["v1", "pods"] = selector
    return result

"""Carries out what was decided."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

from plimsoll.apk.keys import SigningKey
from plimsoll.kube.errors import KubeError
from plimsoll.kube.paths import path
from plimsoll.operator.podspec import MANAGED_BY, MANAGER
from plimsoll.operator.state import Apply, Delete, MakeKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from plimsoll.kube.client import KubeClient
    from plimsoll.operator.state import Action


async def carry_out(kube: KubeClient, actions: Iterable[Action]) -> str:
    """Do one thing after the other.

    Returns:
        The sentence of what the API server refused to create, if it did: the rest is not done.

    Raises:
        KubeError: the API server is not reachable, or refuses anything else.
    """
    for action in actions:
        if isinstance(action, Delete):
            await kube.delete(path(action.kind, action.namespace, action.name))
            continue
        manifest = _secret(action) if isinstance(action, MakeKey) else action.manifest
        kind, about = manifest["kind"], manifest["metadata"]
        try:
            if isinstance(action, MakeKey):
                await _make_key(kube, action)
            else:
                await kube.create(path(kind, about["namespace"]), manifest)
        except KubeError as error:
            if error.status == 409:
                if isinstance(action, Apply):
                    await kube.replace(path(kind, about["namespace"], about["name"]), manifest)
                continue
            if error.retryable:
                raise
            return f"{kind} {about['name']} cannot be created: {error.message}"
    return ""


async def _make_key(kube: KubeClient, action: MakeKey) -> None:
    """Make a Secret with a key, unless it is there.

    Secrets cannot be read, so a trial tells (409) whether there is one, before a key is made.
    """
    where = path("Secret", action.namespace)
    await kube.create(f"{where}?dryRun=All", _secret(action))
    name = f"{action.key}-{secrets.token_hex(4)}.rsa"
    key = await asyncio.to_thread(SigningKey.generate, f"{name}.pub")
    data = {name: key.private_pem().decode(), f"{name}.pub": key.public_pem().decode()}
    await kube.create(where, {**_secret(action), "stringData": data})


def _secret(action: MakeKey) -> Mapping[str, Any]:
    """The Secret without its key. Nobody owns it: who deletes the repository keeps the key."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": action.name,
            "namespace": action.namespace,
            "labels": {MANAGED_BY: MANAGER},
        },
        "type": "Opaque",
    }

"""A team that builds an image in a namespace of its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import yaml

from scenario.shell import wait_for
from scenario.world import example

if TYPE_CHECKING:
    from scenario.world import World

Body = dict[str, Any]


class Team:
    """A namespace of its own with the example in it."""

    def __init__(self, world: World, namespace: str) -> None:
        self.world, self.namespace = world, namespace
        self.repo: Body
        self.build: Body
        self.repo, self.build = yaml.safe_load_all(example(world, "imagebuild.yaml"))
        # One architecture is enough here, and quicker.
        self.build["spec"]["archs"] = ["amd64"]
        self.build["spec"].pop("schedule")

    def apply(self, *objects: Body) -> None:
        """Apply objects in the namespace."""
        body = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.world.kubectl("apply", "-n", self.namespace, "-f", "-", stdin=json.dumps(body))

    def get(self, kind: str = "imagebuild", name: str = "") -> Body:
        """An object; the ImageBuild if not told otherwise."""
        name = name or self.build["metadata"]["name"]
        return self.world.get(kind, name, "-n", self.namespace)

    def condition(self, kind: str, body: Body | None = None) -> Body:
        """A condition of the ImageBuild."""
        conditions = (body or self.get()).get("status", {}).get("conditions", [])
        return next((c for c in conditions if c["type"] == kind), {"status": "", "message": ""})

    def until(self, kind: str, status: str, *words: str, seconds: float = 120) -> Body:
        """Wait for a condition whose message has all words; returns the object."""

        def there() -> Body | None:
            body = self.get()
            if body.get("status", {}).get("observedGeneration") != body["metadata"]["generation"]:
                return None
            found = self.condition(kind, body)
            said = all(word in found["message"] for word in words)
            return body if found["status"] == status and said else None

        return wait_for(f"{kind}={status} with {words}", there, seconds=seconds)

    def ready(self, seconds: float = 180) -> Body:
        """Wait until the image is there and nothing goes on."""
        self.until("Ready", "True", seconds=seconds)
        return self.until("Reconciling", "False")

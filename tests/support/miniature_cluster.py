"""A cluster in miniature: it carries out the plans for one object, and keeps its Jobs."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from plimsoll.api.packagerepo import PackageRepo
from plimsoll.operator.podspec import ARCH_LABEL, BUILD_LABEL, REQUEST_LABEL, STEP_LABEL
from plimsoll.operator.state import Apply, Create, Delete, Event, JobView, MakeKey, Plan

START = datetime(2026, 11, 21, 6, 0, tzinfo=UTC)


def upstream(name: str, digest: str, *, ready: bool = True) -> PackageRepo:
    """A PackageRepo of packages from elsewhere, whose index has this digest."""
    return PackageRepo.model_validate(
        {
            "metadata": {"name": name},
            "spec": {
                "upstream": {
                    "url": "https://packages.example/os",
                    "keys": [{"name": "os.rsa.pub", "data": "PEM"}],
                }
            },
            "status": {
                "conditions": [
                    {
                        "type": "Ready",
                        "status": "True" if ready else "False",
                        "message": "" if ready else "wrong signature",
                    }
                ],
                "indexes": [{"arch": "amd64", "digest": digest, "packages": 3}],
            },
        }
    )


class MiniatureCluster:
    """One object and what belongs to it.

    Args:
        name: of the object.
        uid: of the object.
        spec: as a person wrote it.
    """

    def __init__(self, name: str, uid: str, spec: dict[str, Any]) -> None:
        self.now = START
        self.body: dict[str, Any] = {
            "metadata": {
                "name": name,
                "namespace": "team",
                "uid": uid,
                "generation": 1,
                "annotations": {},
                "creationTimestamp": START.isoformat(),
            },
            "spec": spec,
        }
        self.jobs: dict[str, JobView] = {}
        self.manifests: dict[str, dict[str, Any]] = {}
        self.created: list[str] = []
        self.events: list[Event] = []
        self.plan: Plan[Any] | None = None
        self.room: int | None = None

    # What a kind of object differs in.

    @property
    def desired(self) -> Any:
        """The object as the operator reads it."""
        raise AssertionError("a kind says how its objects are read")

    def reconciled(self) -> Plan[Any]:
        """What the operator would do now."""
        raise AssertionError("a kind says who reconciles it")

    def keep(self, name: str, manifest: dict[str, Any]) -> None:
        """An object was created or applied."""

    def forget(self, name: str) -> None:
        """An object that is no Job was deleted."""

    def make_key(self, action: MakeKey) -> None:
        """A signing key was asked for."""
        raise AssertionError(f"nobody needs the key {action.name}")

    # What a person does, and sees.

    @property
    def status(self) -> Any:
        return self.desired.status

    def condition(self, kind: str) -> tuple[str, str]:
        """Status and reason of a condition."""
        found = next(c for c in self.status.conditions if c.type == kind)
        return found.status, found.reason

    def message(self, kind: str) -> str:
        return str(next(c for c in self.status.conditions if c.type == kind).message)

    def edit(self, **spec: Any) -> None:
        """Change the spec as ``kubectl apply`` would."""
        self.body["spec"] = {**self.body["spec"], **spec}
        self.body["metadata"]["generation"] += 1

    def annotate(self, key: str, value: str) -> None:
        self.body["metadata"]["annotations"][key] = value

    def wait(self, **delay: float) -> None:
        self.now += timedelta(**delay)

    # What the operator and the API server do.

    def look(self, *, crash: str = "") -> Plan[Any]:
        """One reconciliation; ``crash`` before ``status`` is written, or before the ``actions``."""
        plan = self.reconciled()
        if crash == "status":
            return plan
        self.plan = plan
        self.body["status"] = json.loads(plan.status.model_dump_json(by_alias=True))
        if crash == "actions":
            return plan
        self.events += plan.events
        for action in plan.actions:
            if isinstance(action, MakeKey):
                self.make_key(action)
            elif isinstance(action, Delete):
                self._delete(action)
            else:
                self._create(action)
        return plan

    def settle(self) -> None:
        """Reconcile until nothing more changes."""
        for _ in range(40):
            before = self.body.get("status")
            plan = self.look()
            if not plan.actions and self.body["status"] == before:
                return
        raise AssertionError("the reconciliation does not come to rest")

    def open(self, step: str = "") -> list[JobView]:
        """Jobs that have not ended."""
        return [j for j in self.jobs.values() if not j.finished and step in {"", j.step}]

    def _create(self, action: Create | Apply) -> None:
        manifest = json.loads(json.dumps(action.manifest))
        name, labels = manifest["metadata"]["name"], manifest["metadata"]["labels"]
        if manifest["kind"] != "Job":
            self.keep(name, manifest)
            return
        if name in self.jobs:
            return
        assert len(name) <= 63, name
        self.created.append(name)
        self.manifests[name] = manifest
        self.jobs[name] = JobView(
            name=name,
            build=labels[BUILD_LABEL],
            step=labels[STEP_LABEL],
            arch=labels.get(ARCH_LABEL, "").replace("-", "/"),
            request=labels.get(REQUEST_LABEL, ""),
        )

    def _delete(self, action: Delete) -> None:
        if action.kind == "Job":
            self.jobs.pop(action.name, None)
        else:
            self.forget(action.name)

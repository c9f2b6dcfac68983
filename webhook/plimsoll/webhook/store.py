"""The policies in force: followed in the cluster, compiled when they change, last good kept."""

from __future__ import annotations

import asyncio
import base64
import binascii
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog

from plimsoll.api.meta import GROUP, VERSION
from plimsoll.api.policy import SIGSTORE_GROUP
from plimsoll.api.policycheck import PolicyInvalidError
from plimsoll.kube.errors import KubeError
from plimsoll.webhook.authorities import Secrets
from plimsoll.webhook.condition import ready_patch
from plimsoll.webhook.exceptions import CompiledException, compile_exception
from plimsoll.webhook.externals import Externals
from plimsoll.webhook.informer import Informer
from plimsoll.webhook.needs import Needs, needs_of
from plimsoll.webhook.policies import CompiledPolicy, broken_policy, compile_policy
from plimsoll.webhook.policyset import PolicySet
from plimsoll.webhook.roots import TrustRoots
from plimsoll.webhook.rules.engines import Engines
from plimsoll.webhook.trust import DEFAULT, KnownRoots

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from plimsoll.kube.client import KubeClient

log = structlog.get_logger("plimsoll.webhook.store")

#: Seconds between two looks at the Secrets that hold keys; they are read by name, not watched,
#: so that the right to read them can be given by name.
SECRET_SECONDS = 10.0


class PolicyStore:
    """Keeps a ``PolicySet`` of what stands in the cluster.

    Args:
        api: the session.
        namespace: the webhook's own, where Secrets are read.
        sigstore: honour objects of ``policy.sigstore.dev`` too, where their CRDs exist.
        default_trust_root: name of the TrustRoot for policies that name none.
        exception_namespaces: namespaces whose exceptions count.
        allow_no_authorities: let a policy without authorities admit what it matches.
    """

    def __init__(  # noqa: PLR0913  settings, by name
        self,
        api: KubeClient,
        namespace: str,
        *,
        sigstore: bool = True,
        default_trust_root: str = "",
        exception_namespaces: frozenset[str] = frozenset(),
        allow_no_authorities: bool = False,
    ) -> None:
        self.policies = PolicySet()
        self._api = api
        self._namespace = namespace
        self._allow_no_authorities = allow_no_authorities
        self._wake = asyncio.Event()
        self._loaded = asyncio.Event()
        self._secrets: dict[str, dict[str, bytes] | None] = {}
        self._engines = Engines.found()
        self._externals = Externals(namespace, self._read_config_map)
        self._trust = TrustRoots(self._wake.set, default=default_trust_root)
        self._needs: dict[tuple[str, str], tuple[Any, Needs]] = {}
        self._compiled: dict[tuple[str, str], tuple[Any, CompiledPolicy]] = {}
        base = f"/apis/{GROUP}/{VERSION}"
        self._policies = {GROUP: self._informer(f"{base}/clusterimagepolicies")}
        self._roots = {GROUP: self._informer(f"{base}/trustroots")}
        self._namespaced = self._informer(f"{base}/imagepolicies", optional=True)
        self._exceptions = self._informer(f"{base}/imagepolicyexceptions", optional=True)
        self._exception_namespaces = exception_namespaces
        self._known_exceptions: dict[str, tuple[Any, CompiledException]] = {}
        if sigstore:
            other = f"/apis/{SIGSTORE_GROUP}"
            # The version that is stored: reading it needs no conversion by their controller.
            self._policies[SIGSTORE_GROUP] = self._informer(
                f"{other}/v1alpha1/clusterimagepolicies", optional=True
            )
            self._roots[SIGSTORE_GROUP] = self._informer(
                f"{other}/v1alpha1/trustroots", optional=True
            )

    def _informer(self, path: str, *, optional: bool = False) -> Informer:
        return Informer(self._api, path, self._wake.set, optional=optional)

    @property
    def _informers(self) -> list[Informer]:
        own = [self._namespaced, self._exceptions]
        return [*self._policies.values(), *self._roots.values(), *own]

    def _sources(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """API group, name and object of every policy; namespaced ones have ``/`` in the name."""
        for group, informer in [*self._policies.items(), (GROUP, self._namespaced)]:
            for name, item in sorted(informer.objects.items()):
                yield group, name, item

    @property
    def ready(self) -> bool:
        """Whether everything was listed once, keys and trust roots included.

        Remote trust roots are waited for a moment only: what they are needed for is refused, all
        else is not held up.
        """
        return self._loaded.is_set()

    async def wait_ready(self) -> None:
        """Wait until ``ready``."""
        await self._loaded.wait()

    @property
    def problems(self) -> list[str]:
        """What keeps the store from being up to date, for the readiness answer and the log."""
        lost = [f"{i.path}: {i.problem}" for i in self._informers if i.problem]
        return [*lost, *self._trust.problems]

    async def run(self) -> None:
        """Follow the cluster until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for informer in self._informers:
                tasks.create_task(informer.run())
            tasks.create_task(self._trust.run())
            tasks.create_task(self._compile_forever())

    async def _compile_forever(self) -> None:
        for informer in self._informers:
            await informer.synced.wait()
        while True:
            self._wake.clear()
            self._find_needs()
            complete = await self._read_secrets()
            needs = [needs for _, needs in self._needs.values()]
            complete &= await self._externals.update(needs)
            await self._read_roots()
            await self._compile()
            if complete:
                self._loaded.set()
            try:
                async with asyncio.timeout(SECRET_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _find_needs(self) -> None:
        found: dict[tuple[str, str], tuple[Any, Needs]] = {}
        for group, name, item in self._sources():
            spec, known = item.get("spec"), self._needs.get((group, name))
            if known is None or known[0] != spec:
                needs = needs_of(spec)
                known = (spec, Needs(roots=needs.roots) if "/" in name else needs)
            found[group, name] = known
        self._needs = found

    async def _read_roots(self) -> None:
        specs = {
            (group, name): item.get("spec")
            for group, informer in self._roots.items()
            for name, item in informer.objects.items()
        }
        public = any(DEFAULT in needs.roots for _, needs in self._needs.values())
        await self._trust.update(specs, public=public)
        if not self.ready:
            await self._trust.settled()

    async def _read_secrets(self) -> bool:
        """Read the Secrets that policies name; keep the last good of each that cannot be read."""
        wanted = {name for _, needs in self._needs.values() for name in needs.secrets}
        complete = True
        found: dict[str, dict[str, bytes] | None] = {}
        for name in sorted(wanted):
            try:
                path = f"/api/v1/namespaces/{self._namespace}/secrets/{name}"
                found[name] = _entries(await self._api.get(path))
            except KubeError as error:
                if error.status in {403, 404}:
                    found[name] = None
                    continue
                log.warning("cannot read a key", secret=name, error=str(error))
                complete = False
                found[name] = self._secrets.get(name)
        self._secrets = found
        return complete

    async def _read_config_map(self, name: str) -> Mapping[str, Any]:
        return await self._api.get(f"/api/v1/namespaces/{self._namespace}/configmaps/{name}")

    async def _compile(self) -> None:
        secrets, roots = Secrets(self._namespace, self._secrets), self._trust.roots
        compiled: dict[tuple[str, str], tuple[Any, CompiledPolicy]] = {}
        reports: list[tuple[str, dict[str, Any], str]] = []
        for group, name, item in self._sources():
            key = (group, name)
            spec = item.get("spec")
            needs = self._needs[key][1] if key in self._needs else needs_of(spec)
            texts = self._externals.texts
            used = (
                spec,
                {one: texts.config_maps.get(one) for one in needs.config_maps},
                {one: texts.remote.get(one) for _, one in needs.remote},
                {one: self._externals.kms.get(one) for one in needs.kms},
                {one: self._secrets.get(one) for one in needs.secrets},
                {one: roots(group, one) for one in needs.roots},
            )
            known = self._compiled.get(key)
            if known is not None and known[0] == used:
                compiled[key] = known
            else:
                # Rules are tried in processes of their own.
                policy = await asyncio.to_thread(
                    self._compile_one, group, name, spec, secrets, roots
                )
                compiled[key] = (used, policy)
            if group == GROUP:
                plural = "imagepolicies" if "/" in name else "clusterimagepolicies"
                reports.append((plural, item, compiled[key][1].fault))
        exceptions, faults = self._compile_exceptions()
        reports += faults
        changed = compiled != self._compiled or exceptions != self.policies.exceptions
        if changed or not self.policies.generation:
            self._compiled = compiled
            self.policies = PolicySet(
                (policy for _, policy in compiled.values()),
                self.policies.generation + 1,
                exceptions,
            )
            log.info(
                "policies loaded",
                generation=self.policies.generation,
                policies=[policy.name for policy in self.policies.policies],
                faults={p.name: p.fault for p in self.policies.policies if p.fault},
            )
        for name, item in sorted(self._roots[GROUP].objects.items()):
            reports.append(("trustroots", item, roots(GROUP, name).fault))
        for plural, item, fault in reports:
            await self._report(plural, item, fault)

    def _compile_exceptions(
        self,
    ) -> tuple[tuple[CompiledException, ...], list[tuple[str, dict[str, Any], str]]]:
        found: list[CompiledException] = []
        reports: list[tuple[str, dict[str, Any], str]] = []
        for key, item in sorted(self._exceptions.objects.items()):
            namespace, _, name = key.partition("/")
            fault = ""
            if namespace not in self._exception_namespaces:
                fault = f"exceptions in namespace {namespace} do not count"
            else:
                # Kept as it was while its object is the same: patterns compare by identity.
                known, spec = self._known_exceptions.get(key), item.get("spec")
                try:
                    if known is None or known[0] != spec:
                        known = (spec, compile_exception(namespace, name, spec))
                        self._known_exceptions[key] = known
                    found.append(known[1])
                except PolicyInvalidError as error:
                    fault = str(error)
            reports.append(("imagepolicyexceptions", item, fault))
        return tuple(found), reports

    def _compile_one(
        self, group: str, name: str, spec: Any, secrets: Secrets, roots: KnownRoots
    ) -> CompiledPolicy:
        try:
            return compile_policy(
                name,
                spec,
                secrets,
                group=group,
                namespace=name.partition("/")[0] if "/" in name else "",
                trust=roots,
                allow_no_authorities=self._allow_no_authorities,
                engines=self._engines,
                texts=self._externals.texts,
                kms=self._externals.kms,
            )
        except Exception as error:
            # One policy must not take all the others with it.
            log.exception("defect", policy=name)
            namespace = name.partition("/")[0] if "/" in name else ""
            fault = f"a defect of the webhook: {error!r}"
            return broken_policy(name, spec, group, fault, namespace)

    async def _report(self, plural: str, item: Mapping[str, Any], fault: str) -> None:
        """Write the ``Ready`` condition of an object if it does not say so already."""
        body = ready_patch(item, fault, datetime.now(UTC))
        if body is None:
            return
        metadata = item["metadata"]
        place = f"namespaces/{metadata['namespace']}/" if metadata.get("namespace") else ""
        path = f"/apis/{GROUP}/{VERSION}/{place}{plural}/{metadata['name']}/status"
        try:
            await self._api.merge(path, body)
        except KubeError as error:
            # 409: another replica said it first; the watch brings its words.
            if error.status != 409:
                log.warning("cannot write a status", path=path, error=str(error))


def _entries(secret: Mapping[str, Any]) -> dict[str, bytes]:
    try:
        return {
            key: base64.b64decode(value, validate=True)
            for key, value in (secret.get("data") or {}).items()
        }
    except (binascii.Error, TypeError, AttributeError) as error:
        raise KubeError("a Secret has data that is no base64") from error

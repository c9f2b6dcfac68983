"""From an image to verdicts: memory first, then the registry, once for everybody who asks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from plimsoll.errors import Error
from plimsoll.oci.reference import Reference
from plimsoll.signing.evidence import discover
from plimsoll.webhook.cache import ExpiringCache, Flights
from plimsoll.webhook.errors import UndecidedError
from plimsoll.webhook.evaluate import Examined, PolicyVerdict, by_tag, examine
from plimsoll.webhook.imageconfig import configurations
from plimsoll.webhook.proving import proven_by
from plimsoll.webhook.rules.document import Surroundings, object_fingerprint
from plimsoll.webhook.subject import NOTHING, Judged, Stage, Subject, Wanted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Hashable, Sequence

    from plimsoll.signing.items import Evidence
    from plimsoll.webhook.access import Access, PullSecrets
    from plimsoll.webhook.policies import (
        CompiledPolicy,
        EvidenceSource,
    )
    from plimsoll.webhook.registries import Registries
    from plimsoll.webhook.settings import Settings

T = TypeVar("T")

#: Is shown the image and what was made of it, by whichever thread looked at it.
Observer = Callable[[str, Examined], None]
#: Threads that wait for rules.
RULE_THREADS = 4
#: Images under way beyond which new ones are turned away: memory is bounded, clients try again.
MAX_FLIGHTS = 2000


class Verifier:
    """Judges images by policies.

    Args:
        settings: limits and times.
        registries: clients.
        secrets: logins.
        clock: monotonic seconds.
        observe: is shown whatever is judged anew, to explain it.
    """

    def __init__(
        self,
        settings: Settings,
        registries: Registries,
        secrets: PullSecrets,
        clock: Callable[[], float] = time.monotonic,
        observe: Observer | None = None,
    ) -> None:
        self._observe = observe
        self.cache: ExpiringCache[PolicyVerdict] = ExpiringCache(settings.cache_size, clock)
        self._settings = settings
        self._registries = registries
        self._secrets = secrets
        self._digests: Flights[str] = Flights()
        self._evidence: Flights[Evidence] = Flights()
        self._verdicts: Flights[PolicyVerdict] = Flights()
        self._configs: Flights[Mapping[str, Any]] = Flights()
        self._slots = asyncio.Semaphore(settings.concurrency)
        self._rule_threads = ThreadPoolExecutor(RULE_THREADS, "rules")
        self.reads = 0
        """How often evidence was read from a registry."""

    async def close(self) -> None:
        """Give up what is under way."""
        self._rule_threads.shutdown(wait=False, cancel_futures=True)
        for flights in (self._verdicts, self._evidence, self._configs, self._digests):
            await flights.close()

    def remembered(
        self,
        written: str,
        reference: Reference,
        policies: Sequence[CompiledPolicy],
        access: Access,
        about: Mapping[str, Any] = NOTHING,
    ) -> Judged | None:
        """What ``judge`` would say, if nobody need be asked for it; ``None`` if somebody must."""
        digest = reference.digest
        if digest is None:
            return None
        verdicts: list[PolicyVerdict] = []
        for policy in policies:
            key = _key(policy, reference, digest, access, about)
            known = self._known(policy, reference, key)
            if known is None:
                return None
            verdicts.append(known)
        return Judged(written, digest, tuple(verdicts))

    async def judge(  # noqa: PLR0913, PLR0917  what is known about the image
        self,
        written: str,
        reference: Reference,
        policies: Sequence[CompiledPolicy],
        access: Access,
        stage: Stage,
        about: Mapping[str, Any] = NOTHING,
    ) -> Judged:
        """Judge one image by all policies that match it.

        Args:
            written: the image as the pod has it, for messages.
            reference: the same, parsed.
            policies: those that match.
            access: logins for its registry.
            stage: is told what is being waited for.
            about: the Kubernetes object that names it, for rules that ask.

        Raises:
            UndecidedError: evidence could not be read.
        """
        digest = reference.digest or ""
        if not digest and any(map(needs_evidence, policies)):
            digest = await self.resolve(reference, access, stage)
        image = f"{written}@{digest}" if digest and not reference.digest else written
        keys = [_key(policy, reference, digest, access, about) for policy in policies]
        verdicts = [
            self._known(policy, reference, key) for policy, key in zip(policies, keys, strict=True)
        ]
        if missing := [number for number, known in enumerate(verdicts) if known is None]:
            stage.what = f"registry {reference.registry}, asked for signatures of {reference.name}"
            subject = Subject(reference, digest, access, Wanted.by(policies), about)
            found = await asyncio.gather(
                *(self._found(policies[number], subject, keys[number]) for number in missing)
            )
            for number, verdict in zip(missing, found, strict=True):
                verdicts[number] = verdict
        return Judged(image, digest, tuple(one for one in verdicts if one is not None))

    async def resolve(self, reference: Reference, access: Access, stage: Stage) -> str:
        """The digest that a tag names now. Raises as ``judge`` does."""
        stage.what = f"registry {reference.registry}, asked what {reference} is"

        async def ask() -> str:
            client = self._registries.client(reference.registry, access)
            return (await self._bounded(client.resolve(reference))).digest

        return await self._digests.join((reference, access.fingerprint), ask)

    def _known(
        self, policy: CompiledPolicy, reference: Reference, key: Hashable
    ) -> PolicyVerdict | None:
        """The verdict if nobody need be asked for it."""
        if policy.rules.digest and reference.digest is None and not policy.fault:
            # Verdicts are remembered by digest, however the pod came to it.
            return by_tag(policy)
        if policy.fault or not (needs_evidence(policy) or policy.has_rules):
            found = examine(policy, {})
            if self._observe is not None:
                self._observe(reference.name, found)
            return found.verdict
        return self.cache.get(key)

    async def _found(
        self, policy: CompiledPolicy, subject: Subject, key: Hashable
    ) -> PolicyVerdict:
        if len(self._verdicts) >= MAX_FLIGHTS:
            raise UndecidedError("too many images are being checked at the moment; try again")

        async def ask() -> PolicyVerdict:
            verdict = await self._judge(policy, subject)
            settings = self._settings
            seconds = settings.success_seconds if verdict.passed else settings.failure_seconds
            self.cache.put(key, verdict, seconds)
            return verdict

        return await self._verdicts.join(key, ask)

    async def _judge(self, policy: CompiledPolicy, subject: Subject) -> PolicyVerdict:
        sources = policy.sources
        found = await asyncio.gather(*(self._read(source, subject) for source in sources))
        evidence = dict(zip(sources, found, strict=True))
        config = await self._configurations(policy, subject)
        # Signatures are checked in a thread: OpenSSL lets go of the lock, and a hostile image
        # with many of them must not hold up the others.
        if policy.has_rules:
            # Processes are waited for in other threads than signatures are checked in.
            loop, threads = asyncio.get_running_loop(), self._rule_threads
            work = partial(self._examined, policy, subject, evidence, config)
            return await loop.run_in_executor(threads, work)
        return await asyncio.to_thread(self._examined, policy, subject, evidence, config)

    def _examined(
        self,
        policy: CompiledPolicy,
        subject: Subject,
        evidence: Mapping[EvidenceSource, Evidence],
        config: Mapping[str, Any],
    ) -> PolicyVerdict:
        surroundings = Surroundings(config, subject.about)
        found = examine(
            policy, proven_by(policy, subject.digest, evidence), surroundings=surroundings
        )
        if self._observe is not None:
            self._observe(f"{subject.reference.name}@{subject.digest}", found)
        return found.verdict

    async def _configurations(self, policy: CompiledPolicy, subject: Subject) -> Mapping[str, Any]:
        if policy.rule is None or not policy.rule.config:
            return {}
        image = subject.reference.with_digest(subject.digest)

        async def ask() -> Mapping[str, Any]:
            client = self._registries.client(image.registry, subject.access)
            async with self._slots:
                return await self._bounded(configurations(client, image))

        return await self._configs.join((image, subject.access.fingerprint), ask)

    async def _read(self, source: EvidenceSource, subject: Subject) -> Evidence:
        place, access, wanted = subject.reference, subject.access, subject.wanted
        if source.repository:
            place = Reference.repository_of(source.repository)
        if (source.repository or source.pull_secrets) and not source.as_pod:
            # Evidence elsewhere is the administrator's affair: the pod's logins stay out of it.
            access = await self._secrets.own(source.pull_secrets)

        async def ask() -> Evidence:
            self.reads += 1
            client = self._registries.client(place.registry, access)
            async with self._slots:
                return await self._bounded(
                    discover(
                        client,
                        place,
                        subject.digest,
                        formats=wanted.formats,
                        tag_prefix=source.tag_prefix,
                        predicate_types=wanted.predicate_types,
                    )
                )

        key = (place.name, subject.digest, source.tag_prefix, access.fingerprint, wanted)
        return await self._evidence.join(key, ask)

    async def _bounded(self, call: Awaitable[T]) -> T:
        """A flight ends by itself, whoever has stopped waiting for it."""
        try:
            async with asyncio.timeout(3 * self._settings.timeout):
                return await call
        except TimeoutError:
            raise UndecidedError("the registry took too long") from None
        except UndecidedError:
            raise
        except Error as error:
            raise UndecidedError(str(error)) from error


def needs_evidence(policy: CompiledPolicy) -> bool:
    """Whether a verdict depends on what a registry has."""
    rule = policy.rule
    return not policy.fault and (bool(policy.sources) or (rule is not None and rule.config))


def _key(
    policy: CompiledPolicy,
    reference: Reference,
    digest: str,
    access: Access,
    about: Mapping[str, Any],
) -> tuple[str, ...]:
    """Under which a verdict is remembered: all that it rests on."""
    key = (policy.fingerprint, reference.name, digest, access.fingerprint)
    if policy.rule is None or not policy.rule.about_object:
        return key
    return (*key, object_fingerprint(policy.rule, about))

"""From a review to an answer, within the deadline, whatever happens."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import structlog

from plimsoll.errors import Error
from plimsoll.oci.errors import InvalidReferenceError
from plimsoll.oci.reference import Reference
from plimsoll.webhook.access import ANONYMOUS
from plimsoll.webhook.evaluate import ImageVerdict, combine
from plimsoll.webhook.subject import Stage
from plimsoll.webhook.verifier import needs_evidence

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from plimsoll.webhook.access import Access, PullSecrets
    from plimsoll.webhook.admission import Review
    from plimsoll.webhook.evaluate import PolicyVerdict
    from plimsoll.webhook.policies import CompiledPolicy
    from plimsoll.webhook.policyset import PolicySet
    from plimsoll.webhook.settings import Settings
    from plimsoll.webhook.subject import Judged
    from plimsoll.webhook.verifier import Verifier

log = structlog.get_logger("plimsoll.webhook.decide")

#: Few images are asked about often; parsing is pure.
_parsed = lru_cache(maxsize=4096)(Reference.parse)


class PolicySource(Protocol):
    """Where the policies in force come from."""

    @property
    def policies(self) -> PolicySet:
        """The policies now."""

    @property
    def ready(self) -> bool:
        """Whether they were read completely at least once."""

    @property
    def problems(self) -> list[str]:
        """What keeps them from being up to date."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to one review."""

    allowed: bool
    refusals: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    digests: tuple[tuple[str, str], ...] = ()
    """Images with the digest that was judged."""

    verdicts: tuple[PolicyVerdict, ...] = ()
    generation: int = 0
    undecided: bool = field(default=False)
    """Whether an image was refused because nothing could be said about it."""


@dataclass(frozen=True, slots=True)
class _Checked:
    verdict: ImageVerdict
    image: str
    digest: str = ""
    verdicts: tuple[PolicyVerdict, ...] = ()
    undecided: bool = False


@dataclass(frozen=True, slots=True)
class _Asked:
    """One image of a review, and the policies that it must satisfy."""

    image: str
    reference: Reference
    review: Review
    matching: Sequence[CompiledPolicy]
    covered: bool
    """Whether a policy of the cluster matches; one of a namespace admits nothing."""

    notes: tuple[str, ...] = ()
    pin: bool = False


class Decider:
    """Answers reviews.

    Args:
        settings: deadline and defaults.
        source: the policies.
        verifier: judges images.
        secrets: logins of pods.
    """

    def __init__(
        self, settings: Settings, source: PolicySource, verifier: Verifier, secrets: PullSecrets
    ) -> None:
        self._settings = settings
        self._source = source
        self._verifier = verifier
        self._secrets = secrets

    async def decide(self, review: Review, *, pin: bool = False) -> Decision:
        """Answer one review; every fault on the way is a refusal.

        Args:
            review: the question.
            pin: judge images without a digest as if they had the one that they stand for now.
        """
        if not review.images:
            return Decision(allowed=True)
        if not self._source.ready:
            refusal = "the policies are not loaded yet; try again in a moment"
            return Decision(allowed=False, refusals=(refusal,), undecided=True)
        policies = self._source.policies
        until = asyncio.get_running_loop().time() + self._settings.deadline
        logins = _Once(lambda: self._access(review))
        # An image that stands in several containers is judged once.
        images = dict.fromkeys(use.image for use in review.images)
        asked = [
            self._image(_asked(image, review, policies, pin=pin), logins, until) for image in images
        ]
        # Most pods have one image: it needs no task of its own.
        checked = await asyncio.gather(*asked) if len(asked) > 1 else [await asked[0]]
        refusals = tuple(line for one in checked for line in one.verdict.refusals)
        return Decision(
            allowed=not refusals,
            refusals=refusals,
            warnings=tuple(line for one in checked for line in one.verdict.warnings),
            digests=tuple((one.image, one.digest) for one in checked if one.digest),
            verdicts=tuple(verdict for one in checked for verdict in one.verdicts),
            generation=policies.generation,
            undecided=any(one.undecided for one in checked),
        )

    async def _image(self, asked: _Asked | _Checked, logins: _Once, until: float) -> _Checked:
        if isinstance(asked, _Checked):
            return asked
        stage = Stage()
        try:
            judged = self._remembered(asked)
            if judged is None:
                async with asyncio.timeout_at(until):
                    judged = await self._judge(asked, logins, stage)
        except TimeoutError:
            seconds = f"{self._settings.deadline:.1f} s"
            return self._undecided(
                asked, f"no answer within {seconds} from {stage.what}; try again"
            )
        except Error as error:
            return self._undecided(asked, str(error))
        except Exception as error:
            log.exception("defect", image=asked.image)
            why = f"a defect of the webhook ({type(error).__name__}); its log says more"
            return self._undecided(asked, why)
        return self._concluded(asked, judged)

    def _remembered(self, asked: _Asked) -> Judged | None:
        access = self._secrets.of_any_pod()
        if access is None:
            return None
        return self._verifier.remembered(
            asked.image, asked.reference, asked.matching, access, asked.review.object
        )

    async def _judge(self, asked: _Asked, logins: _Once, stage: Stage) -> Judged:
        access = ANONYMOUS
        if any(map(needs_evidence, asked.matching)):
            stage.what = "the pod's pull secrets from the Kubernetes API"
            access = await logins()
        written, reference = asked.image, asked.reference
        if asked.pin and reference.digest is None and any(map(_wants_digest, asked.matching)):
            digest = await self._verifier.resolve(reference, access, stage)
            # What is judged is what the pod gets, wherever the tag points by then.
            written, reference = f"{written}@{digest}", reference.with_digest(digest)
        return await self._verifier.judge(
            written, reference, asked.matching, access, stage, asked.review.object
        )

    def _concluded(self, asked: _Asked, judged: Judged) -> _Checked:
        verdict = ImageVerdict(warnings=asked.notes)
        if not asked.covered or not all(one.passed for one in judged.verdicts):
            is_pod = asked.review.is_pod
            names = {(one.group, one.name) for one in asked.matching if is_pod or one.targets}
            found = combine(
                judged.image,
                judged.verdicts,
                self._settings.no_match,
                binding=lambda one: (one.group, one.policy) in names,
                is_pod=is_pod,
                covered=asked.covered,
            )
            verdict = ImageVerdict(found.refusals, (*asked.notes, *found.warnings))
        return _Checked(verdict, asked.image, judged.digest, judged.verdicts)

    def _undecided(self, asked: _Asked, why: str) -> _Checked:
        """What is not known is refused, unless no policy could refuse it anyway."""
        is_pod, matching = asked.review.is_pod, asked.matching
        enforcing = [p for p in matching if p.enforce and (is_pod or p.targets)]
        names = ", ".join(f'"{policy.name}"' for policy in enforcing or matching)
        about = f" for policy {names}" if names else ""
        line = f"image {asked.image} could not be checked{about}: {why}"
        if enforcing or not matching or (is_pod and not asked.covered):
            return _Checked(ImageVerdict(refusals=(line,)), asked.image, undecided=True)
        return _Checked(ImageVerdict(warnings=(line,)), asked.image, undecided=True)

    async def _access(self, review: Review) -> Access:
        return await self._secrets.of_pod(
            review.namespace, review.pull_secrets, review.service_account
        )


def _wants_digest(policy: CompiledPolicy) -> bool:
    return needs_evidence(policy) or bool(policy.rules.digest and not policy.fault)


def _asked(image: str, review: Review, policies: PolicySet, *, pin: bool) -> _Asked | _Checked:
    """Find the policies for an image, less those that an exception takes away."""
    try:
        reference = _parsed(image)
    except InvalidReferenceError as error:
        lines = (f"image {image} is refused: {error}",)
        verdict = ImageVerdict(lines) if review.is_pod else ImageVerdict(warnings=lines)
        return _Checked(verdict, image)
    found = policies.matching(reference, review)
    covered = any(not policy.namespace for policy in found)
    if not policies.exceptions:
        return _Asked(image, reference, review, found, covered, pin=pin)
    now = datetime.now(UTC)
    left: list[CompiledPolicy] = []
    notes: list[str] = []
    for policy in found:
        exception = policies.exception(policy, reference, review.namespace, now)
        if exception is None:
            left.append(policy)
        else:
            notes.append(exception.told(image, policy.name))
    return _Asked(image, reference, review, left, covered, tuple(notes), pin)


class _Once:
    """One question for all images of a review, asked only if one of them needs the answer."""

    def __init__(self, ask: Callable[[], Awaitable[Access]]) -> None:
        self._ask = ask
        self._lock = asyncio.Lock()
        self._answer: Access | None = None

    async def __call__(self) -> Access:
        async with self._lock:
            if self._answer is None:
                self._answer = await self._ask()
            return self._answer

"""From a review to an answer, within the deadline, whatever happens."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

import structlog

from plimsoll.errors import Error
from plimsoll.oci.errors import InvalidReferenceError
from plimsoll.oci.reference import Reference
from plimsoll.webhook.access import ANONYMOUS
from plimsoll.webhook.evaluate import ImageVerdict, combine
from plimsoll.webhook.verifier import Stage, needs_evidence

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from plimsoll.webhook.access import Access, PullSecrets
    from plimsoll.webhook.admission import Review
    from plimsoll.webhook.evaluate import PolicyVerdict
    from plimsoll.webhook.policies import CompiledPolicy
    from plimsoll.webhook.policyset import PolicySet
    from plimsoll.webhook.settings import Settings
    from plimsoll.webhook.verifier import Verifier

log = structlog.get_logger("plimsoll.webhook.decide")


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

    @property
    def message(self) -> str:
        """One line for each refusal."""
        return "\n".join(self.refusals)


@dataclass(frozen=True, slots=True)
class _Checked:
    verdict: ImageVerdict
    image: str
    digest: str = ""
    verdicts: tuple[PolicyVerdict, ...] = ()
    undecided: bool = False


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

    async def decide(self, review: Review) -> Decision:
        """Answer one review; every fault on the way is a refusal."""
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
        asked = [self._image(image, review, policies, logins, until) for image in images]
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

    async def _image(
        self, image: str, review: Review, policies: PolicySet, logins: _Once, until: float
    ) -> _Checked:
        try:
            reference = Reference.parse(image)
        except InvalidReferenceError as error:
            lines = (f"image {image} is refused: {error}",)
            verdict = ImageVerdict(lines) if review.is_pod else ImageVerdict(warnings=lines)
            return _Checked(verdict, image)
        found = policies.matching(reference, review)
        covered = any(not policy.namespace for policy in found)
        now = datetime.now(UTC)
        excepted = [
            (policy, exception)
            for policy in found
            if (exception := policies.exception(policy, reference, review.namespace, now))
        ]
        notes = tuple(exception.told(image, policy.name) for policy, exception in excepted)
        skipped = [policy for policy, _ in excepted]
        matching = tuple(policy for policy in found if policy not in skipped)
        stage = Stage()
        try:
            async with asyncio.timeout_at(until):
                stage.what = "the pod's pull secrets from the Kubernetes API"
                access = ANONYMOUS
                if any(map(needs_evidence, matching)):
                    access = await logins()
                judged = await self._verifier.judge(image, reference, matching, access, stage)
        except TimeoutError:
            seconds = f"{self._settings.deadline:.1f} s"
            why = f"no answer within {seconds} from {stage.what}; try again"
            return self._undecided(image, review, matching, why, covered=covered)
        except Error as error:
            return self._undecided(image, review, matching, str(error), covered=covered)
        except Exception as error:
            log.exception("defect", image=image)
            why = f"a defect of the webhook ({type(error).__name__}); its log says more"
            return self._undecided(image, review, matching, why, covered=covered)
        names = {(one.group, one.name) for one in matching if review.is_pod or one.targets}
        verdict = combine(
            judged.image,
            judged.verdicts,
            self._settings.no_match,
            binding=lambda one: (one.group, one.policy) in names,
            is_pod=review.is_pod,
            covered=covered,
        )
        verdict = ImageVerdict(verdict.refusals, (*notes, *verdict.warnings))
        return _Checked(verdict, image, judged.digest, judged.verdicts)

    def _undecided(
        self,
        image: str,
        review: Review,
        matching: Sequence[CompiledPolicy],
        why: str,
        *,
        covered: bool,
    ) -> _Checked:
        """What is not known is refused, unless no policy could refuse it anyway."""
        enforcing = [p for p in matching if p.enforce and (review.is_pod or p.targets)]
        names = ", ".join(f'"{policy.name}"' for policy in enforcing or matching)
        about = f" for policy {names}" if names else ""
        line = f"image {image} could not be checked{about}: {why}"
        if enforcing or not matching or (review.is_pod and not covered):
            return _Checked(ImageVerdict(refusals=(line,)), image, undecided=True)
        return _Checked(ImageVerdict(warnings=(line,)), image, undecided=True)

    async def _access(self, review: Review) -> Access:
        return await self._secrets.of_pod(
            review.namespace, review.pull_secrets, review.service_account
        )


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

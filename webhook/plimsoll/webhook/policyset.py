"""All policies at one moment, and which of them concern an image."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from plimsoll.webhook.names import spellings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from plimsoll.oci.reference import Reference
    from plimsoll.webhook.admission import Review
    from plimsoll.webhook.exceptions import CompiledException
    from plimsoll.webhook.policies import CompiledPolicy

_REMEMBERED = 10_000


class PolicySet:
    """An unchanging set of compiled policies.

    Args:
        policies: in the order in which messages name them.
        generation: counts changes of policies and keys; for logs and metrics.
        exceptions: from the policies.
    """

    def __init__(
        self,
        policies: Iterable[CompiledPolicy] = (),
        generation: int = 0,
        exceptions: Iterable[CompiledException] = (),
    ) -> None:
        self.exceptions = tuple(exceptions)
        self.policies = tuple(policies)
        self.generation = generation
        self._by_image: OrderedDict[Reference, tuple[CompiledPolicy, ...]] = OrderedDict()

    def for_image(self, reference: Reference) -> tuple[CompiledPolicy, ...]:
        """Policies with a glob that matches; remembered, as pods ask for few images."""
        found = self._by_image.get(reference)
        if found is None:
            names = spellings(reference)
            found = tuple(policy for policy in self.policies if policy.concerns(names))
            self._by_image[reference] = found
            if len(self._by_image) > _REMEMBERED:
                self._by_image.popitem(last=False)
        return found

    def matching(self, reference: Reference, review: Review) -> tuple[CompiledPolicy, ...]:
        """Policies that concern this image in this object."""
        return tuple(
            policy
            for policy in self.for_image(reference)
            if (not policy.namespace or policy.namespace == review.namespace)
            and (not policy.targets or _targeted(policy, review.resource, review.labels))
        )

    def exception(
        self, policy: CompiledPolicy, reference: Reference, namespace: str, now: datetime
    ) -> CompiledException | None:
        """The exception by which an image need not satisfy a policy."""
        return next(
            (one for one in self.exceptions if one.covers(policy, reference, namespace, now)), None
        )


def _targeted(policy: CompiledPolicy, resource: str, labels: Mapping[str, str]) -> bool:
    return any(target.concerns(resource, labels) for target in policy.targets)

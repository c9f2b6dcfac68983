"""Pinning: the images of a new pod get the digests that were judged, by JSON patch (RFC 6902).

Pods only. A Deployment stays as it stands in Git, so nothing drifts there, and its pods run what
was verified, whatever the tag names when a node pulls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plimsoll.webhook.admission import Review
    from plimsoll.webhook.decide import Decision


def patch(review: Review, decision: Decision) -> list[dict[str, Any]]:
    """What to change in the object.

    An image that has a digest already stays as it is, so asking again changes nothing more. So
    does an image of which nothing was verified, as no policy asks for evidence: it has no digest
    in the decision. And so does an ephemeral container that runs: it cannot be changed.
    """
    if not decision.allowed or not review.is_pod:
        return []
    digests = dict(decision.digests)
    return [
        {"op": "replace", "path": use.path, "value": f"{use.image}@{digests[use.image]}"}
        for use in review.images
        if digests.get(use.image) and "@" not in use.image and use not in review.settled
    ]

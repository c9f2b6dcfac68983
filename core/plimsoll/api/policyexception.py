"""ImagePolicyException: which images need not satisfy which policies, why and until when."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field, StringConstraints

from plimsoll.api.base import StrictModel
from plimsoll.api.meta import ObjectName
from plimsoll.api.policy import ImagePattern


class ImagePolicyExceptionSpec(StrictModel):
    """What is excepted. Counts only in namespaces that the administrator of the webhook allows."""

    policies: Annotated[list[ObjectName], Field(min_length=1, max_length=64)]
    """Names of the cluster's policies that need not be satisfied."""

    images: Annotated[list[ImagePattern], Field(min_length=1, max_length=64)]
    """Images that are meant, by their full name: ``registry.example/app@sha256:…``."""

    namespaces: Annotated[list[ObjectName], Field(min_length=1, max_length=256)] | None = None
    """Namespaces of the pods. Default: the exception's own."""

    reason: Annotated[str, StringConstraints(min_length=1, max_length=1024)]
    """Why; shown with every pod that is admitted by it."""

    until: datetime
    """When it ends."""

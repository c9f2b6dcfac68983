"""Rules in a policy language, and where their text comes from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from plimsoll.api.base import StrictModel
from plimsoll.api.meta import cel

Text = Annotated[str, StringConstraints(max_length=4096)]
LongText = Annotated[str, StringConstraints(max_length=131072)]
Name = Annotated[str, StringConstraints(max_length=253)]


class ConfigMapRef(StrictModel):
    """An entry of a ConfigMap."""

    name: Name | None = None
    """Name of the ConfigMap."""

    namespace: Name | None = None
    """Namespace of the ConfigMap; only the webhook's own is read."""

    key: Name | None = None
    """Entry of the ConfigMap."""


class RemotePolicy(StrictModel):
    """A policy text fetched over https."""

    model_config = cel(
        ("has(self.url) && self.url.startsWith('https://')", "needs an https url"),
        (
            "has(self.sha256sum) && self.sha256sum.matches('^[0-9a-f]{64}$')",
            "needs the sha256sum of the text",
        ),
    )

    url: Text | None = None
    """An https URL."""

    sha256sum: Annotated[str, StringConstraints(max_length=64)] | None = Field(
        default=None, alias="sha256sum"
    )
    """SHA-256 of the text, in hexadecimal."""


class PolicyText(StrictModel):
    """A rule in a policy language, from exactly one place."""

    model_config = cel(
        ("has(self.type)", "needs a type"),
        (
            "[has(self.data), has(self.configMapRef), has(self.remote)].filter(x, x).size() == 1",
            "expected exactly one of configMapRef, data, remote",
        ),
    )

    type: Literal["cel", "cue", "rego"] | None = None
    """Language of the rule. ``cel``: an expression that must be true; what it is asked about are
    its variables, ``input`` is the whole. ``rego``: ``data.sigstore.isCompliant`` must be true.
    ``cue``: rule and document must not conflict. Rego and CUE need the programs ``opa`` and ``cue``
    in the webhook's image."""

    data: LongText | None = None
    """The rule, inline."""

    config_map_ref: ConfigMapRef | None = None
    """ConfigMap in the webhook's own namespace that holds the rule."""

    remote: RemotePolicy | None = None
    """Where to fetch the rule."""

    fetch_config_file: bool | None = None
    """Give the rule the image's configuration as ``config``, by platform (``linux/amd64``). For
    ``spec.policy`` only, as the three below."""

    include_spec: bool | None = None
    """Give the rule the pod's spec as ``spec``."""

    include_object_meta: bool | None = None
    """Give the rule the pod's metadata as ``metadata``."""

    include_type_meta: bool | None = None
    """Give the rule the object's kind and version as ``typemeta``."""

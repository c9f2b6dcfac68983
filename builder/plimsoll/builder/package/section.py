"""What all parts of a package configuration share."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict

from plimsoll.api import base
from plimsoll.api.scalars import Text


def _dashed(name: str) -> str:
    return name.replace("_", "-")


class Section(base.Section):
    """A mapping of the configuration: keys with dashes."""

    model_config = ConfigDict(alias_generator=_dashed)


def _fill(value: Any) -> Any:
    """A key without a value has the empty text."""
    if isinstance(value, dict):
        return {key: "" if item is None else item for key, item in value.items()}
    return value


Strings = Annotated[dict[str, Text], BeforeValidator(_fill)]
"""A map of texts."""

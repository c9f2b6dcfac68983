"""What all parts of a package configuration share."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, model_validator

from plimsoll.api.base import StrictModel
from plimsoll.api.image import Text


def _dashed(name: str) -> str:
    return name.replace("_", "-")


class Section(StrictModel):
    """A mapping of the configuration: keys with dashes; an empty value means "not set"."""

    model_config = ConfigDict(alias_generator=_dashed)

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, data: Any) -> Any:
        if data is None:
            return {}
        if isinstance(data, dict):
            return {key: value for key, value in data.items() if value is not None}
        return data


def _fill(value: Any) -> Any:
    """A key without a value has the empty text."""
    if isinstance(value, dict):
        return {key: "" if item is None else item for key, item in value.items()}
    return value


Strings = Annotated[dict[str, Text], BeforeValidator(_fill)]
"""A map of texts."""

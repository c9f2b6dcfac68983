"""What all models of the API share."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError


class Model(BaseModel):
    """An object stored in Kubernetes or handed between our own programs.

    Field names are camelCase on the wire. Unknown fields are ignored, as a newer version of an
    object must still be readable; strictness for people's input is the API server's (field
    validation) and the YAML loader's.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        frozen=True,
        extra="ignore",
        use_attribute_docstrings=True,
    )


class StrictModel(Model):
    """A model of what a person writes: unknown fields are errors."""

    model_config = ConfigDict(extra="forbid")


class Section(StrictModel):
    """A mapping in a person's YAML: an empty value means "not set"."""

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, data: Any) -> Any:
        if data is None:
            return {}
        if isinstance(data, dict):
            return {key: value for key, value in data.items() if value is not None}
        return data


def _plain(value: str) -> str:
    return value


class PlainSection(Section):
    """A section whose keys are written as they are declared."""

    model_config = ConfigDict(alias_generator=_plain)


def misplaced(message: str, *at: str | int) -> PydanticCustomError:
    """An error of a validator about something inside the value that it looks at.

    Args:
        message: what is wrong.
        at: keys and indexes that lead there.
    """
    return PydanticCustomError("misplaced", "{message}", {"message": message, "at": at})

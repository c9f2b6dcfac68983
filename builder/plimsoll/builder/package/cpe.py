"""CPE: the name of a product in vulnerability databases (NIST IR 7695, formatted string)."""

from __future__ import annotations

import re

from pydantic import Field, model_validator

from plimsoll.api.scalars import Text
from plimsoll.builder.package.section import Section

_COMPONENT = re.compile(r"[a-z0-9\\._*?+%!/:~@-]+")
_WILD = re.compile(r"[a-z0-9._-]+")


class Cpe(Section):
    """Attributes of a CPE; version and update come from the package."""

    part: Text = ""
    """``a`` for an application, which is the default; ``o`` for an operating system."""

    vendor: Text = ""
    """Who makes it."""

    product: Text = ""
    """What it is."""

    edition: Text = ""
    """Legacy edition."""

    language: Text = ""
    """Language (RFC 5646)."""

    sw_edition: Text = Field(default="", alias="sw_edition")
    """Edition for a market."""

    target_sw: Text = Field(default="", alias="target_sw")
    """Software it runs on."""

    target_hw: Text = Field(default="", alias="target_hw")
    """Hardware it runs on."""

    other: Text = ""
    """Anything else."""

    @model_validator(mode="after")
    def _check(self) -> Cpe:
        values = {name: getattr(self, name) for name in type(self).model_fields}
        given = {name: value for name, value in values.items() if value}
        if not given:
            return self
        if not (self.vendor and self.product):
            raise ValueError("a CPE needs 'vendor' and 'product'")
        if self.part not in {"", "a", "o"}:
            raise ValueError(f"the part of a CPE is 'a' or 'o', not {self.part!r}")
        for name, value in given.items():
            pattern = _WILD if name in {"vendor", "product"} else _COMPONENT
            if "${{" not in value and not pattern.fullmatch(value):
                raise ValueError(f"{name} of the CPE holds a character that it may not: {value!r}")
        return self

    def bind(self, version: str) -> str:
        """The CPE 2.3 formatted string, empty where none is given."""
        if not self.vendor:
            return ""
        rest = (
            *(self.edition, self.language, self.sw_edition),
            *(self.target_sw, self.target_hw, self.other),
        )
        head = ("cpe", "2.3", self.part or "a", self.vendor, self.product, version, "*")
        return ":".join((*head, *(value or "*" for value in rest)))

"""Values of options: lists, sizes, times."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}
_NO_LIMIT = 1 << 60


def sbom_formats(values: tuple[str, ...]) -> tuple[str, ...]:
    """Formats, each once."""
    names = tuple(dict.fromkeys(name for text in values for name in text.split(",") if name))
    for name in names:
        if name not in {"spdx", "cyclonedx"}:
            raise click.BadParameter(f"{name!r} is no format: use spdx or cyclonedx")
    return names


def separated(
    _ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> tuple[str, ...]:
    """Values that are given several times or separated by commas, which quotes protect."""
    if not any("," in value or '"' in value for value in values):
        return values
    import csv  # noqa: PLC0415  (start-up time)

    try:
        return tuple(item for row in csv.reader(values, strict=True) for item in row if item)
    except csv.Error as error:
        raise click.BadParameter(f"{error}: quote what has a comma", param=param) from None


def paths(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[Path, ...]:
    """Paths, as ``separated`` takes them."""
    return tuple(Path(item) for item in separated(ctx, param, values))


class Size(click.ParamType[int]):
    """A number of bytes with an optional unit; 0 is the default and -1 no limit."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read ``300MiB``, ``8G``, ``4096``."""
        if isinstance(value, int):
            return value
        if value == "-1":
            return _NO_LIMIT
        if value == "0" and param is not None:
            return self.convert(param.default, param, ctx)
        match = re.fullmatch(r"([0-9]+)([KMG]i?)?B?", str(value))
        if match is None:
            self.fail(f"{value!r} is no size: write 300MiB, 8GiB or 4096", param, ctx)
        return int(match[1]) * _UNITS[match[2] or ""]


def pairs(items: tuple[str, ...]) -> dict[str, str]:
    """Annotations, each ``KEY:VALUE``."""
    found = {}
    for item in items:
        key, colon, value = item.partition(":")
        if not colon or not key:
            raise click.BadParameter(
                f"{item!r} is no KEY:VALUE; put quotes around one with a comma: '\"KEY:a, b\"'",
                param_hint="--annotations",
            )
        if key in found:
            raise click.BadParameter(f"{key!r} comes twice", param_hint="--annotations")
        found[key] = value
    return found


def build_date(text: str | None) -> int:
    """Seconds since 1970 of a time as RFC 3339 has it; 0 for none."""
    if not text:
        return 0
    try:
        moment = datetime.fromisoformat(text)
        seconds = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
        # Far from now it may lie in a year that UTC cannot write.
        datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{text!r} is no time: write 2026-01-31T12:00:00Z", param_hint="--build-date"
        ) from None
    return max(0, seconds)

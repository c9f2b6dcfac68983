"""Where package configurations come from."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from plimsoll.builder.steps.packagefiles import read_folder
from plimsoll.builder.steps.packageset import Configuration, flat

if TYPE_CHECKING:
    from plimsoll.api.packagesteps import ConfigurationSource, PackageRequest
    from plimsoll.builder.engine import Engine


async def read_sources(engine: Engine, request: PackageRequest) -> list[Configuration]:
    """All configurations of a request, in the order of its sources.

    Raises:
        SourceTreeError: a source has none, or is too large.
        Error: it cannot be had.
    """
    found: list[Configuration] = []
    for source in request.sources:
        found += await _read(engine, request, source)
    return found


async def _read(
    engine: Engine, request: PackageRequest, source: ConfigurationSource
) -> list[Configuration]:
    del engine, request
    if source.inline is not None:
        return [Configuration(f"{source.name}.yaml", source.inline)]
    what = f"the source {source.name}"
    if source.folder is not None:
        files = await asyncio.to_thread(read_folder, Path(source.folder), what)
        return flat(files, what)
    return []

"""``plimsoll dot``."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from plimsoll.builder.cli.imagecommand import ImageCommand
from plimsoll.builder.cli.options import config_options, read_inputs
from plimsoll.builder.engine import Engine

if TYPE_CHECKING:
    from plimsoll.apk.solver import Resolution


@click.command(cls=ImageCommand)
@click.argument("config", type=click.Path(path_type=Path))
@config_options
@click.option(
    "-S", "--spanning-tree", is_flag=True, help="Only the edges by which packages came in first."
)
def dot(config: Path, *, spanning_tree: bool, **options: Any) -> None:
    """Draw why each package of CONFIG is there, in the language of Graphviz.

    One graph; with several architectures, of the first one.
    """
    inputs = read_inputs(config, options)

    async def run() -> Resolution:
        async with Engine(inputs.settings) as engine:
            _, resolutions = await engine.resolve(inputs.config, inputs.archs[:1])
        return next(iter(resolutions.values()))

    resolution = asyncio.run(run())
    edges = _edges(resolution, tree=spanning_tree)
    if inputs.as_json:
        click.echo(json.dumps([{"from": a, "needs": n, "to": b} for a, n, b in edges]))
        return
    click.echo(graph(inputs.loaded.name, resolution, edges))


def _edges(resolution: Resolution, *, tree: bool) -> list[tuple[str, str, str]]:
    edges = [(edge.parent or "", edge.needs, edge.child) for edge in resolution.edges()]
    if not tree:
        return list(dict.fromkeys(edges))
    reached: dict[str, tuple[str, str, str]] = {}
    for edge in edges:
        reached.setdefault(edge[2], edge)
    return list(reached.values())


def graph(title: str, resolution: Resolution, edges: list[tuple[str, str, str]]) -> str:
    """The drawing; names are quoted, so none can break out of it."""
    lines = [f"digraph {_quoted(title)} {{", "  rankdir=LR;", "  node [shape=box];"]
    lines.append(f"  {_quoted('')} [label={_quoted(title)}, shape=folder];")
    lines += [
        f"  {_quoted(p.name)} [label={_quoted(f'{p.name} {p.version}')}];"
        for p in resolution.packages
    ]
    for parent, needs, child in edges:
        label = "" if needs == child else f" [label={_quoted(needs)}]"
        lines.append(f"  {_quoted(parent)} -> {_quoted(child)}{label};")
    return "\n".join([*lines, "}"])


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
    return f'"{escaped}"'

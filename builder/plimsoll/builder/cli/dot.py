"""``plimsoll dot``."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from plimsoll.builder.cli.imagecommand import ImageCommand, examples
from plimsoll.builder.cli.options import config_options, read_inputs
from plimsoll.errors import Error, visible

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plimsoll.apk.solver import Resolution
    from plimsoll.arch import Arch
    from plimsoll.builder.cli.options import Inputs


_SCREENS = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")


class PageError(Error):
    """The page cannot be shown."""

    reason = "Page"


@click.command(
    cls=ImageCommand, epilog=examples("dot app.yaml | dot -Tsvg > app.svg", "dot app.yaml --web")
)
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "-S", "--spanning-tree", is_flag=True, help="Only the edges by which packages came in first."
)
@click.option("--web", is_flag=True, help="Show a page in a browser on this machine, until Ctrl-C.")
@click.option(
    "--port", default=0, show_default=True, type=click.IntRange(0, 65535),
    help="Port of the page on 127.0.0.1; 0 takes any that is free.",
)  # fmt: skip
@config_options
def dot(config: Path, *, spanning_tree: bool, web: bool, port: int, **options: Any) -> None:
    """Draw why each package of CONFIG is there, in the language of Graphviz.

    One graph; with several architectures, of the first one. The page of --web has all of them.
    """
    from plimsoll.builder.engine import Engine  # noqa: PLC0415  (start-up time)

    inputs = read_inputs(config, options)
    archs = inputs.archs if web else inputs.archs[:1]

    async def run() -> dict[Arch, Resolution]:
        async with Engine(inputs.settings) as engine:
            _, resolutions = await engine.resolve(inputs.config, archs)
        return resolutions

    found = asyncio.run(run())
    if web:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_serve(page_data(inputs, found), port))
        return
    resolution = next(iter(found.values()))
    edges = _edges(resolution, tree=spanning_tree)
    if inputs.as_json:
        click.echo(json.dumps([{"from": a, "needs": n, "to": b} for a, n, b in edges]))
        return
    click.echo(graph(inputs.loaded.name, resolution, edges))


def page_data(inputs: Inputs, found: Mapping[Arch, Resolution]) -> dict[str, Any]:
    """What the page draws, by architecture."""

    def rows(edges: Any) -> list[dict[str, str]]:
        return [{"from": a, "needs": n, "to": b} for a, n, b in edges]

    return {
        "title": inputs.loaded.name,
        "archs": {
            arch.oci: {
                "packages": [{"name": p.name, "version": p.version} for p in resolution.packages],
                "edges": rows(_edges(resolution, tree=False)),
                "why": {
                    p.name: rows((e.parent or "", e.needs, e.child) for e in resolution.why(p.name))
                    for p in resolution.packages
                },
            }
            for arch, resolution in found.items()
        },
    }


async def _serve(data: dict[str, Any], port: int) -> None:
    """Show the page until somebody ends it."""
    from aiohttp import web  # noqa: PLC0415  (start-up time)

    from plimsoll.builder.web.server import graph_page  # noqa: PLC0415

    hosts: set[str] = set()
    runner = web.AppRunner(graph_page(data, hosts.__contains__), access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port)
        try:
            await site.start()
        except OSError as error:
            raise PageError(
                f"port {port} of 127.0.0.1 cannot be used: {error.strerror}",
                hint="choose another with --port",
            ) from None
        own = runner.addresses[0][1]
        hosts |= {f"{name}:{own}" for name in ("127.0.0.1", "localhost")}
        url = f"http://127.0.0.1:{own}/"
        click.echo(url)
        # Elsewhere a browser of text would take the terminal.
        if sys.platform == "darwin" or any(map(os.environ.get, _SCREENS)):
            click.launch(url)
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        pass
    finally:
        await runner.cleanup()


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
    escaped = visible(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
    return f'"{escaped}"'

"""The table that the demo ends with."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from scenario.checks import Check
from scenario.world import World

_DIGEST = re.compile(r"(sha256:[0-9a-f]{8})[0-9a-f]{56}")


def brief(text: str) -> str:
    """The first line, its digests cut to what a person compares."""
    return _DIGEST.sub(r"\1…", text.splitlines()[0])


@dataclass(frozen=True)
class Row:
    """One promise and what was measured."""

    name: str
    ok: bool
    seen: str
    seconds: float


def measure(world: World, checks: list[Check], console: Console) -> list[Row]:
    """Run every check, later ones too where one fails, and show each as it ends."""
    rows = []
    for check in checks:
        started = time.monotonic()
        with console.status(check.name):
            try:
                seen, ok = check.run(world), True
            except Exception as error:  # noqa: BLE001 - a failed promise is a row, not a crash
                seen, ok = f"{type(error).__name__}: {error}", False
        took = time.monotonic() - started
        mark = "[green]✓[/]" if ok else "[red]✗[/]"
        console.print(f"{mark} {check.name} [dim]({took:.1f} s)[/]")
        if not ok:
            console.print(seen, style="red", markup=False, highlight=False)
        rows.append(Row(check.name, ok, seen, took))
    return rows


def show(rows: list[Row], console: Console) -> None:
    """Print the table."""
    table = Table(title="The main job, measured in this run", title_justify="left", show_lines=True)
    table.add_column("")
    table.add_column("promise", min_width=26, max_width=30)
    table.add_column("seen", overflow="fold")
    table.add_column("s", justify="right")
    for row in rows:
        mark = "[green]✓[/]" if row.ok else "[red]✗[/]"
        table.add_row(mark, row.name, brief(row.seen), f"{row.seconds:.1f}")
    console.print(table)

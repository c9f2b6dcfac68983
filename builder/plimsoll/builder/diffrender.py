"""Differences for people: plain text and one HTML page without anything from elsewhere."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plimsoll.builder.diff import Difference, Section

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}td{border-top:1px solid #8884;padding:.2rem .5rem;"
    "vertical-align:top;word-break:break-word}.added{color:#176f2c}.removed{color:#a40e26}"
    ".changed{color:#7d4e00}@media(prefers-color-scheme:dark){body{background:#111;color:#ddd}"
    ".added{color:#6fdd8b}.removed{color:#ff8182}.changed{color:#e3b341}}"
)
Row = tuple[str, str, str]


def text(difference: Difference) -> str:
    """One line per difference: ``+`` came, ``-`` went, ``~`` changed."""
    signs = {"added": "+", "removed": "-", "changed": "~"}
    lines = [f"from {clean(difference.before)}", f"to   {clean(difference.after)}"]
    for title, rows in _sections(difference):
        if rows:
            lines += ["", f"{title} ({len(rows)})"]
            lines += [f"  {signs[kind]} {name}{what and f'  {what}'}" for kind, name, what in rows]
    if not difference:
        lines += ["", "no difference"]
    return "\n".join(lines)


def html(difference: Difference) -> str:
    """A page that needs nothing else; every text in it is escaped."""
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8">',
        (
            '<meta http-equiv="Content-Security-Policy" '
            "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        ),
        f"<title>Differences</title><style>{_STYLE}</style><h1>Differences</h1>",
        f"<p>from <code>{escape(clean(difference.before))}</code><br>",
        f"to <code>{escape(clean(difference.after))}</code></p>",
    ]
    for title, rows in _sections(difference):
        if not rows:
            continue
        parts.append(f"<h2>{title} ({len(rows)})</h2><table>")
        parts += [
            f'<tr class="{kind}"><td>{kind}<td>{escape(name)}<td>{escape(what)}</tr>'
            for kind, name, what in rows
        ]
        parts.append("</table>")
    if not difference:
        parts.append("<p>no difference</p>")
    return "\n".join(parts) + "\n"


def _sections(difference: Difference) -> Iterator[tuple[str, list[Row]]]:
    yield "Packages", _rows(difference.packages)
    changed = [
        ("changed", clean(name), f"{a} → {b} packages")
        for name, (a, b) in difference.licences.items()
    ]
    yield "Licences", changed
    yield "Configuration", _rows(difference.configuration)
    yield "Files", _rows(difference.files)
    if difference.size is not None and difference.size[0] != difference.size[1]:
        a, b = difference.size
        yield "Size", [("changed", "compressed layers", f"{a} → {b} bytes ({b - a:+})")]


def _rows(section: Section | None) -> list[Row]:
    if section is None:
        return []
    rows = [("added", clean(n), _values(v)) for n, v in section.added.items()]
    rows += [("removed", clean(n), _values(v)) for n, v in section.removed.items()]
    rows += [
        ("changed", clean(n), ", ".join(_change(k, a, b) for k, (a, b) in fields.items()))
        for n, fields in section.changed.items()
    ]
    return rows


def _values(fields: dict[str, Any]) -> str:
    shown = [fields.get(key) for key in ("version", "value", "type", "size")]
    return " ".join(clean(str(value)) for value in shown if value not in {None, ""})


def _change(key: str, before: Any, after: Any) -> str:
    if key == "content" and all(re.fullmatch("[0-9a-f]{64}", str(x)) for x in (before, after)):
        return "content"
    prefix = "" if key in {"version", "value"} else f"{key} "
    return f"{prefix}{clean(str(before))} → {clean(str(after))}"


def clean(value: str) -> str:
    """Without what could steer a terminal or turn the reading direction."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", value)

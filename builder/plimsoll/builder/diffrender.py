"""Differences for people: plain text and one HTML page without anything from elsewhere."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING, Any

from plimsoll.errors import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plimsoll.builder.diff import Difference, Section

_LINES = str.maketrans("\t\n", "\N{REPLACEMENT CHARACTER}" * 2)
_SIGNS = {"added": "+", "removed": "-", "changed": "~"}
_STYLE = """
:root{color-scheme:light dark;--ink:#1c2733;--back:#fff;--line:#8884;--soft:#f4f6f8;
--added:#176f2c;--removed:#a40e26;--changed:#7d4e00}
@media(prefers-color-scheme:dark){:root{--ink:#dde5ec;--back:#12171c;--soft:#1d242b;
--added:#6fdd8b;--removed:#ff8182;--changed:#e3b341}}
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;
color:var(--ink);background:var(--back)}
h1{font-size:1.5rem}code{font-size:.9em;overflow-wrap:anywhere}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem}dt{font-weight:600}dd{margin:0}
summary{cursor:pointer;font-size:1.15rem;font-weight:600;margin:1.2rem 0 .4rem}
summary small{font-weight:400;margin-left:.6rem}
table{border-collapse:collapse;width:100%;table-layout:fixed}
th{text-align:left;background:var(--soft)}th,td{border-top:1px solid var(--line);
padding:.25rem .5rem;vertical-align:top;overflow-wrap:anywhere}th:first-child{width:6rem}
.added td:first-child,span.added{color:var(--added)}
.removed td:first-child,span.removed{color:var(--removed)}
.changed td:first-child,span.changed{color:var(--changed)}
@media(max-width:45rem){body{margin:1rem auto}th,td{padding:.25rem}th:first-child{width:1rem}
td:first-child{font-size:0}td:first-child::before{font-size:15px;font-weight:600}
.added td:first-child::before{content:"+"}.removed td:first-child::before{content:"-"}
.changed td:first-child::before{content:"~"}}
"""
#: Kind of change, name, before, after.
Row = tuple[str, str, str, str]


def text(difference: Difference) -> str:
    """One line per difference: ``+`` came, ``-`` went, ``~`` changed."""
    lines = [f"from {clean(difference.before)}", f"to   {clean(difference.after)}"]
    for title, rows in _sections(difference):
        if not rows:
            continue
        lines += ["", f"{title} ({len(rows)})"]
        for kind, name, before, after in rows:
            what = f"{before} → {after}" if kind == "changed" else before or after
            lines.append(f"  {_SIGNS[kind]} {name}{what and f'  {what}'}")
    if not difference:
        lines += ["", "no difference"]
    return "\n".join(lines)


def html(difference: Difference) -> str:
    """A page that needs nothing else; every text in it is escaped."""
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        (
            '<meta http-equiv="Content-Security-Policy" '
            "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        ),
        f"<title>Differences</title><style>{_STYLE}</style><h1>Differences</h1>",
        f"<dl><dt>from<dd><code>{escape(clean(difference.before))}</code>",
        f"<dt>to<dd><code>{escape(clean(difference.after))}</code></dl>",
    ]
    for title, rows in _sections(difference):
        if not rows:
            continue
        counts = [(kind, sum(row[0] == kind for row in rows)) for kind in _SIGNS]
        told = ", ".join(
            f'<span class="{kind}">{count} {kind}</span>' for kind, count in counts if count
        )
        parts.append(f"<details open><summary>{title}<small>{told}</small></summary>")
        parts.append("<table><tr><th><th>name<th>before<th>after</tr>")
        parts += [
            f'<tr class="{row[0]}">' + "".join(f"<td>{escape(cell)}" for cell in row) + "</tr>"
            for row in rows
        ]
        parts.append("</table></details>")
    if not difference:
        parts.append("<p>no difference</p>")
    return "\n".join(parts) + "\n"


def clean(value: str) -> str:
    """Without what could steer a terminal or turn the reading direction."""
    return visible(value).translate(_LINES)


def _sections(difference: Difference) -> Iterator[tuple[str, list[Row]]]:
    yield "Packages", _rows(difference.packages)
    yield (
        "Licences",
        [
            (
                "changed" if a and b else "added" if b else "removed",
                clean(name),
                _packages(a),
                _packages(b),
            )
            for name, (a, b) in difference.licences.items()
        ],
    )
    yield "Configuration", _rows(difference.configuration)
    yield "Files", _rows(difference.files)
    if difference.size is not None and difference.size[0] != difference.size[1]:
        a, b = difference.size
        yield "Size", [("changed", "compressed layers", f"{a} bytes", f"{b} bytes ({b - a:+})")]


def _rows(section: Section | None) -> list[Row]:
    if section is None:
        return []
    rows: list[Row] = [("added", clean(n), "", _values(v)) for n, v in section.added.items()]
    rows += [("removed", clean(n), _values(v), "") for n, v in section.removed.items()]
    for name, fields in section.changed.items():
        before, after = [], []
        for key, (a, b) in sorted(fields.items(), key=lambda item: item[0] != "version"):
            if key == "content" and all(re.fullmatch("[0-9a-f]{64}", str(x)) for x in (a, b)):
                before.append(f"content {str(a)[:12]}")
                after.append(f"content {str(b)[:12]}")
                continue
            label = "" if key in {"version", "value"} else f"{key} "
            before.append(f"{label}{_shown(a)}")
            after.append(f"{label}{_shown(b)}")
        rows.append(("changed", clean(name), ", ".join(before), ", ".join(after)))
    return rows


def _values(fields: dict[str, Any]) -> str:
    shown = [fields.get(key) for key in ("version", "value", "type", "licence")]
    if fields.get("type") == "file":
        shown.append(f"{fields.get('size')} bytes")
    return " ".join(_shown(value) for value in shown if value is not None and value != "")


def _packages(count: int) -> str:
    return "" if not count else "1 package" if count == 1 else f"{count} packages"


def _shown(value: Any) -> str:
    """A value as a person would write it; a command line with blanks between its words."""
    if isinstance(value, list):
        return clean(" ".join(str(item) for item in value))
    return clean("nothing" if value is None else str(value))

"""What differences look like, whatever strangers called their files."""

from __future__ import annotations

from html.parser import HTMLParser

from plimsoll.builder.diff import difference
from plimsoll.builder.diffrender import html, text
from plimsoll.builder.layerfiles import FileView
from plimsoll.builder.view import PackageView, View

NAMES = [
    "<script src=//x.example/a.js></script>",
    '"><img src=x onerror=alert(1)>',
    "</table></details></style><style>*{display:none}",
    "&lt;b&gt;&amp;",
    "a\nb\x1b[31mc\u202egnp.exe",
    "javascript:alert(1)",
    "\udce4",
]


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.texts = set(), set(), []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.texts.append(data)


def view(name, version):
    return View(
        name,
        "image",
        f"sha256:{version}",
        {n: PackageView(version, n) for n in NAMES},
        {n: FileView("link", 0o777, 0, 0, 1, content=f"{n}{version}") for n in NAMES},
        {"Cmd": [*NAMES, version], "Labels": dict.fromkeys(NAMES, version)},
        1,
    )


def test_a_page_is_nothing_but_itself():
    page = Page()
    shown = html(difference(view(NAMES[0], "1"), view(NAMES[1], "2")))
    page.feed(shown)
    tags = "code dd details dl dt h1 html meta small span style summary table td th title tr"
    assert " ".join(sorted(page.tags)) == tags
    assert not page.attributes & {"src", "href", "srcset", "onerror", "style"}
    assert "default-src 'none'" in shown
    assert shown.encode()
    assert any(NAMES[0] in data for data in page.texts)
    assert not any(c in shown for c in "\x1b\u202e")


def test_a_terminal_is_not_steered():
    shown = text(difference(view("a", "1"), view("b", "2")))
    assert shown.encode()
    assert not any(c in shown for c in "\x1b\u202e")
    assert all(
        line[:3] in {"", "fro", "to ", "Pac", "Con", "Fil", "  ~"} for line in shown.splitlines()
    )

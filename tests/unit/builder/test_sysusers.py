from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.builder.accounts import AccountError
from plimsoll.builder.sysusers import add_declared
from plimsoll.builder.tree import Tree


def made(*texts: str, passwd="root:x:0:0:root:/root:/bin/sh\n", group="root:x:0:\n", shadow=None):
    tree = Tree([])
    tree.write("etc/passwd", passwd.encode())
    tree.write("etc/group", group.encode())
    if shadow is not None:
        tree.write("etc/shadow", shadow.encode(), 0o640)
    for number, text in enumerate(texts):
        tree.write(f"usr/lib/sysusers.d/{number}.conf", text.encode())
    add_declared(tree)
    return {
        name: tree.content(tree.nodes[f"etc/{name}"]).decode().splitlines()
        for name in ("passwd", "group", "shadow")
        if f"etc/{name}" in tree.nodes
    }


def test_users_groups_and_members():
    found = made(
        '# accounts\nu web 33 "Web server" /var/www /bin/sh\nu! auto -\nm web logs\n',
        "g logs 44\nu db 55:logs\nr - 500-900\n",
        shadow="root:*::0:::::\n",
    )
    assert found["passwd"][1:] == [
        "web:x:33:33:Web server:/var/www:/bin/sh",
        "auto:x:999:999::/:/usr/sbin/nologin",
        "db:x:55:44::/:/usr/sbin/nologin",
    ]
    assert found["group"][1:] == ["logs:x:44:web", "web:x:33:", "auto:x:999:"]
    assert found["shadow"][1:] == [f"{name}:!::0:::::" for name in ("web", "auto", "db")]


def test_what_is_there_stays():
    before = made("u web 33\n", passwd="web:x:7:7::/:/x\n", group="web:x:7:\n")
    assert before == {"passwd": ["web:x:7:7::/:/x"], "group": ["web:x:7:"]}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("u a/b 1", "declares no user"),
        ("x a 1", "declares no user"),
        ("u a /usr/bin/x", "is no number"),
        ("u a 99999999999", "is no number"),
        ("u a 5\nu b 5", "is taken"),
        ("u a 5:none", "no group 'none'"),
        ("m root none", "no group 'none'"),
        ('u a 5 "x:y"', "cannot hold"),
        ('u a 5 "x', "cannot be read"),
    ],
)
def test_bad_declarations(text, words):
    with pytest.raises(AccountError, match=words):
        made(text)


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_any_text_is_read_or_refused_and_account_files_stay_whole(text):
    try:
        found = made(text)
    except AccountError:
        return
    assert all(line.count(":") == 6 for line in found["passwd"])
    assert all(line.count(":") == 3 for line in found["group"])

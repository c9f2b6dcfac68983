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


#: What systemd-sysusers 252 adds to passwd and group, in its order.
AS_SYSTEMD = [
    ("g web 33\nu web 33", ["web:x:33:33:"], ["web:x:33:"]),
    ("g logs 44\nu db 44:logs", ["db:x:44:44:"], ["logs:x:44:"]),
    (
        'u nobody 65534:65534 "K" -\ng nogroup 65534',
        ["nobody:x:65534:65534:K"],
        ["nogroup:x:65534:"],
    ),
    ("m ghost new", ["ghost:x:998:998:"], ["new:x:999:ghost", "ghost:x:998:"]),
    (
        "u own 321\nm ghost own",
        ["own:x:321:321:", "ghost:x:999:999:"],
        ["own:x:321:ghost", "ghost:x:999:"],
    ),
    ("g web 50\nu web -", ["web:x:50:50:"], ["web:x:50:"]),
    ("m a b\nm b a", ["a:x:998:998:", "b:x:999:999:"], ["b:x:999:a", "a:x:998:b"]),
    ("u a -\nu b -", ["a:x:999:999:", "b:x:998:998:"], ["a:x:999:", "b:x:998:"]),
    ("u a -\ng c -", ["a:x:998:998:"], ["c:x:999:", "a:x:998:"]),
    ("u a -:root", ["a:x:999:0:"], []),
    ("u www-data 33\nm www-data root", ["www-data:x:33:33:"], ["www-data:x:33:"]),
    ("u b 7 100%%", ["b:x:7:7:100%"], ["b:x:7:"]),
]


@pytest.mark.parametrize(("text", "users", "groups"), AS_SYSTEMD)
def test_the_same_accounts_as_systemd(text, users, groups):
    found = made(text)
    assert found["passwd"][1:] == [f"{user}:/:/usr/sbin/nologin" for user in users]
    assert found["group"][1:] == groups


def test_numbers_of_the_owner_of_a_file():
    tree = Tree([])
    tree.write("usr/bin/x", b"", uid=70, gid=80)
    tree.write("usr/lib/sysusers.d/a.conf", b"g grp /usr/bin/x\nu usr /usr/bin/x:grp\n")
    add_declared(tree)
    passwd, group = (tree.content(tree.nodes[f"etc/{f}"]).decode() for f in ("passwd", "group"))
    assert passwd == "usr:x:70:80::/:/usr/sbin/nologin\n"
    assert group == "grp:x:80:\n"


def test_more_accounts_than_numbers():
    with pytest.raises(AccountError, match="no number is left for a999"):
        made("".join(f"u a{n} -\n" for n in range(1001)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("u a/b 1", "declares no user"),
        ("x a 1", "declares no user"),
        ("u a /usr/bin/x", "which is not in the image"),
        ("u a 5x", "is no number"),
        ("u a ٣", "is no number"),
        (f"u a {'9' * 5000}", "is no number"),
        ("u a 5 %H /x", "%H means nothing in an image"),
        ("u a 5 - srv", "does not begin with '/'"),
        ("u a 99999999999", "is no number"),
        ("u a 5\nu b 5", "is taken"),
        ("u a 5:none", "no group 'none'"),
        ("m root", "names no group"),
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

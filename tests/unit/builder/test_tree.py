from __future__ import annotations

import pytest

from apk_repository import Repository, signing_key
from plimsoll.api.accounts import Accounts, Group, User
from plimsoll.api.image import Path
from plimsoll.api.imageprocess import Entrypoint
from plimsoll.apk.tarfmt import Type
from plimsoll.apk.writer import PackageFile
from plimsoll.builder import rootfs
from plimsoll.builder.accounts import AccountError, add_accounts, check_run_as, run_as
from plimsoll.builder.cache import PackageCache
from plimsoll.builder.database import record
from plimsoll.builder.node import FileConflictError, TreeError
from plimsoll.builder.store import Store
from plimsoll.builder.tree import Tree


@pytest.fixture
def packages(tmp_path):
    """Make packages and read them back through the cache."""
    with Store(tmp_path / "cache") as store:
        cache = PackageCache(store)
        repository = Repository(tmp_path / "repo", signing_key())

        def make(*wanted):
            found = []
            for name, files, info in wanted:
                repository.add(name, files, archs=("x86_64",), **info)
                entry = repository.entries["x86_64"][-1]
                path = tmp_path / "repo" / "x86_64" / entry.file_name
                found.append(cache.fill(path, checksum=entry.checksum, source=str(path)))
            return found

        yield make


def test_same_content_is_kept_once(packages):
    tree = Tree(packages(("a", {"etc/x": "same"}, {}), ("b", {"etc/x": "same"}, {})))
    assert tree.nodes["etc/x"].package == 0
    assert tree.packages[1].lost == {"etc/x"}
    assert "etc/x" not in [f.path for f in record(tree.packages[1]).files]


@pytest.mark.parametrize(
    ("first", "second", "winner"),
    [
        ({}, {"replaces": ("a",)}, 1),
        ({}, {"replaces": ("a<2",)}, 1),
        ({"replaces": ("b",)}, {}, 0),
        ({"replaces": ("b",)}, {"replaces": ("a",)}, 0),
        ({"origin": "o"}, {"origin": "o"}, 1),
    ],
)
def test_who_wins(packages, first, second, winner):
    tree = Tree(packages(("a", {"etc/x": "one"}, first), ("b", {"etc/x": "two"}, second)))
    assert tree.nodes["etc/x"].package == winner
    assert tree.content(tree.nodes["etc/x"]) == (b"one", b"two")[winner]
    assert tree.packages[1 - winner].lost == {"etc/x"}


@pytest.mark.parametrize("info", [{}, {"replaces": ("a<1",)}, {"origin": "o"}])
def test_a_conflict_names_both_and_the_path(packages, info):
    made = packages(("a", {"etc/x": "one"}, {}), ("b", {"etc/x": "two"}, info))
    with pytest.raises(FileConflictError, match="packages a and b both own /etc/x"):
        Tree(made)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({"etc/x/": ""}, {"etc/x": "file"}),
        ({"etc/x": "file"}, {"etc/x/y": "below"}),
        ({"etc/x": "-> nowhere"}, {"etc/x": "file"}),
    ],
)
def test_different_kinds_at_one_path(packages, one, two):
    for first, second in ((one, two), (two, one)):
        made = packages(("a", first, {}), ("b", second, {}))
        with pytest.raises(FileConflictError, match=r"a .*b|b .*a"):
            Tree(made)


@pytest.mark.parametrize("order", [0, 1])
def test_files_go_behind_links_to_directories(packages, order):
    made = packages(
        ("merged", {"usr/bin/": "", "bin": "-> usr/bin", "usr/sbin": "-> bin"}, {}),
        ("old", {"bin/tool": "t", "usr/sbin/admin": "a"}, {}),
    )
    tree = Tree(made if order else made[::-1])
    assert tree.nodes["bin"].kind is Type.SYMLINK
    assert {"usr/bin/tool", "usr/bin/admin"} <= tree.nodes.keys()
    assert not {"bin/tool", "usr/sbin/admin"} & tree.nodes.keys()
    assert tree.content(tree.resolve("/usr/sbin/tool")) == b"t"


def test_a_path_of_many_parts(packages):
    tree = Tree(packages(("one", {"a/" * 1500 + "x": "x"}, {})))
    assert len(tree.nodes) == 1501
    tree.write("b/" * 5000 + "x", b"x")
    assert len(tree.nodes) == 6502


def test_links_in_a_circle(packages):
    tree = Tree(packages(("a", {"x": "-> y", "y": "-> x", "up": "-> ../../../etc"}, {})))
    with pytest.raises(TreeError, match="circle"):
        tree.resolve("x/z")
    # Nothing leads out of the root.
    assert tree.real("up/passwd") == "etc/passwd"


def test_paths(packages):
    tree = Tree(packages(("a", {"opt/tool": "content", "opt/d/e": "e"}, {})))
    rootfs.apply_paths(
        tree,
        [
            Path(path="/var/data", type="directory", uid=5, permissions=0o750),
            Path(path="/etc/empty", type="empty-file", permissions=0o600),
            Path(path="/etc/text", type="file", content="hi", uid=1, gid=2, permissions=0o644),
            Path(path="/opt/second", type="hardlink", source="/opt/tool", permissions=0o755),
            Path(path="/opt/link", type="symlink", source="tool"),
            Path(path="/opt/tool", type="permissions", uid=7, gid=8, permissions=0o4755),
            Path(path="/opt/d", type="permissions", recursive=True, permissions=0o700),
        ],
    )
    nodes = tree.nodes
    assert (nodes["var/data"].uid, nodes["var/data"].gid, nodes["var/data"].mode) == (5, 0, 0o750)
    assert (nodes["etc/empty"].size, nodes["etc/empty"].mode) == (0, 0o600)
    assert tree.content(nodes["etc/text"]) == b"hi"
    assert tree.content(nodes["opt/second"]) == b"content"
    assert nodes["opt/link"].link == "tool"
    assert (nodes["opt/tool"].uid, nodes["opt/tool"].mode) == (7, 0o4755)
    assert nodes["opt/d/e"].mode == nodes["opt/d"].mode == 0o700
    assert nodes["opt/d"].uid == 0


def test_the_root_may_be_meant_with_all_that_is_below(packages):
    tree = Tree(packages(("a", {"opt/tool": "content", "link": "-> opt"}, {})))
    before = set(tree.nodes)
    everything = Path(path="/", type="permissions", recursive=True, uid=5, permissions=0o755)
    rootfs.apply_paths(tree, [everything, Path(path="/", type="directory", permissions=0o755)])
    assert set(tree.nodes) == before
    owners = {path: node.uid for path, node in tree.nodes.items()}
    assert owners == {"link": 0, "opt": 5, "opt/tool": 5}


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ({"path": "/gone", "type": "permissions"}, "nothing at this path"),
        ({"path": "/x", "type": "hardlink", "source": "/gone"}, "no file of the image"),
        ({"path": "/opt/tool", "type": "hardlink", "source": "/opt/tool"}, "already there"),
        ({"path": "/opt/tool", "type": "symlink", "source": "/x"}, "already there"),
        ({"path": "/opt/tool", "type": "directory"}, "is no directory"),
        ({"path": "/opt/tool/below", "type": "empty-file"}, "is a file"),
        ({"path": "/opt", "type": "empty-file"}, "is a directory"),
    ],
)
def test_paths_that_cannot_be(packages, path, words):
    tree = Tree(packages(("a", {"opt/tool": "content"}, {})))
    with pytest.raises(TreeError, match=words) as caught:
        rootfs.apply_paths(tree, [Path(**path)])
    assert path["path"] in caught.value.message


def test_accounts(packages):
    shadow = PackageFile("etc/shadow", mode=0o640, content=b"root:*::0:::::\n")
    tree = Tree(
        packages(
            (
                "base",
                {
                    "etc/passwd": "root:x:0:0:root:/root:/bin/ash\ndaemon:x:1:1::/:/bin/false\n",
                    "etc/group": "root:x:0:\n",
                    "etc/shadow": shadow,
                },
                {},
            )
        )
    )  # fmt: skip
    wanted = Accounts(
        run_as="app",
        users=[User(username="app", uid=1000, gid=0), User(username="b", uid=7, homedir="/")],
        groups=[Group(groupname="team", gid=9, members=["app", "b"])],
    )
    add_accounts(tree, wanted)
    text = {f: tree.content(tree.nodes[f"etc/{f}"]).decode() for f in ("passwd", "group", "shadow")}
    assert text["passwd"].splitlines()[2:] == [
        "app:x:1000:0:app:/home/app:/bin/sh",
        "b:x:7:7:b:/:/bin/sh",
    ]
    assert text["group"] == "root:x:0:\nteam:x:9:app,b\n"
    assert text["shadow"].splitlines()[1] == "app:!::0:::::"
    assert tree.nodes["etc/shadow"].mode == 0o640
    assert (tree.nodes["home/app"].uid, tree.nodes["home/app"].mode) == (1000, 0o700)
    assert run_as(tree, wanted) == "1000"
    assert run_as(tree, Accounts(run_as="daemon")) == "1"
    assert run_as(tree, Accounts(run_as="0:0")) == "0:0"
    with pytest.raises(AccountError, match="'daemon' with number 5"):
        add_accounts(tree, Accounts(users=[User(username="daemon", uid=5)]))


def test_accounts_that_are_there_get_what_the_configuration_says():
    """An include and a package may name the account that this configuration names too."""
    tree = Tree([])
    tree.write("etc/passwd", b"app:x:7:8:An app:/srv:/sbin/nologin\n")
    tree.write("etc/group", b"app:x:7:other\n")
    wanted = Accounts(
        users=[
            User(username="app", uid=7, homedir="/dev/null"),
            User(username="new", uid=9, homedir="/nonexistent"),
            User(username="new", uid=9, gid=7, homedir="/nonexistent"),
        ],
        groups=[Group(groupname="app", gid=7, members=["other", "new"])],
    )
    add_accounts(tree, wanted)
    passwd, group = (tree.content(tree.nodes[f"etc/{f}"]).decode() for f in ("passwd", "group"))
    assert passwd.splitlines() == [
        "root:x:0:0:root:/root:/bin/sh",
        "app:x:7:8:An app:/dev/null:/sbin/nologin",
        "new:x:9:7:new:/nonexistent:/bin/sh",
    ]
    assert group.splitlines() == ["root:x:0:", "app:x:7:other,new"]
    assert not {"dev", "dev/null", "nonexistent", "etc/shadow"} & tree.nodes.keys()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ap", "no user 'ap'"),
        ("app:team", "no group 'team'"),
        ("", None),
        ("app", None),
        ("65532:0", None),
        ("5:app", None),
    ],
)
def test_who_containers_run_as(name, words):
    tree = Tree([])
    add_accounts(tree, Accounts(users=[User(username="app", uid=7)]))
    tree.write("etc/group", b"app:x:7:\n")
    wanted = Accounts(run_as=name)
    if words is None:
        check_run_as(tree, wanted)
        return
    with pytest.raises(AccountError, match=words) as caught:
        check_run_as(tree, wanted)
    assert caught.value.hint


@pytest.mark.parametrize("applets", [b"/bin/ls\xff", b"/bin/a\x00b", b"/bin/\x1b[2J"])
def test_applets_that_can_be_no_paths(applets):
    tree = Tree([])
    tree.write("bin/busybox", b"b")
    tree.write("etc/busybox-paths.d/x", applets)
    with pytest.raises(TreeError, match="busybox-paths"):
        rootfs.add_busybox_links(tree)


def test_only_files_list_applets(packages):
    files = {
        "bin/busybox": "b",
        "etc/busybox-paths.d/folder/": "",
        "etc/busybox-paths.d/link": "-> ../../opt/list",
        "etc/busybox-paths.d/nothing": "-> gone",
        "opt/list": "/bin/ls",
    }
    tree = Tree(packages(("busybox", files, {})))
    rootfs.add_busybox_links(tree)
    assert tree.nodes["bin/ls"].link == "/bin/busybox"


def test_busybox_and_services(packages):
    tree = Tree(
        packages(
            (
                "busybox",
                {
                    "bin/busybox": "b",
                    "bin/vi": "an editor",
                    "etc/busybox-paths.d/busybox": "/bin/ls\n/bin/vi\n/usr/bin/env\n",
                },
                {},
            )
        )
    )
    rootfs.add_busybox_links(tree)
    assert tree.nodes["bin/ls"].link == tree.nodes["usr/bin/env"].link == "/bin/busybox"
    assert tree.nodes["bin/vi"].kind is Type.FILE
    rootfs.add_services(tree, Entrypoint(type="service-bundle", services={"web": "nginx -g x"}))
    assert tree.content(tree.nodes["sv/web/run"]) == b"#!/bin/execlineb\nnginx -g x\n"
    assert tree.nodes["sv/web/run"].mode == 0o755

"""What the reference makes of packages and a configuration, fact by fact."""

from __future__ import annotations

import json

import pytest

from plimsoll.apk.installed import parse_installed
from plimsoll.apk.tarfmt import Type
from plimsoll.apk.writer import PackageFile
from plimsoll.builder.accounts import AccountError
from plimsoll.builder.engine import UnsupportedError
from plimsoll.builder.node import FileConflictError, TreeError

DATABASE = "usr/lib/apk/db/installed"


def directory(path, mode=0o755, **fields):
    return PackageFile(path, Type.DIRECTORY, mode=mode, **fields)


ORIGIN = {"strategy": "origin", "budget": 5}


def names(layer):
    return [member.name for member in layer[0]]


# -- files of packages ------------------------------------------------------------------------


def test_owners_and_special_bits_of_directories_are_dropped(make):
    files = {
        "srv": directory("srv", 0o2775, uid=7, gid=8),
        "srv/tool": PackageFile("srv/tool", content=b"x", mode=0o6755, uid=7, gid=8),
    }
    image = make(("a", files))
    found = image.members
    assert [(m.mode, m.uid, m.gid) for m in (found["srv"], found["srv/tool"])] == [
        (0o775, 0, 0),
        (0o6755, 0, 0),
    ]
    # The database tells what the package says.
    assert "F:srv\nM:7:8:2775\nR:tool\na:7:8:6755\n" in image.read(DATABASE)


def test_directories_keep_their_first_mode_and_take_the_last_time(make):
    image = make(
        ("a", {"srv": directory("srv", 0o700, mtime=100), "tmp": directory("tmp", 0o755)}),
        ("b", {"srv": directory("srv", 0o755, mtime=200)}),
    )
    assert (image.members["srv"].mode, image.members["srv"].mtime) == (0o700, 200)
    assert image.members["tmp"].mode == 0o1777
    assert image.members["proc"].mode == 0o555
    assert image.members["opt"].mtime == 0


def test_hard_links_are_one_file(make):
    files = {
        "bin/a": PackageFile("bin/a", content=b"x", mode=0o644),
        "bin/b": PackageFile("bin/b", Type.HARDLINK, mode=0o600, linkname="bin/a"),
    }
    image = make(
        ("p", files), paths=[{"path": "/bin/b", "type": "permissions", "permissions": 0o711}]
    )
    found = image.members
    assert (found["bin/b"].islnk(), found["bin/b"].linkname) == (True, "bin/a")
    assert found["bin/a"].mode == found["bin/b"].mode == 0o711


def test_extended_attributes_and_long_names(make):
    long = "usr/share/" + "m" * 50 + "/" + "n" * 90
    files = {
        "usr/ping": PackageFile("usr/ping", content=b"x", xattrs={"user.note": b"kept"}),
        long: b"y",
        "usr/share/größe": b"z",
    }
    image = make(("a", files))
    assert image.members["usr/ping"].pax_headers == {"SCHILY.xattr.user.note": "kept"}
    # The prefix field of ustar is used before a pax record is.
    assert image.members[long].pax_headers == {}
    assert image.members["usr/share/größe"].pax_headers == {"path": "usr/share/größe"}


def test_files_that_two_packages_bring(make):
    image = make(
        ("a", {"etc/same": "1", "etc/link": "-> same", "etc/mine": "a"}),
        ("b", {"etc/same": "1", "etc/link": "-> same", "etc/mine": "b"}, {"replaces": ("a",)}),
    )
    assert image.read("etc/mine") == "b"
    # An equal file is the first package's, an equal link both packages'.
    assert image.listed["a"] == ["etc", "etc/link", "etc/same"]
    assert image.listed["b"] == ["etc", "etc/link", "etc/mine"]


def test_dot_files_at_the_start_are_taken_for_control_files(make):
    image = make(("a", {".a": "1", ".d/x": "2", "etc/.x": "3"}), ("b", {"etc/y": "", ".z": "4"}))
    assert not {".a", ".z"} & image.members.keys()
    assert image.listed["a"] == [".d", ".d/x", "etc", "etc/.x"]


def test_packages_without_an_origin_count_as_of_one(make):
    image = make(("a", {"x": "a"}, {"origin": ""}), ("b", {"x": "b"}, {"origin": ""}))
    assert image.read("x") == "b"
    with pytest.raises(FileConflictError, match="packages c and d both own /y"):
        make(("c", {"y": "c"}), ("d", {"y": "d"}))
    with pytest.raises(FileConflictError, match="/proc is a directory in every image"):
        make(("e", {"proc": "no directory"}))


# -- database, record, accounts ---------------------------------------------------------------


def test_database(make):
    image = make(
        ("a", {"etc/x": "1"}, {"install_if": ("b=1", "c"), "triggers": ("/lib/*",)}),
        build_date=7,
    )
    assert "\ni:[b=1 c]\n" in image.read(DATABASE)
    assert parse_installed(image.read(DATABASE))[0].entry.install_if == ("b=1", "c")
    assert image.read("usr/lib/apk/db/triggers").endswith(" /lib/*\n")
    assert image.read("etc/apk/world") == "a=1.0-r0\n"
    assert image.read("etc/apk/arch") == "x86_64\n"
    assert image.members["usr/lib/apk/db/lock"].mode == 0o600


def test_repositories_are_sorted(make):
    image = make(
        contents={"repositories": ["https://b/", "https://a"], "build_repositories": ["https://c"]}
    )
    assert image.read("etc/apk/repositories") == "https://a\nhttps://b\n"


def test_keys_of_the_build_are_there_before_those_of_packages(make):
    path = "etc/apk/keys/k.rsa.pub"
    files = {path: PackageFile(path, content=b"key", mtime=33)}
    image = make(("keys", files), keys=[("k.rsa.pub", "key")], layering=ORIGIN)
    assert path not in names(image.layers[0])
    assert image.members[path].mtime == 0
    assert path in image.listed["keys"]


def test_record(make):
    image = make(
        ("a", {"x": "1"}),
        entrypoint={"type": "service-bundle", "services": {"b": "run <b>", "a": "x && y"}},
        accounts={"run-as": "web", "users": [{"username": "web", "uid": 65532}]},
        environment={"B": "2", "A": "\u2028"},
    )
    text = image.read("etc/apko.json")
    assert '"services":{"a":"x \\u0026\\u0026 y","b":"run \\u003cb\\u003e"}' in text
    assert '"environment":{"A":"\\u2028","B":"2"}' in text
    value = json.loads(text)
    assert value["accounts"] == {
        "run-as": "65532",
        "users": [{"username": "web", "uid": 65532, "homedir": "/home/web"}],
    }
    assert value["entrypoint"]["command"] == "/bin/s6-svscan /sv"
    assert image.members["etc/apko.json"].mode == 0o444
    assert json.loads(make().read("etc/apko.json"))["entrypoint"] == {}


def test_accounts(make):
    base = {
        "etc/passwd": "root:x:0:0:root:/root:/bin/ash\nd:x:9:9:d:/dev/null:/bin/false\n",
        "etc/group": PackageFile("etc/group", content=b"root:x:0:\n", mode=0o600, mtime=55),
    }
    image = make(
        ("base", base),
        accounts={
            "run-as": "web",
            "users": [{"username": "web", "uid": 5, "gid": 6}],
            "groups": [{"groupname": "web", "gid": 6, "members": ["web", "d"]}],
        },
    )
    assert image.read("etc/passwd").endswith(
        "web:x:5:6:Account created by apko:/home/web:/bin/sh\n"
    )
    assert image.read("etc/shadow") == "web:!:::::::\n"
    assert image.read("etc/group") == "root:x:0:\nweb:x:6:web,d\n"
    found = image.members
    # What is written over keeps its mode and time.
    assert (found["etc/group"].mode, found["etc/group"].mtime) == (0o600, 55)
    assert (found["etc/shadow"].mode, found["etc/shadow"].mtime) == (0o640, 0)
    homes = [found[path] for path in ("home", "home/web", "root")]
    assert [(m.mode, m.uid, m.gid, m.uname, m.gname) for m in homes] == [
        (0o755, 0, 0, "root", "root"),
        (0o700, 5, 6, "web", "web"),
        (0o700, 0, 0, "root", "root"),
    ]
    assert image.config["config"]["User"] == "5"


@pytest.mark.parametrize("line", ["root:x:0:0", "root:x:zero:0:r:/root:/bin/sh"])
def test_an_account_file_that_is_none(make, line):
    with pytest.raises(AccountError, match="which is no account"):
        make(("base", {"etc/passwd": f"{line}\n"}))


def test_a_home_that_is_a_file(make):
    files = {"etc/passwd": "a:x:1:1:a:/etc/passwd:/bin/sh\n"}
    with pytest.raises(AccountError, match="is no directory"):
        make(("base", files))


def test_the_last_name_of_a_number_owns_files(make):
    image = make(("a", {"etc/passwd": "root:x:0:0:r:/:/bin/sh\ntoor:x:0:0:r:/:/bin/sh\n"}))
    assert image.members["etc/passwd"].uname == "toor"


# -- paths ------------------------------------------------------------------------------------


def test_paths(make):
    files = {"bin/tool": PackageFile("bin/tool", content=b"tool", mode=0o755, mtime=77)}
    image = make(
        ("a", files),
        paths=[
            {"path": "/new/deep", "type": "directory", "permissions": 0o2750, "uid": 3},
            {"path": "/new/file", "type": "empty-file", "permissions": 0o640, "gid": 4},
            {"path": "/usr/second", "type": "hardlink", "source": "/bin/tool"},
            {"path": "/bin/tool", "type": "empty-file", "permissions": 0o700},
            {"path": "/bin/link", "type": "symlink", "source": "tool", "permissions": 0o711},
        ],
    )
    found = image.members
    facts = {
        path: (found[path].mode, found[path].uid, found[path].gid, found[path].mtime)
        for path in ("new", "new/deep", "new/file", "bin/tool", "usr/second", "bin/link")
    }
    assert facts == {
        "new": (0o2750, 0, 0, 0),
        "new/deep": (0o2750, 3, 0, 0),
        "new/file": (0o640, 0, 4, 0),
        # A hard link is a second file with all that happens to the first.
        "bin/tool": (0o711, 0, 0, 77),
        "usr/second": (0o711, 0, 0, 77),
        "bin/link": (0o777, 0, 0, found["bin"].mtime),
    }
    assert image.read("bin/tool") == image.read("usr/second") == "tool"
    assert found["usr/second"].isreg()


def test_recursive_and_omitted_permissions(make):
    files = {"d/a": "1", "d/e/b": "2", "other": "3", "d/link": "-> ../other"}
    paths = [{"path": "d", "type": "permissions", "recursive": True, "uid": 9}]
    found = make(("a", files), paths=paths).members
    changed = ["d", "d/a", "d/e", "d/e/b", "other"]
    assert [(found[path].mode, found[path].uid) for path in changed] == [(0, 9)] * 5


def test_the_root(make):
    paths = [{"path": "/", "type": "permissions", "permissions": 0o700, "recursive": True}]
    found = make(("a", {"x": "1"}), paths=paths).members
    assert [found[path].mode for path in ("x", "etc", "tmp")] == [0o700] * 3
    paths = [{"path": "/", "type": "empty-file", "permissions": 0o700}]
    with pytest.raises(TreeError, match="/ is a directory"):
        make(paths=paths, compat=False)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"path": "x", "type": "permissions"}, "nothing at this path"),
        ({"path": "x", "type": "hardlink", "source": "/none"}, "no file of the image"),
        ({"path": "etc", "type": "symlink", "source": "/none"}, "already there"),
        ({"path": "/", "type": "symlink", "source": "/none"}, "/ is a directory"),
        ({"path": "/x/..", "type": "hardlink", "source": "/a"}, "/ is a directory"),
        ({"path": "/", "type": "empty-file"}, "/ is a directory"),
        ({"path": "a/b", "type": "directory"}, "/a is no directory"),
    ],
)
def test_paths_that_cannot_be(make, item, message):
    with pytest.raises(TreeError, match=message):
        make(("a", {"a": "file"}), paths=[item])


# -- links, services, configuration -----------------------------------------------------------


def test_busybox_and_services(make):
    files = {
        "bin": directory("bin", mtime=99),
        "bin/busybox": "x",
        "bin/ls": "a file of its own",
        "etc/busybox-paths.d/busybox-full": "/bin/busybox\n/bin/sh\n/bin/ls\n/sbin/init\n",
        "etc/busybox-paths.d/other": "/bin/never\n",
    }
    image = make(
        ("busybox-full", files, {"provides": ("busybox=1.0",)}),
        entrypoint={"type": "service-bundle", "services": {"web": "httpd"}},
    )
    found = image.members
    assert (found["bin/sh"].linkname, found["bin/sh"].mtime) == ("/bin/busybox", 99)
    assert found["sbin/init"].issym()
    assert found["bin/ls"].isreg()
    assert "bin/never" not in found
    assert [found[path].mode for path in ("sv", "sv/web", "sv/web/run")] == [0o777, 0o777, 0o755]
    assert image.read("sv/web/run") == "#!/bin/execlineb\nhttpd\n"


def test_lib_apk_has_the_time_of_its_directory(make):
    found = make(("a", {"lib": directory("lib", mtime=44)})).members
    assert (found["lib/apk"].linkname, found["lib/apk"].mtime) == ("../usr/lib/apk", 44)
    merged = make(("b", {"usr/lib/": "", "lib": "-> usr/lib"})).members
    assert merged["lib"].issym()
    assert "lib/apk" not in merged


def test_devices(make):
    found = make().members
    assert [(found[f"dev/{n}"].devmajor, found[f"dev/{n}"].devminor, found[f"dev/{n}"].mode)
            for n in ("zero", "urandom", "null", "random", "console")] == [
        (1, 5, 0o666), (1, 9, 0o666), (1, 3, 0o666), (1, 8, 0o666), (5, 1, 0o620),
    ]  # fmt: skip


def test_image_configuration(make):
    image = make(
        cmd='say "a\\nb" # not said',
        entrypoint={"command": "run 'x y' z\\ z"},
        environment={"PATH": "/bin", "FOO": "1", "FOO1": "2"},
        **{"vcs-url": "https://git@host/repo@abc"},
        annotations={"org.opencontainers.image.title": "T"},
    )
    assert image.config["config"]["Cmd"] == ["say", "anb"]
    assert image.config["config"]["Entrypoint"] == ["run", "x y", "z z"]
    assert image.config["config"]["Env"] == [
        "FOO1=2", "FOO=1", "PATH=/bin", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt",
    ]  # fmt: skip
    labels = image.config["config"]["Labels"]
    assert labels["org.opencontainers.image.source"] == "https://git"
    assert labels["org.opencontainers.image.revision"] == "host/repo@abc"
    assert image.config["history"][0]["comment"] == "This is a plimsoll single-layer image"


# -- layers -----------------------------------------------------------------------------------


def of(path, content, mtime):
    return {path: PackageFile(path, content=content, mtime=mtime)}


def test_layers_by_origin(make):
    image = make(
        ("big", of("usr/bin/big", bytes(5000), 10)),
        ("one", of("usr/bin/one", b"1", 20), {"origin": "o"}),
        ("two", of("usr/share/two", b"2", 30), {"origin": "o"}),
        layering=ORIGIN,
    )  # fmt: skip
    big, small, top = image.layers
    database = ["usr/lib", "usr/lib/apk", "usr/lib/apk/db", DATABASE]
    assert names(big) == ["usr", "usr/bin", "usr/bin/big", *database]
    # What was entered and left again in between is written again.
    assert names(small) == [
        "usr", "usr/bin", "usr/bin/one", *database, "usr/share", "usr/share/two",
    ]  # fmt: skip
    assert [m.mtime for m in big[0]] == [10, 10, 10, 0, 0, 0, 0]
    assert [m.mtime for m in small[0]] == [20, 20, 20, 0, 0, 0, 0, 30, 30]
    assert [r.entry.name for r in parse_installed(small[1][DATABASE].decode())] == ["one", "two"]
    assert [r.entry.name for r in parse_installed(top[1][DATABASE].decode())] == [
        "big", "one", "two",
    ]  # fmt: skip
    # All directories are on top, with their own times, and nothing of a package is.
    assert {"usr", "usr/bin", "usr/share", "etc/apko.json", "dev/null"} <= set(names(top))
    assert not {"usr/bin/big", "usr/bin/one", "usr/share/two"} & set(names(top))
    assert [h.get("comment") for h in image.config["history"]] == [None] * 3


def test_layers_budget_and_ties(make):
    packages = [(name, {f"opt/{name}": name[0] * 10}) for name in ("bb", "cc", "aa")]
    layering = {"strategy": "origin", "budget": 2}
    image = make(*packages, layering=layering)
    found = [[r.entry.name for r in parse_installed(c[DATABASE].decode())] for _, c in image.layers]
    assert found == [["aa"], ["bb", "cc"], ["bb", "cc", "aa"]]


def test_what_is_written_over_stays_in_its_package_s_layer(make):
    files = {"etc/passwd": "root:x:0:0:r:/root:/bin/sh\n", "etc/y": "1"}
    image = make(("base", files), layering={"strategy": "origin", "budget": 1},
                 accounts={"users": [{"username": "u", "uid": 5}]})  # fmt: skip
    assert "etc/passwd" in names(image.layers[0])
    assert b"u:x:5" in image.layers[0][1]["etc/passwd"]
    assert "etc/passwd" not in names(image.layers[1])
    # It is not as its package brings it, and is listed as such.
    assert "./etc/passwd" in [item["fileName"] for item in image.sbom["files"]]


@pytest.mark.parametrize("compat", [False, True])
def test_a_document_that_is_too_large_is_told_of(make, compat):
    path = "var/lib/db/sbom/a-1.0-r0.spdx.json"
    image = make(("a", {path: b" " * ((16 << 20) + 1)}), compat=compat)
    assert [
        f"{p['name']} {p['versionInfo']}" for p in image.sbom["packages"] if p["name"] == "a"
    ] == ["a 1.0-r0"]
    (warning,) = image.warnings
    assert warning.startswith("a brings an SPDX document that cannot be used: it has 16777217")


@pytest.mark.parametrize("compat", [False, True])
@pytest.mark.parametrize("kind", ["-> elsewhere", "/"])
def test_what_should_be_a_document_or_a_release_and_is_none(make, compat, kind):
    paths = ["var/lib/db/sbom/a.spdx.json", "etc/os-release", "etc/passwd", "etc/group"]
    files = {f"{p}/": "" for p in paths} if kind == "/" else dict.fromkeys(paths, kind)
    if kind == "/":
        # The accounts have nowhere to be written to.
        files = {path: content for path, content in files.items() if "etc/" not in path}
        files["etc/os-release/"] = ""
    image = make(("a", files), compat=compat)
    assert "a" in [p["name"] for p in image.sbom["packages"]]


def test_the_reference_has_no_layer_per_package(make):
    with pytest.raises(UnsupportedError, match="no layering strategy 'package'"):
        make(layering={"strategy": "package", "budget": 3})

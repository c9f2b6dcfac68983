"""What the reference makes of packages and a configuration, fact by fact."""

from __future__ import annotations

import json

import pytest

from plimsoll.apk.installed import parse_installed
from plimsoll.apk.tarfmt import Type
from plimsoll.apk.writer import PackageFile
from plimsoll.builder.accounts import AccountError
from plimsoll.builder.node import FileConflictError

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

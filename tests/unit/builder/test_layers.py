from __future__ import annotations

import gzip
import hashlib
import io
import pathlib
import tarfile
from tempfile import TemporaryDirectory

import pytest

from apk_repository import Repository, signing_key
from plimsoll.api.image import Path
from plimsoll.apk.tarfmt import Type
from plimsoll.apk.writer import PackageFile
from plimsoll.builder.cache import PackageCache
from plimsoll.builder.layers import make_layers
from plimsoll.builder.rootfs import apply_paths
from plimsoll.builder.store import CorruptEntryError, Store
from plimsoll.builder.tree import Tree


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "cache") as made:
        yield made


@pytest.fixture
def packages(tmp_path, store):
    cache = PackageCache(store)
    repository = Repository(tmp_path / "repo", signing_key())
    repository.add(
        "a",
        {
            "usr/bin/a": "a" * 3000,
            "usr/bin/b": PackageFile("usr/bin/b", Type.HARDLINK, linkname="usr/bin/a"),
            "usr/lib/liba": "-> liba.1",
            "usr/lib/liba.1": PackageFile(
                "usr/lib/liba.1", mode=0o4755, uid=3, gid=4, content=b"lib",
                xattrs={"user.note": b"\x00\xff"},
            ),
            "var/spool": PackageFile("var/spool", Type.DIRECTORY, mode=0o3775, gid=9),
            "usr/share/" + "long-name/" * 20 + "é": "deep",
        },
        archs=("x86_64",),
        origin="src",
    )  # fmt: skip
    repository.add("c", {"etc/c": "c"}, archs=("x86_64",), replaces=("a",))
    found = []
    for entry in repository.entries["x86_64"]:
        path = tmp_path / "repo" / "x86_64" / entry.file_name
        found.append(cache.fill(path, checksum=entry.checksum, source="test"))
    return found


class Member(tarfile.TarInfo):
    __slots__ = ("data",)


def contents(layer) -> dict[str, Member]:
    stream = b"".join(layer.chunks())
    assert hashlib.sha256(stream).hexdigest() == layer.digest
    assert len(stream) == layer.size
    data = gzip.decompress(stream)
    assert hashlib.sha256(data).hexdigest() == layer.diff_id
    with tarfile.open(fileobj=io.BytesIO(data), tarinfo=Member) as tar:
        members = tar.getmembers()
        found = {m.name: m for m in members}
        assert len(found) == len(members)
        for member in members:
            if member.isfile():
                member.data = tar.extractfile(member).read()
    return found


def test_a_layer_holds_everything_as_it_was(packages, store):
    tree = Tree(packages)
    tree.write("etc/made", b"here", 0o600, 1, 2)
    (layer,) = make_layers(tree, [[0, 1]], store)
    found = contents(layer)
    assert found["usr/bin/a"].data == b"a" * 3000
    assert found["usr/bin/b"].islnk()
    assert found["usr/bin/b"].linkname == "usr/bin/a"
    assert found["usr/lib/liba"].linkname == "liba.1"
    library = found["usr/lib/liba.1"]
    assert (library.mode, library.uid, library.gid) == (0o4755, 3, 4)
    assert "SCHILY.xattr.user.note" in library.pax_headers
    assert not [k for k in library.pax_headers if "APK-TOOLS" in k]
    assert (found["var/spool"].mode, found["var/spool"].gid) == (0o3775, 9)
    assert found["usr/share/" + "long-name/" * 20 + "é"].data == b"deep"
    assert (found["etc/made"].data, found["etc/made"].mode) == (b"here", 0o600)
    # An unchanged package is not compressed again.
    assert packages[0].segment.packed in layer.members
    assert packages[1].segment.packed in layer.members


def test_changed_entries_make_a_new_member(packages, store):
    tree = Tree(packages)
    tree.change(tree.nodes["usr/lib/liba.1"], mode=0o600, owner=(8, 9))
    tree.write("usr/bin/a", b"another")
    (layer,) = make_layers(tree, [[0, 1]], store)
    found = contents(layer)
    assert found["usr/bin/a"].data == b"another"
    # The hard link keeps what it was a link to.
    assert found["usr/bin/b"].isfile()
    assert found["usr/bin/b"].data == b"a" * 3000
    assert (found["usr/lib/liba.1"].mode, found["usr/lib/liba.1"].uid) == (0o600, 8)
    assert found["usr/lib/liba.1"].data == b"lib"
    assert packages[0].segment.packed not in layer.members
    assert packages[1].segment.packed in layer.members
    tree = Tree(packages)
    tree.change(tree.nodes["usr/lib/liba.1"], mode=0o600, owner=(8, 9))
    tree.write("usr/bin/a", b"another")
    assert make_layers(tree, [[0, 1]], store) == [layer]


def test_names_of_one_file_that_change_alike_stay_one_file(packages, store):
    """However much a change is for, no content is there twice because of it."""
    tree = Tree(packages)
    for path in ("usr/bin/a", "usr/bin/b"):
        tree.change(tree.nodes[path], mode=0o700, owner=(5, 6))
    found = contents(make_layers(tree, [[0, 1]], store)[0])
    assert found["usr/bin/b"].islnk()
    assert found["usr/bin/b"].linkname == "usr/bin/a"
    assert (found["usr/bin/a"].mode, found["usr/bin/a"].uid) == (0o700, 5)
    tree = Tree(packages)
    tree.change(tree.nodes["usr/bin/b"], mode=0o700)
    found = contents(make_layers(tree, [[0, 1]], store)[0])
    assert (found["usr/bin/a"].mode, found["usr/bin/b"].mode) == (0o644, 0o700)
    assert found["usr/bin/b"].data == found["usr/bin/a"].data


def test_several_layers(packages, store):
    tree = Tree(packages)
    tree.write("etc/made", b"here")
    layers = make_layers(tree, [[0], [1]], store)
    found = [contents(layer) for layer in layers]
    assert "usr/bin/a" in found[0]
    assert "etc/c" not in found[0]
    assert set(found[1]) == {"etc", "etc/c"}
    assert set(found[2]) == {"etc", "etc/made"}
    assert found[0]["var/spool"].mode == 0o3775


def test_damage_in_the_cache_is_seen(packages, store, tmp_path):
    cache = PackageCache(store)
    loaded = [cache.load(p.checksum) for p in packages]
    assert all(p is not None for p in loaded)
    victim = loaded[0].segment.packed.source
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    with pytest.raises(CorruptEntryError):
        make_layers(Tree(loaded), [[0, 1]], store)
    # A record that lies is no record.
    meta = store.path("packages", packages[1].key) / "meta"
    meta.write_bytes(meta.read_bytes().replace(b"etc/c", b"etc/d"))
    assert cache.load(packages[1].checksum) is None
    assert not meta.exists()


def test_known_layers_are_not_read_again(packages, store):
    layers = make_layers(Tree(packages), [[0, 1]], store)
    for package in packages:
        source = package.segment.packed.source
        source.rename(source.with_name("aside"))
    cache = PackageCache(store)
    again = make_layers(Tree([cache.load(p.checksum) for p in packages]), [[0, 1]], store)
    assert [x.digest for x in again] == [x.digest for x in layers]
    for package in packages:
        source = package.segment.packed.source
        source.with_name("aside").rename(source)
    contents(again[0])


def test_a_layer_is_written_once_and_then_moved(packages, store, tmp_path):
    (layer,) = make_layers(Tree(packages), [[0, 1]], store)
    stream = b"".join(layer.chunks())
    assert layer.file.read_bytes() == stream
    layer.write_to(tmp_path / "first")
    assert not layer.file.exists()
    layer.write_to(tmp_path / "second")
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes() == stream


def test_a_layer_is_put_together_again_on_another_file_system(packages, store, tmp_path):
    elsewhere = pathlib.Path("/dev/shm")
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is one file system only")
    (layer,) = make_layers(Tree(packages), [[0, 1]], store)
    with TemporaryDirectory(dir=elsewhere) as folder:
        layer.write_to(pathlib.Path(folder, "layer"))
        assert pathlib.Path(folder, "layer").read_bytes() == b"".join(layer.chunks())


def test_a_second_file_is_copied_within_the_cache(packages, store):
    tree = Tree(packages)
    paths = [
        Path(path="/opt/x", type="hardlink", source="/usr/bin/b", permissions=0o700),
        Path(path="/opt/y", type="hardlink", source="/opt/x", permissions=0o600, uid=7),
    ]
    apply_paths(tree, paths)
    # The first name may change: the content stays what it was.
    tree.write("usr/bin/a", b"another")
    assert tree.nodes["opt/x"].content == b""
    assert tree.content(tree.nodes["opt/y"]) == b"a" * 3000
    (layer,) = make_layers(tree, [[0, 1]], store)
    found = contents(layer)
    assert found["opt/x"].data == found["opt/y"].data == b"a" * 3000
    assert (found["opt/x"].mode, found["opt/y"].mode, found["opt/y"].uid) == (0o700, 0o600, 7)
    assert make_layers(tree, [[0, 1]], store) == [layer]
    assert "opt/x" in contents(make_layers(tree, [[0], [1]], store)[-1])

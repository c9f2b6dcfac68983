"""Layers of base images, of images that are compared or scanned: anybody may have made them."""

from __future__ import annotations

import gzip
import io
import time
import tracemalloc
from dataclasses import replace

import pytest
import zstandard

from apk_files import file, node, tar
from plimsoll.apk.tarfmt import Type
from plimsoll.arch import Arch
from plimsoll.builder import layerfiles
from plimsoll.builder.imagesource import ImageSourceError, open_image
from plimsoll.builder.layerfiles import LayerFiles, read_layers
from plimsoll.errors import Error
from plimsoll.oci.errors import LayoutError
from plimsoll.oci.layout import Layout
from plimsoll.oci.model import OCI_CONFIG, OCI_INDEX, OCI_LAYER, Index, Manifest, Platform
from plimsoll.oci.registry import Registry


def files_of(*layers: bytes) -> LayerFiles:
    found = LayerFiles("base")
    for layer in layers:
        found.add(io.BytesIO(layer), "sha256:0")
    return found


def header(name: bytes, size: int | bytes, kind: bytes) -> bytes:
    """A header that no sound writer makes."""
    block = bytearray(tar(file("x"), end=b""))
    raw = size if isinstance(size, bytes) else b"%011o\0" % size
    block[:100] = name.ljust(100, b"\0")
    block[124:136] = raw
    block[156:157] = kind
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize("kind", [b"x", b"L", b"K", b"g"])
def test_a_header_that_is_larger_than_the_memory(kind):
    zeros = gzip.compress(bytes(64 << 20), compresslevel=1)
    layer = gzip.compress(header(b"x", 64 << 20, kind)) + zeros + gzip.compress(tar(file("a")))
    tracemalloc.start()
    with pytest.raises(ImageSourceError, match=r"layer sha256:0 of base .* extended headers"):
        files_of(layer)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        pytest.param(tar(file("../../etc/passwd")), "leads out of the root", id="parent"),
        pytest.param(tar(file("a/../../b")), "leads out of the root", id="inner-parent"),
        pytest.param(tar(file("a"), node("b", Type.HARDLINK, linkname="../a")),
                     "leads out of the root", id="hard-link"),
        pytest.param(header(b"x", 0, b"L") * 3000 + tar(file("a")), "extended headers", id="chain"),
        pytest.param(header(b"x", 0, b"S") + tar(), "unknown type b'S'", id="sparse"),
        pytest.param(tar(file("x", pax={"GNU.sparse.realsize": b"9" * 15})), "sparse", id="sparse"),
        pytest.param(header(b"x", b"\xff" * 12, b"0") + tar(), "negative", id="negative"),
        pytest.param(header(b"x", 9000, b"0") + tar(), "cut short", id="size"),
        pytest.param(tar(file("x", pax={"size": b"-1"})), "pax record size", id="pax-size"),
        pytest.param(tar(file("n" * 5000)), "more than 4096 characters", id="name"),
        pytest.param(tar(file("x"))[:700], "within a block", id="cut"),
        pytest.param(gzip.compress(bytes(4 << 20))[:-20], "no readable tar", id="gzip-cut"),
        pytest.param(gzip.compress(tar(file("x"))) + b"behind", "no readable tar", id="behind"),
    ],
)  # fmt: skip
def test_what_is_refused(layer, message):
    with pytest.raises(ImageSourceError, match="layer sha256:0 of base is no readable tar") as info:
        files_of(layer)
    assert message in info.value.message


def test_bombs(monkeypatch):
    monkeypatch.setattr(layerfiles, "MAX_LAYER", 1 << 20)
    monkeypatch.setattr(layerfiles, "_MAX_FILES", 100)
    monkeypatch.setattr(layerfiles, "_MAX_NAMES", 10_000)
    big = tar(file("x", bytes(2 << 20)))
    many = tar(*(file(str(n)) for n in range(200)))
    markers = tar(*(file(f".wh.{n}") for n in range(200)))
    named = tar(*(file(f"{n:04000}") for n in range(5)))
    deep = tar(*(file(f"{n}/" + "a/" * 60 + "x") for n in range(5)))
    for data in (big, many, markers, named, deep):
        for layer in (data, gzip.compress(data), zstandard.compress(data)):
            with pytest.raises(ImageSourceError, match="holds too much"):
                files_of(layer)


def test_markers_for_every_file_take_no_longer_than_the_files():
    count = 20_000
    started = time.monotonic()
    found = files_of(
        tar(*(file(f"d/{n}") for n in range(count)), file("kept")),
        tar(*(file(f"d/.wh.{n}") for n in range(count))),
    )
    assert set(found.files) == {"kept"}
    assert time.monotonic() - started < 10


def test_a_file_in_the_place_of_a_directory_hides_it():
    below = tar(file("lib/apk/db/installed", b"P:x\nV:1\n\n"), file("usr/x"), file("usr-x"))
    assert files_of(below).database()
    for kind in (file("lib"), node("lib", Type.SYMLINK, linkname="usr")):
        found = files_of(below, tar(kind))
        assert set(found.files) == {"lib", "usr/x", "usr-x"}
        assert not found.database()
    # A directory that comes again changes its attributes only.
    assert set(files_of(below, tar(node("lib", Type.DIRECTORY))).files) > {"lib/apk/db/installed"}


def test_markers_speak_of_the_layers_below_only():
    below = tar(file("a/x"), file("a/y"), file("b"), node("c", Type.DIRECTORY), file("c/z"))
    found = files_of(below, tar(file("a/x"), file("a/.wh..wh..opq"), file(".wh.b"), file("b")))
    assert set(found.files) == {"a/x", "b", "c", "c/z"}
    assert set(files_of(below, tar(file(".wh..wh..opq"), file("n"))).files) == {"n"}
    assert set(files_of(below, tar(file(".wh.c"))).files) == {"a/x", "a/y", "b"}
    linked = tar(node("b", Type.HARDLINK, linkname="a/x"), file(".wh.b"))
    assert "b" in files_of(below, linked).files


def test_odd_layers_are_read_as_runtimes_read_them():
    latin = header("é".encode("latin-1"), 0, b"0")
    old = tar(file("old", pax={"mtime": b"-86400.5"}), end=b"")
    sized = header(b"d/", 4096, b"5")
    device = tar(node("dev/null", Type.CHARACTER_DEVICE, devmajor=1, devminor=3), end=b"")
    found = files_of(latin + old + sized + device + tar(file("x", b"1")), b"")
    assert set(found.files) == {"\\xe9", "old", "d", "dev/null", "x"}
    assert found.files["d"].size == 0
    assert found.files["dev/null"].content == "1:3"
    layer = latin + old + sized + device + tar(file("x", b"1"))
    assert layer[found.files["x"].offset :][:1] == b"1"


async def test_a_layer_that_is_not_what_its_digest_says(tmp_path):
    """Whoever wrote the files of a layout wrote no other image under the same digest."""
    layout = Layout.create(tmp_path / "layout")
    layer = layout.add_bytes(tar(file("x", b"1")), OCI_LAYER)
    config = layout.add_bytes(b'{"os":"linux","architecture":"amd64"}', OCI_CONFIG)
    manifest = Manifest(config=config, layers=(layer,))
    layout.name(layout.add_bytes(manifest.to_bytes(), manifest.media_type), "x")
    async with open_image(str(layout.path), None, Registry) as image:
        assert set((await read_layers(image, LayerFiles("x"))).files) == {"x"}
        layout.blob_path(layer.digest).write_bytes(tar(file("x", b"2")))
        with pytest.raises(ImageSourceError, match="is damaged"):
            await read_layers(image, LayerFiles("x"))
        layout.blob_path(config.digest).write_bytes(b"{}")
    with pytest.raises(LayoutError, match="is damaged"):
        async with open_image(str(layout.path), None, Registry):
            pass


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (b'{"a":[' + b"[]," * (2 << 20) + b"[]]}", "has more than 4194304 bytes"),
        (b'{"a":' * 100_000, "is no JSON object"),
        (b"[" * 100_000, "is no JSON object"),
        (b"[]", "is no JSON object"),
        (b'{"architecture": {"x": 1}}', "unknown architecture"),
    ],
)
async def test_configurations_that_are_none(config, message, tmp_path):
    layout = Layout.create(tmp_path / "layout")
    manifest = Manifest(config=layout.add_bytes(config, OCI_CONFIG), layers=())
    layout.name(layout.add_bytes(manifest.to_bytes(), manifest.media_type), "x")
    with pytest.raises(Error) as error:
        async with open_image(str(layout.path), Arch.AMD64, Registry):
            pass
    assert message in error.value.message


async def test_indexes_that_name_each_other(tmp_path):
    layout = Layout.create(tmp_path / "layout")
    top = layout.add_bytes(Index(manifests=()).to_bytes(), OCI_INDEX)
    for _ in range(3):
        inner = replace(top, platform=Platform(architecture="amd64"))
        top = layout.add_bytes(Index(manifests=(inner,)).to_bytes(), OCI_INDEX)
    layout.name(top, "x")
    with pytest.raises(ImageSourceError, match="is an index of indexes"):
        async with open_image(str(layout.path), Arch.AMD64, Registry):
            pass

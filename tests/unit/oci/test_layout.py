from __future__ import annotations

import json
import os
import tarfile

import pytest

from oci_images import add_image, add_index
from plimsoll.oci.archive import Tagged, write_archive
from plimsoll.oci.digest import digest_of
from plimsoll.oci.errors import InvalidManifestError, LayoutError
from plimsoll.oci.layout import REF_NAME, Layout
from plimsoll.oci.model import OCI_INDEX, OCI_LAYER_GZIP, Descriptor, Index


@pytest.fixture
def layout(tmp_path) -> Layout:
    return Layout.create(tmp_path / "layout")


def test_a_layout_is_made_found_and_never_written_over(tmp_path, layout):
    assert (layout.path / "oci-layout").read_bytes() == b'{"imageLayoutVersion":"1.0.0"}'
    top = add_image(layout)
    layout.name(top, "v1")
    assert Layout.create(layout.path).resolve("v1").digest == top.digest
    other = tmp_path / "other"
    other.mkdir()
    (other / "precious").write_text("x")
    with pytest.raises(LayoutError, match="not empty"):
        Layout.create(other)
    with pytest.raises(LayoutError, match="no OCI layout"):
        Layout.open(other)
    with pytest.raises(LayoutError, match="cannot write"):
        Layout.create(other / "precious" / "below")


@pytest.mark.parametrize("marker", [b"", b"{}", b'{"imageLayoutVersion":"2.0.0"}', b"x" * 5000])
def test_another_layout_is_refused(layout, marker):
    (layout.path / "oci-layout").write_bytes(marker)
    with pytest.raises(LayoutError):
        Layout.open(layout.path)


def test_names_are_unique_and_found(layout):
    one, two = add_image(layout, "amd64"), add_image(layout, "arm64")
    layout.name(one, "v1")
    layout.name(two, "v2")
    assert layout.resolve("v2").digest == two.digest
    layout.name(two, "v1")
    assert layout.resolve("v1").digest == two.digest
    assert len(layout.index.manifests) == 2
    with pytest.raises(LayoutError, match="2 images"):
        layout.resolve()
    with pytest.raises(LayoutError, match="it has: v1, v2"):
        layout.resolve("v3")


def test_damage_is_seen(layout):
    blob = layout.add_bytes(b"content", OCI_LAYER_GZIP)
    assert layout.read_blob(blob.digest) == b"content"
    with pytest.raises(LayoutError, match="more than 3"):
        layout.read_blob(blob.digest, 3)
    layout.blob_path(blob.digest).write_bytes(b"Content")
    with pytest.raises(LayoutError, match="damaged"):
        layout.read_blob(blob.digest)
    with pytest.raises(LayoutError, match="lacks"):
        layout.read_blob(digest_of(b"none"))
    (layout.path / "index.json").write_bytes(b"{}")
    with pytest.raises(LayoutError, match="schemaVersion"):
        _ = layout.index


def test_files_are_linked_moved_or_left(layout, tmp_path):
    source = tmp_path / "file"
    source.write_bytes(b"content")
    blob = layout.add_file(source, OCI_LAYER_GZIP)
    assert (blob.digest, blob.size) == (digest_of(b"content"), 7)
    assert source.stat().st_ino == layout.blob_path(blob.digest).stat().st_ino
    layout.add_file(source, OCI_LAYER_GZIP, digest=blob.digest, move=True)
    assert not source.exists()
    source.write_bytes(b"more")
    moved = layout.add_file(source, OCI_LAYER_GZIP, move=True)
    assert layout.read_blob(moved.digest) == b"more"
    assert not source.exists()
    assert [p.name for p in layout.path.rglob(".*")] == []
    with pytest.raises(LayoutError, match="cannot write"):
        layout.add_file(source, OCI_LAYER_GZIP)


def test_everything_of_an_image_is_found_in_order(layout):
    top = add_index(layout, "amd64", "arm64")
    found = layout.blobs_of(top)
    assert found[-1].digest == top.digest
    assert len(found) == 7
    for number, item in enumerate(found):
        if item.media_type.endswith("manifest.v1+json"):
            parts = layout.read_manifest(item)
            before = {d.digest for d in found[:number]}
            assert {parts.config.digest, *(la.digest for la in parts.layers)} <= before


def test_an_index_of_indexes_without_end_is_refused(layout):
    inner = add_image(layout)
    for _ in range(12):
        inner = layout.add_bytes(Index(manifests=(inner,)).to_bytes(), OCI_INDEX)
    with pytest.raises(InvalidManifestError, match="nested too deeply"):
        layout.blobs_of(inner)


def test_an_archive_is_the_same_bytes_every_time(layout, tmp_path):
    top = add_index(layout, "amd64", "arm64")
    one = add_image(layout, "riscv64")
    images = [Tagged(top, ["a.b/c:v1", "a.b/c:latest"]), Tagged(one, ["a.b/d:v2"])]
    write_archive(layout, images, tmp_path / "1.tar")
    os.utime(layout.blob_path(top.digest), (1, 1))
    write_archive(layout, images, tmp_path / "2.tar")
    assert (tmp_path / "1.tar").read_bytes() == (tmp_path / "2.tar").read_bytes()
    with tarfile.open(tmp_path / "1.tar") as tar:
        names = tar.getnames()
        docker = json.load(tar.extractfile("manifest.json"))
        index = Index.parse(tar.extractfile("index.json").read())
        tar.extractall(tmp_path / "out", filter="data")
    assert names[:3] == ["oci-layout", "index.json", "manifest.json"]
    assert [entry["RepoTags"] for entry in docker] == [
        ["a.b/c:v1-amd64", "a.b/c:latest-amd64"],
        ["a.b/c:v1-arm64", "a.b/c:latest-arm64"],
        ["a.b/d:v2"],
    ]
    assert all(entry["Config"] in names for entry in docker)
    assert [m.annotations[REF_NAME] for m in index.manifests] == ["v1", "latest", "v2"]
    assert Layout.open(tmp_path / "out").resolve("v2").digest == one.digest


def test_an_index_of_one_keeps_its_name(layout, tmp_path):
    top = add_index(layout, "amd64")
    write_archive(layout, [Tagged(top, ["a.b/c:v1"])], tmp_path / "a.tar")
    with tarfile.open(tmp_path / "a.tar") as tar:
        assert json.load(tar.extractfile("manifest.json"))[0]["RepoTags"] == ["a.b/c:v1"]


def test_an_archive_of_what_is_missing_leaves_nothing(layout, tmp_path):
    top = add_image(layout)
    missing = next(d for d in layout.blobs_of(top) if d.media_type == OCI_LAYER_GZIP)
    layout.blob_path(missing.digest).unlink()
    with pytest.raises(LayoutError):
        write_archive(layout, [Tagged(top, ["a/b:c"])], tmp_path / "a.tar")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["layout"]
    nothing = Descriptor.of(b"none", OCI_INDEX)
    with pytest.raises(LayoutError):
        write_archive(layout, [Tagged(nothing, ["a/b:c"])], tmp_path / "a.tar")

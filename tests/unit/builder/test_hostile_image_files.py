"""Images in tar files: anybody may have made them, and they are put into a folder."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile

import pytest
import zstandard

from apk_files import file, node, tar
from plimsoll.apk.tarfmt import Type
from plimsoll.builder import imagefile
from plimsoll.builder.imagefile import unpack
from plimsoll.builder.imagesource import ImageSourceError, open_image
from plimsoll.oci.registry import Registry


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([file("../x")], "leads out of the root"),
        ([file("blobs/../../x")], "leads out of the root"),
        ([file(".ssh/authorized_keys")], "which no image has"),
        ([file("a\x1b[2J")], "which no image has"),
        ([file("a/" * 9 + "x")], "which no image has"),
        ([file("x"), file("x")], "or has twice"),
        ([file("x"), file("./x")], "or has twice"),
        ([node("x", Type.SYMLINK, linkname="/etc"), file("x/passwd")], None),
        ([node("x", Type.SYMLINK, linkname="/etc/passwd")], None),
        ([node("x", Type.HARDLINK, linkname="/etc/passwd")], None),
        ([node("x", Type.HARDLINK, linkname="../../etc/passwd")], None),
        ([node("x", Type.SYMLINK, linkname="x")], None),
        ([node("x", Type.CHARACTER_DEVICE, devmajor=1, devminor=3)], None),
    ],
)
def test_nothing_leads_out_of_the_folder(members, message, tmp_path):
    (tmp_path / "image.tar").write_bytes(tar(file("ok"), *members))
    folder = tmp_path / "folder"
    folder.mkdir()
    if message is None:
        unpack(tmp_path / "image.tar", folder)
    else:
        with pytest.raises(ImageSourceError, match=r"image\.tar") as error:
            unpack(tmp_path / "image.tar", folder)
        assert message in error.value.message
        assert error.value.hint
    assert not any(path.is_symlink() or path.is_char_device() for path in folder.rglob("*"))
    assert {p.name for p in tmp_path.iterdir()} == {"image.tar", "folder"}


def test_bombs(tmp_path, monkeypatch):
    monkeypatch.setattr(imagefile, "MAX_LAYER", 1 << 20)
    monkeypatch.setattr(imagefile, "_MAX_FILES", 10)
    for members in ([file("x", bytes(2 << 20))], [file(str(n)) for n in range(20)]):
        (tmp_path / "image.tar").write_bytes(gzip.compress(tar(*members)))
        with pytest.raises(ImageSourceError, match="holds too much"):
            unpack(tmp_path / "image.tar", tmp_path / str(len(members)))


def docker_archive(images: int = 1, **changes: object) -> bytes:
    """What ``docker save`` wrote, with one layer twice."""
    layer = tar(file("a"))
    entry = {"Config": "c.json", "Layers": ["1/layer.tar", "2/layer.tar"], **changes}
    return tar(
        file("1/layer.tar", layer),
        node("2/layer.tar", Type.SYMLINK, linkname="../1/layer.tar"),
        file("c.json", b'{"os":"linux","architecture":"amd64"}'),
        file("list.json", b"[]"),
        file("manifest.json", json.dumps([entry] * images).encode()),
    )


async def layers_in(path) -> int:
    async with open_image(str(path), None, Registry) as image:
        return len(image.manifest.layers)


@pytest.mark.parametrize(
    "pack", [bytes, gzip.compress, bz2.compress, lzma.compress, zstandard.compress]
)
async def test_what_docker_saved(pack, tmp_path):
    (tmp_path / "image.tar").write_bytes(pack(docker_archive()))
    assert await layers_in(tmp_path / "image.tar") == 2


async def test_what_the_standard_library_wrote(tmp_path):
    with (
        tarfile.open(fileobj=io.BytesIO(docker_archive())) as source,
        tarfile.open(tmp_path / "image.tar", "w") as out,
    ):
        for entry in source:
            out.addfile(entry, source.extractfile(entry) if entry.isreg() else None)
    assert await layers_in(tmp_path / "image.tar") == 2


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_what_is_cut_short(pack, tmp_path):
    (tmp_path / "image.tar").write_bytes(pack(docker_archive())[:-30])
    with pytest.raises(ImageSourceError, match="is no readable tar file"):
        unpack(tmp_path / "image.tar", tmp_path / "folder")


@pytest.mark.parametrize(
    "changes",
    [
        {"Config": "/etc/passwd"},
        {"Config": "../x"},
        {"Config": "missing"},
        {"Config": 5},
        {"Layers": ["/etc/passwd"]},
        {"Layers": ["missing"]},
        {"Layers": "x"},
        {"Config": "list.json"},
        {"images": 65},
    ],
)
async def test_what_names_files_that_are_not_in_it(changes, tmp_path):
    (tmp_path / "image.tar").write_bytes(docker_archive(**changes))
    with pytest.raises(ImageSourceError, match="holds no image that can be read"):
        await layers_in(tmp_path / "image.tar")

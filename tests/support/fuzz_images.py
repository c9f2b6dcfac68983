"""Readers of images that others made, and of files in packages that a build looks into."""

from __future__ import annotations

import contextlib
import io
import json
import posixpath
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from plimsoll.api.image import ImageConfiguration
from plimsoll.apk.keys import load_public_key
from plimsoll.apk.tarfmt import TarReader
from plimsoll.apk.tarwrite import END, encode_header, padding
from plimsoll.arch import Arch
from plimsoll.builder import ldcache, ocibase, rootfs, sysusers
from plimsoll.builder.accounts import add_accounts, run_as
from plimsoll.builder.basefiles import packages_of
from plimsoll.builder.certificates import add_certificates
from plimsoll.builder.compatcompose import compose_compat
from plimsoll.builder.compose import Recipe
from plimsoll.builder.config import parse_config
from plimsoll.builder.discovery import _name, _pem
from plimsoll.builder.imagefile import unpack
from plimsoll.builder.imagesource import ImageSource
from plimsoll.builder.layer import Layer
from plimsoll.builder.layerfiles import LayerFiles
from plimsoll.builder.layertar import LayerReader
from plimsoll.builder.sca.elf import ElfError, read_elf
from plimsoll.builder.store import CorruptEntryError, storage_errors
from plimsoll.builder.tree import Tree
from plimsoll.oci.model import Descriptor, Manifest

if TYPE_CHECKING:
    from collections.abc import Callable


def base_image(data: bytes) -> None:
    """A base image of one layer: its files, and the packages in them."""
    files = LayerFiles("base")
    files.add(io.BytesIO(data), "sha256:0")
    for path in files.files:
        assert not path.startswith("/")
        assert ".." not in path.split("/")
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        try:
            others, packages = packages_of(files.files, files.database(), [Path(file.name)], "base")
        except CorruptEntryError:  # it is compressed: nothing is where it was
            return
        Tree([others, *packages])


def image_file(data: bytes) -> None:
    """An image in a tar file: what is made of it is plain files, in the folder."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "folder"
        folder.mkdir()
        (Path(place) / "image.tar").write_bytes(data)
        with storage_errors("reading"):  # a file may be where a folder must be
            unpack(Path(place) / "image.tar", folder)
        assert {path.name for path in Path(place).iterdir()} == {"folder", "image.tar"}
        assert not any(path.is_symlink() for path in folder.rglob("*"))


def base_configuration(data: bytes) -> None:
    """The configuration document of a base image, with a layer on top."""
    config = Descriptor.of(data, "application/json")
    image = ImageSource("x", config, Manifest(config=config, layers=()), data, _no_layer)
    document = image.document()
    _ = image.arch
    layers = [Layer("0" * 64, "1" * 64, 0, (), "x")]
    rootfs_ = document.get("rootfs")
    if isinstance(rootfs_, dict) and isinstance(rootfs_.get("diff_ids"), list):
        made = ocibase.config_on(
            document, layers, created=ocibase.created_on(document), labels={"a": "b"}
        )
        assert len(json.loads(made)["rootfs"]["diff_ids"]) == len(rootfs_["diff_ids"]) + 1


def _no_layer(item: Descriptor) -> contextlib.nullcontext[Path]:
    return contextlib.nullcontext(Path(item.digest))


def tar_again(data: bytes) -> None:
    """What was read of a tar is read the same when it is written again."""
    members = [(entry.header, bytes(entry.read())) for entry in TarReader([data], "x")]
    made = b"".join(encode_header(head) + body + padding(len(body)) for head, body in members)
    again = [(entry.header, bytes(entry.read())) for entry in TarReader([made + END], "again")]
    assert again == members


def layer_tar(data: bytes) -> None:
    """A layer is read by the lenient reader as the strict one reads it, where that does."""
    lenient = [(entry.header, bytes(entry.read())) for entry in LayerReader([data], "x")]
    assert lenient == [(entry.header, bytes(entry.read())) for entry in TarReader([data], "x")]


def loader_cache(data: bytes) -> None:
    """Libraries and the loader's configuration; the first line is that, the rest a library."""
    configuration, _, library = data.partition(b"\n")
    for arch in (Arch.AMD64, Arch.ARM64, Arch.X86, Arch.RISCV64):
        tree = Tree([])
        tree.write("etc/ld.so.conf", configuration.replace(b";", b"\n"))
        tree.write("etc/ld.so.conf.d/x.conf", library[:200])
        tree.write("usr/lib/libx.so.1", library)
        tree.write("lib/libx.so", library)
        ldcache.add_loader_cache(tree, arch)


def elf(data: bytes) -> None:
    """A program or library of whatever kind."""
    with contextlib.suppress(ElfError):
        read_elf(_Bytes(data))


class _Bytes:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def read_at(self, offset: int, size: int, /) -> bytes:
        assert offset >= 0
        assert 0 <= size < 1 << 28
        return self._data[offset : offset + size]


def declared_accounts(data: bytes) -> None:
    """Account files of packages, each part of the input one."""
    passwd, _, rest = data.partition(b"\n\n")
    group, _, declared = rest.partition(b"\n\n")
    tree = Tree([])
    tree.write("etc/passwd", passwd)
    tree.write("etc/group", group)
    tree.write("usr/lib/sysusers.d/x.conf", declared)
    sysusers.add_declared(tree)
    for path in ("etc/passwd", "etc/group"):
        node = tree.resolve(path)
        assert node is not None
        assert b"\0" not in tree.content(node) or b"\0" in data


def applied_configuration(data: bytes) -> None:
    """An image configuration, applied to an empty file tree."""
    config = parse_config(data.decode(errors="replace"), "image.yaml")
    assert isinstance(config, ImageConfiguration)
    tree = Tree([])
    add_accounts(tree, config.accounts)
    run_as(tree, config.accounts)
    rootfs.apply_paths(tree, config.paths)
    if config.certificates is not None:
        add_certificates(tree, config.certificates)
    for path, node in tree.nodes.items():
        assert not path.startswith("/")
        assert ".." not in path.split("/")
        assert node.kind is not None


def compat_configuration(data: bytes) -> None:
    """An image configuration, applied as the reference applies it."""
    config = parse_config(data.decode(errors="replace"), "image.yaml")
    tree = compose_compat(Recipe(Arch.AMD64, config, [], {}, compat=True), 0, 0)
    for path in tree.nodes:
        assert path == posixpath.normpath(path)
        assert ".." not in path.split("/")


def public_key(data: bytes) -> None:
    """A key file, and a key as a publisher announces it."""
    try:
        item = json.loads(data)
    except (ValueError, RecursionError):
        load_public_key(data, "x")
        return
    if isinstance(item, dict):
        _name(f"{item.get('kid', '')}.rsa.pub", "https://x.example/")
        _pem(item, "https://x.example/")


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__.replace("_", "-"): target
    for target in (
        applied_configuration, base_configuration, base_image, compat_configuration,
        declared_accounts, elf, image_file,
        layer_tar, loader_cache, public_key, tar_again,
    )
}  # fmt: skip

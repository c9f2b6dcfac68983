"""Whatever strangers wrote is read, or refused with an error of ours; nothing leaves the root."""

from __future__ import annotations

import io
import json
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.api.image import Path
from plimsoll.apk.tarfmt import Type
from plimsoll.arch import Arch
from plimsoll.builder import jks, ldcache, rootfs
from plimsoll.builder.config import parse_config
from plimsoll.builder.diff import difference
from plimsoll.builder.diffrender import html, text
from plimsoll.builder.discovery import DiscoveryError, _name, _pem
from plimsoll.builder.imagesource import ImageSourceError
from plimsoll.builder.layerfiles import FileView, LayerFiles
from plimsoll.builder.lock import Lock
from plimsoll.builder.node import Node
from plimsoll.builder.ocirepo import file_reference
from plimsoll.builder.tree import Tree
from plimsoll.builder.view import PackageView, View, document_view
from plimsoll.errors import Error

SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=8,
)
PARTS = st.lists(st.sampled_from(["a", "b", "..", ".", "", "c d", "é"]), min_size=1, max_size=6)
PATHS = PARTS.map("/".join)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(PATHS, PATHS), max_size=6), PATHS)
def test_links_lead_nowhere_out_of_the_root(links, path):
    tree = Tree([])
    try:
        for place, target in links:
            key = tree.real("/".join(p for p in place.split("/") if p not in {"", ".", ".."}))
            if key and key not in tree.nodes:
                link = f"/{target}"[len(place) % 2 :]
                tree.nodes[key] = Node(key, Type.SYMLINK, 0o777, link=link)
        real = tree.real(path, last=True)
    except Error:
        return
    assert not real.startswith("/")
    assert ".." not in real.split("/")


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.builds(
            Path,
            path=PATHS.filter(bool),
            type=st.sampled_from(["directory", "empty-file", "symlink", "hardlink", "permissions"]),
            source=PATHS.map(lambda text: text or "a"),
            recursive=st.booleans(),
        ),
        max_size=6,
    )
)
def test_paths_of_a_configuration_stay_below_the_root(items):
    tree = Tree([])
    try:
        rootfs.apply_paths(tree, items)
    except Error:
        return
    for path in tree.nodes:
        assert not path.startswith("/")
        assert ".." not in path.split("/")


def _tar(*members: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    return buffer.getvalue()


@settings(deadline=None)
@given(st.binary(max_size=600), st.integers(0, 1400), st.binary(min_size=1, max_size=40))
def test_any_layer_is_read_or_refused(noise, place, patch):
    info = tarfile.TarInfo("usr/bin/a")
    info.size = 300
    sound = _tar(info, tarfile.TarInfo("../../etc/passwd"))
    for data in (noise, sound[:place], sound[:place] + patch + sound[place + len(patch) :]):
        try:
            LayerFiles("x").add(io.BytesIO(data), "sha256:0")
        except ImageSourceError:
            continue


def test_layers_take_files_away():
    found = LayerFiles("x")
    names = ["a/x", "a/y", "b/x", "c"]
    found.add(io.BytesIO(_tar(*map(tarfile.TarInfo, names))), "")
    gone = ["a/early", "a/.wh..wh..opq", "b/.wh.x", ".wh.c", "a/new"]
    found.add(io.BytesIO(_tar(*map(tarfile.TarInfo, gone))), "")
    assert set(found.files) == {"a/early", "a/new"}


DOCUMENTS = (
    JSON
    | st.fixed_dictionaries({"spdxVersion": SCALARS, "packages": JSON})
    | st.fixed_dictionaries({"bomFormat": st.just("CycloneDX"), "components": JSON})
    | st.fixed_dictionaries({"contents": st.fixed_dictionaries({"packages": JSON})})
)


@settings(deadline=None)
@given(DOCUMENTS)
def test_any_document_is_read_or_refused(value):
    data = json.dumps(value).encode()
    for read in (lambda: document_view("x", data, None), lambda: Lock.parse(data, "x")):
        try:
            read()
        except Error:
            continue


@settings(deadline=None)
@given(st.text(max_size=80) | JSON.map(json.dumps))
def test_any_configuration_is_read_or_refused(content):
    try:
        parse_config(content, "x.yaml")
    except Error:
        return


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["kty", "kid", "n", "e"]), SCALARS))
def test_any_announced_key_is_read_or_refused(item):
    try:
        _name(f"{item.get('kid', '')}.rsa.pub", "https://x.example/")
        _pem(item, "https://x.example/")
    except DiscoveryError:
        return


@settings(deadline=None)
@given(st.binary(max_size=80), st.booleans())
def test_any_key_store_is_extended_or_refused(content, sealed):
    head = b"\xfe\xed\xfe\xed\0\0\0\2\0\0\0\0" + content
    data = head + jks._seal(head) if sealed else content
    try:
        made = jks.add_certificates(data, [("a", b"der")], "store")
    except Error:
        assert not sealed
        return
    assert jks._seal(made[:-20]) == made[-20:]


@settings(deadline=None)
@given(st.text(max_size=40))
def test_any_registry_url_is_read_or_refused(content):
    try:
        reference, _ = file_reference(f"oci://{content}")
    except Error:
        return
    assert ".." not in str(reference).split("/")


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_library_is_in_the_loader_cache_or_not(content):
    tree = Tree([])
    tree.write("etc/ld.so.conf", content)
    tree.write("lib/libx.so", b"\x7fELF\x02\x01\x01" + content)
    ldcache.add_loader_cache(tree, Arch.AMD64)
    assert tree.content(tree.nodes["etc/ld.so.cache"]).startswith(b"glibc-ld.so.cache1.1")


@settings(deadline=None)
@given(st.text(min_size=1, max_size=12), st.text(max_size=12))
def test_differences_can_steer_neither_terminal_nor_browser(name, value):
    files = {name: FileView("file", 0o644, 0, 0, 1, value)}
    one = View("a", "image", "d", {name: PackageView(value)}, files, {"Cmd": value})
    found = difference(one, View("b", "image", "e", {}, {}, {}))
    shown = text(found)
    assert not any(ord(c) < 32 and c != "\n" or 127 <= ord(c) < 160 for c in shown)  # noqa: RUF021
    page = html(found)
    body = page[page.index("<h1>") :]
    allowed = {"h1", "dl", "dt", "dd", "p", "code", "details", "summary", "small", "span"}
    allowed |= {"table", "tr", "th", "td"}
    tags = {part.split(">")[0].strip("/").split(" ")[0] for part in body.split("<")[1:]}
    assert tags <= allowed


@pytest.mark.parametrize(
    "name", ["../x.rsa.pub", "a/b.rsa.pub", ".rsa.pub", "x.pem", "a\n.rsa.pub"]
)
def test_names_of_announced_keys_are_file_names(name):
    with pytest.raises(DiscoveryError):
        _name(name, "https://x.example/")

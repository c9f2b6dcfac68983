"""Packages that lack the directories of their files, as no honest tool writes them."""

from __future__ import annotations

import pytest

from apk_files import apk, file, node, tar
from plimsoll.apk.package import verify_package
from plimsoll.apk.tarfmt import Type
from plimsoll.builder.cache import PackageCache
from plimsoll.builder.node import FileConflictError, TreeError
from plimsoll.builder.store import Store
from plimsoll.builder.tree import Tree


@pytest.fixture
def cached(tmp_path):
    """Packages of members, out of the cache."""
    with Store(tmp_path / "cache") as store:

        def make(name, *members):
            path = tmp_path / f"{name}.apk"
            path.write_bytes(apk(tar(*members)))
            checksum = verify_package(path, checksum=None).control.sha1
            return PackageCache(store).fill(path, checksum=checksum, source=str(path))

        yield make


@pytest.mark.parametrize("below", ["a/x", "a/b/x", "a/b/c/d/x"])
def test_a_file_above_files_of_another_package(cached, below):
    packages = [cached("one", file("a")), cached("two", file(below))]
    for order in (packages, packages[::-1]):
        with pytest.raises(FileConflictError, match="/a is a file in package p, and p has files"):
            Tree(order)


def test_links_in_a_circle_above_files_of_another_package(cached):
    links = cached(
        "one",
        node("a", Type.SYMLINK, linkname="b/c"),
        node("b", Type.SYMLINK, linkname="a"),
    )
    with pytest.raises(TreeError, match="lead in a circle"):
        Tree([links, cached("two", file("a/x/y/z"))])


def test_a_path_of_many_parts(cached):
    tree = Tree([cached("one", file("a/" * 1500 + "x"))])
    assert len(tree.nodes) == 1501

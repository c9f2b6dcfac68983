"""Configurations as their sources hold them."""

from __future__ import annotations

import pytest

from plimsoll.api.packagerequest import PackageRequest
from plimsoll.arch import Arch
from plimsoll.builder.package.errors import PackageConfigError
from plimsoll.builder.steps.packagefiles import (
    SmallFile,
    SourceTreeError,
    fingerprint,
    from_tar,
    read_folder,
    to_tar,
    write_folder,
)
from plimsoll.builder.steps.packageset import Configuration, flat, tree, wanted

HELLO = """\
package:
  name: hello  # the name
  version: 1.0
  epoch: 3
  description: says hello
environment: {contents: {packages: [busybox, "lib-dev>1", "!conflict"]}}
pipeline: [{runs: 'echo ${{package.full-version}}'}]
subpackages:
  - name: hello-doc
    dependencies: {provides: [doc=1]}
    test: {environment: {contents: {packages: [man]}}, pipeline: [{runs: 'true'}]}
"""


def request(**more):
    return PackageRequest.model_validate(
        {
            "name": "x", "namespace": "x", "uid": "x", "sources": [], "archs": ["amd64"],
            "storage": "x/y", "keys": {}, "signingKey": "x", "started": "2026-11-21T00:00:00Z",
            "builderId": "x", **more,
        }
    )  # fmt: skip


def items(*configurations, archs=(Arch.AMD64,), **more):
    found = wanted(list(configurations), request(**more), list(archs))
    return {arch.oci: one.items for arch, one in found.items()}


def hello(text=HELLO, **more):
    return Configuration("hello.yaml", text, **more)


def test_items():
    one = items(hello())["amd64"]["hello"]
    assert (one.name, one.version, one.epoch) == ("hello", "1.0", 3)
    assert one.offers == {"hello", "hello-doc", "doc"}
    assert one.needs == {"busybox", "lib-dev"}
    assert one.wants == {"man"}


def test_what_counts_as_another_input():
    def inputs(configuration, **more):
        return items(configuration, **more)["amd64"]["hello"].inputs

    same = inputs(hello())
    # An epoch alone, comments and layout are no reason.
    assert inputs(hello(HELLO.replace("epoch: 3", "epoch: 4"))) == same
    assert inputs(hello(HELLO.replace("  # the name", ""))) == same
    words = {"words.txt": SmallFile(b"words")}
    changed = [
        hello(HELLO.replace("echo", "printf")),
        hello(HELLO.replace("1.0", "1.1")),
        hello(HELLO.replace("busybox", "bash")),
        hello(files=words),
        hello(files={"words.txt": SmallFile(b"words", executable=True)}),
        hello(files={"words.txt": SmallFile(target="words")}),
    ]
    found = [inputs(one) for one in changed]
    found += [inputs(hello(), distribution="demo"), inputs(hello(), sourceDateEpoch=1)]
    assert len({same, *found}) == len(found) + 1


def test_pipelines_count_where_they_are_used():
    text = HELLO.replace("[{runs: 'echo ${{package.full-version}}'}]", "[{uses: team/one}]")
    both = {"team/one.yaml": SmallFile(b"pipeline: [{runs: one}]"),
            "team/two.yaml": SmallFile(b"pipeline: [{runs: two}]")}  # fmt: skip
    same = items(hello(text, pipelines=both))
    other = {**both, "team/two.yaml": SmallFile(b"pipeline: [{runs: three}]")}
    assert items(hello(text, pipelines=other)) == same
    other = {**both, "team/one.yaml": SmallFile(b"pipeline: [{runs: three}]")}
    assert items(hello(text, pipelines=other)) != same


def test_architectures():
    only = HELLO.replace("  epoch: 3", "  epoch: 3\n  target-architecture: [aarch64]")
    found = items(hello(only), archs=(Arch.AMD64, Arch.ARM64))
    assert (list(found["amd64"]), list(found["arm64"])) == ([], ["hello"])


def test_two_configurations_of_one_package():
    with pytest.raises(PackageConfigError, match=r"hello.yaml and other.yaml both make .* hello"):
        items(hello(), Configuration("other.yaml", HELLO))
    with pytest.raises(PackageConfigError, match=r"hello.yaml and hello.yaml both make .* hello"):
        items(hello(), hello())


def test_errors_name_the_place():
    with pytest.raises(
        PackageConfigError, match=r"hello.yaml:7:12: the variable .nonsense. is not defined"
    ):
        items(hello(HELLO.replace("'echo ${{package.full-version}}'", "'${{nonsense}}'")))


def test_epochs_are_written_without_changing_anything_else():
    written = hello().with_epoch(7, 3)
    assert written.text == HELLO.replace("epoch: 3", "epoch: 7")
    assert hello().with_epoch(3, 3).text == HELLO
    without = HELLO.replace("  epoch: 3\n", "")
    assert "  epoch: 7\n" in hello(without).with_epoch(7, 0).text


def test_epochs_need_a_place():
    flow = Configuration("x.yaml", "package: {name: x, version: 1}\n")
    with pytest.raises(PackageConfigError, match=r"package.epoch, which must become 2 .*epoch: 0"):
        flow.with_epoch(2, 0)
    with_one = Configuration("x.yaml", "package: {name: x, version: 1, epoch: 0}\n")
    assert with_one.with_epoch(2, 0).text == "package: {name: x, version: 1, epoch: 2}\n"


def file(text):
    return SmallFile(text.encode())


def test_a_config_map():
    files = {
        "hello.yaml": file(HELLO), "pipelines.team.install.yaml": file("x"), "fix.patch": file("y"),
    }  # fmt: skip
    (one,) = flat(files, "it")
    assert (one.path, one.text) == ("hello.yaml", HELLO)
    assert list(one.pipelines) == ["team/install.yaml"]
    assert list(one.files) == ["fix.patch"]
    with pytest.raises(SourceTreeError, match="it has no package configuration"):
        flat({"fix.patch": file("y")}, "it")
    with pytest.raises(SourceTreeError, match=r"it: hello.yaml is not UTF-8 text"):
        flat({"hello.yaml": SmallFile(b"\xff")}, "it")


def test_a_tree():
    files = {
        "hello.yaml": file(HELLO), "hello/fix.patch": file("y"), "pipelines/a/b.yaml": file("x"),
        ".hidden.yaml": file("z"), "other/deep.yaml": file("z"), "link.yaml": SmallFile(target="x"),
    }  # fmt: skip
    (one,) = tree(files, "it", repository="https://x", commit="1")
    assert (list(one.files), list(one.pipelines)) == (["fix.patch"], ["a/b.yaml"])
    assert (one.repository, one.commit) == ("https://x", "1")


def test_a_mounted_config_map_is_read_through_its_links(tmp_path):
    now = tmp_path / "..2026_11_21"
    now.mkdir()
    (now / "hello.yaml").write_text(HELLO)
    (tmp_path / "..data").symlink_to(now.name)
    (tmp_path / "hello.yaml").symlink_to("..data/hello.yaml")
    assert read_folder(tmp_path, "it") == {"hello.yaml": file(HELLO)}


def test_links_of_a_tree_stay_links(tmp_path):
    (tmp_path / "secret").write_text("secret")
    root = tmp_path / "root"
    (root / ".git").mkdir(parents=True)
    (root / ".git/config").write_text("x")
    (root / "link").symlink_to("../secret")
    (root / "run").write_text("x")
    (root / "run").chmod(0o755)
    found = read_folder(root, "it")
    assert found == {"link": SmallFile(target="../secret"), "run": SmallFile(b"x", executable=True)}
    again = from_tar(to_tar(found), "it")
    assert again == found
    assert fingerprint(again) == fingerprint(found)
    write_folder(found, tmp_path / "again")
    assert read_folder(tmp_path / "again", "it") == found


def test_nothing_is_written_through_a_link(tmp_path):
    files = {"a": SmallFile(target="/tmp"), "a/b": file("x")}
    with pytest.raises(SourceTreeError, match="lies below a"):
        write_folder(files, tmp_path / "out")

"""What the reference does with ``paths``, faults included."""

from __future__ import annotations

import pytest

from plimsoll.apk.writer import PackageFile
from plimsoll.builder.node import TreeError


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

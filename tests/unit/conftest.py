"""Small package trees."""

from pathlib import Path

import pytest

from plimsoll.builder.sca.tree import DirectoryTree


@pytest.fixture
def make_tree(tmp_path):
    """A tree of path → content (bytes), link target (str) or ``None`` for a directory."""
    made = []

    def make(files, *, modes=None, name="tree"):
        root = tmp_path / f"{name}{len(made)}"
        root.mkdir()
        for path, content in files.items():
            target = root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                target.mkdir(exist_ok=True)
            elif isinstance(content, str):
                target.symlink_to(Path(content))
            else:
                target.write_bytes(content)
                target.chmod((modes or {}).get(path, 0o755))
        tree = DirectoryTree(root)
        made.append(tree)
        return tree

    yield make
    for tree in made:
        tree.close()

"""The loader's cache beside that of the real ``ldconfig`` of each architecture."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from debian_apk.apt import Apt, AptError
from debian_apk.packages import UnknownPackageError
from elf_files import elf
from loader_cache import LINKS, MACHINES, parse, sample
from plimsoll.builder.ldcache import add_loader_cache
from plimsoll.builder.tree import Tree

pytestmark = pytest.mark.integration

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "plimsoll" / "debian"
EMULATORS = {
    "amd64": "x86_64",
    "arm64": "aarch64",
    "armhf": "arm",
    "loong64": "loongarch64",
    "ppc64el": "ppc64le",
}


@pytest.mark.parametrize("name", MACHINES)
def test_the_same_as_ldconfig(name, tmp_path):
    """Lists of packages are large: most are fetched on demand only, and not all of them are in
    every release of Debian. What ``ldconfig`` wrote here of every architecture is kept beside the
    unit tests, which compare with it."""
    if name not in {"amd64", "arm64"} and not os.environ.get("PLIMSOLL_ALL_ARCHITECTURES"):
        pytest.skip("only with PLIMSOLL_ALL_ARCHITECTURES=1")
    machine = MACHINES[name]
    emulator = shutil.which(f"qemu-{EMULATORS.get(name, name)}-static")
    if emulator is None:
        pytest.skip(f"needs an emulator of {name}")
    files = sample(machine)
    if name == "amd64":
        # That of arm64 takes libraries of other machines in; ours never does.
        files["lib/libforeign.so.1"] = elf(machine=8, soname="libforeign.so.1")
    root, tree = tmp_path / "root", Tree([])
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
        (root / path).chmod(0o755)
        tree.write(path, content, 0o755)
    for path, target in LINKS.items():
        (root / path).symlink_to(target)
        tree.symlink(path, target)
    done = subprocess.run(
        [emulator, ldconfig(name, tmp_path / "deb"), "-X", "-r", root],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    if "chroot" in done.stderr:
        pytest.skip("ldconfig -r needs root")
    assert done.returncode == 0, done.stderr
    written = (root / "etc/ld.so.cache").read_bytes()
    theirs, _ = parse(written, machine.order)
    add_loader_cache(tree, machine.arch)
    ours, _ = parse(tree.content(tree.nodes["etc/ld.so.cache"]), machine.order)
    assert ours == theirs
    assert len(ours) == 14
    kept = Path(__file__).parents[1] / "unit/builder/ldconfig" / f"{name}.cache"
    assert theirs == parse(kept.read_bytes(), machine.order)[0]


def ldconfig(name: str, folder: Path) -> Path:
    """That of Debian for an architecture."""
    try:
        apt = Apt(name, CACHE)
        (package,) = apt.download([apt.packages().get("libc-bin")])
    except (AptError, UnknownPackageError) as error:
        pytest.skip(f"no Debian packages can be had here: {error}")
    subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
    return next(p for p in folder.rglob("ldconfig") if p.is_file())

"""The loader's cache beside that of the real ``ldconfig`` of each architecture."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from debian_apk.apt import Apt, AptError
from elf_files import elf
from loader_cache import parse
from plimsoll.arch import Arch
from plimsoll.builder.ldcache import add_loader_cache
from plimsoll.builder.tree import Tree

pytestmark = pytest.mark.integration

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "plimsoll" / "debian"
#: Debian's name → architecture, ELF machine, bits, big-endian, emulator. Lists of packages of those
#: behind the first two are large and only fetched on demand (PLIMSOLL_ALL_ARCHITECTURES=1).
CASES = {
    "amd64": (Arch.AMD64, 62, 64, False, "qemu-x86_64-static"),
    "arm64": (Arch.ARM64, 183, 64, False, "qemu-aarch64-static"),
    "armhf": (Arch.ARMV7, 40, 32, False, "qemu-arm-static"),
    "i386": (Arch.X86, 3, 32, False, "qemu-i386-static"),
    "ppc64el": (Arch.PPC64LE, 21, 64, False, "qemu-ppc64le-static"),
    "s390x": (Arch.S390X, 22, 64, True, "qemu-s390x-static"),
}


@pytest.mark.parametrize("name", CASES)
def test_the_same_as_ldconfig(name, tmp_path):
    arch, machine, bits, big, emulator = CASES[name]
    if name not in {"amd64", "arm64"} and not os.environ.get("PLIMSOLL_ALL_ARCHITECTURES"):
        pytest.skip("only with PLIMSOLL_ALL_ARCHITECTURES=1")
    if shutil.which(emulator) is None:
        pytest.skip(f"needs {emulator}")
    try:
        apt = Apt(name, CACHE)
        (package,) = apt.download([apt.packages().get("libc-bin")])
    except AptError as error:
        pytest.skip(f"no Debian packages can be had here: {error}")
    subprocess.run(["dpkg-deb", "-x", package, tmp_path / "deb"], check=True)
    ldconfig = next(p for p in (tmp_path / "deb").rglob("ldconfig") if p.is_file())

    def library(soname=""):
        return elf(machine=machine, bits=bits, big=big, soname=soname)

    files = {
        "lib/libx.so.1.2": library("libx.so.1"),
        "lib/glibc-hwcaps/better/libx.so.1.2": library("libx.so.1"),
        "lib/glibc-hwcaps/best/libx.so.1": library("libx.so.1"),
        "lib/glibc-hwcaps/best/liby.so.10": library("liby.so.10"),
        "lib/glibc-hwcaps/own name/libx.so.1": library("libx.so.1"),
        "lib/glibc-hwcaps/best/deep/libx.so.1": library("libx.so.1"),
        "lib/liby.so.9": library("liby.so.9"),
        "lib/liby.so.10": library("liby.so.10"),
        "usr/lib/libx.so.1": library("libx.so.1"),
        "lib/libplain.so": library(),
        "etc/ld.so.conf": b"include /etc/ld.so.conf.d/*.conf\n",
        "etc/ld.so.conf.d/b.conf": b"/opt/b\n",
        "etc/ld.so.conf.d/a.conf": b"/opt/a\n",
        "opt/a/libx.so.1": library("libx.so.1"),
        "opt/b/libx.so.1": library("libx.so.1"),
    }
    if name == "amd64":
        # That of arm64 takes libraries of other machines in; ours never does.
        files["lib/libforeign.so.1"] = elf(machine=8, soname="libforeign.so.1")
    root = tmp_path / "root"
    tree = Tree([])
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
        (root / path).chmod(0o755)
        tree.write(path, content, 0o755)
    for path, target in {"lib/libx.so.1": "libx.so.1.2", "lib/libx.so": "libx.so.1"}.items():
        (root / path).symlink_to(target)
        tree.symlink(path, target)
    done = subprocess.run(
        [shutil.which(emulator), ldconfig, "-X", "-r", root],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    if "chroot" in done.stderr:
        pytest.skip("ldconfig -r needs root")
    assert done.returncode == 0, done.stderr
    order = ">" if big else "<"
    theirs, _ = parse((root / "etc/ld.so.cache").read_bytes(), order)
    add_loader_cache(tree, arch)
    ours, _ = parse(tree.content(tree.nodes["etc/ld.so.cache"]), order)
    assert ours == theirs
    assert len(ours) == 12

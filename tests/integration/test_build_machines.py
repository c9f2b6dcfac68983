"""Layers are the same bytes whatever processor makes them, and real tools take both kinds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from contextlib import contextmanager
from pathlib import Path

import deflate
import pytest
import zstandard

from apk_repository import Repository, signing_key
from command import plimsoll
from debian_apk.apt import AptError
from debian_apk.repository import build
from gotools import tool
from registries import distribution_registry

pytestmark = pytest.mark.integration

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "plimsoll" / "debian"
SCRIPT = """
import hashlib, random, sys
sys.path[:0] = sys.argv[1:]
import deflate, zstandard
source = random.Random(7)
words = [source.randbytes(source.randint(2, 12)) for _ in range(3000)]
data = b"".join(source.choices(words, k=330_000)) + bytes(300_000) + source.randbytes(300_000)
pieces = [data[at : at + (1 << 20)] for at in range(0, len(data), 1 << 20)]
for pack in (
    lambda piece: deflate.gzip_compress(piece, 1),
    lambda piece: zstandard.ZstdCompressor(level=1).compress(piece),
):
    print(hashlib.sha256(b"".join(map(pack, pieces))).hexdigest())
"""


def sums(*command: str) -> list[str]:
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    return done.stdout.split()


@pytest.fixture(scope="module")
def here() -> list[str]:
    return sums(sys.executable, "-c", SCRIPT)


@pytest.mark.skipif(shutil.which("qemu-x86_64-static") is None, reason="needs qemu-user-static")
@pytest.mark.parametrize("model", ["qemu64", "Nehalem", "Haswell", "EPYC"])
def test_processor_models_agree(here, model):
    libraries = str(Path(deflate.__file__).parents[1])
    python = str(Path(sys.executable).resolve())
    assert sums("qemu-x86_64-static", "-cpu", model, python, "-c", SCRIPT, libraries) == here


@pytest.mark.skipif(shutil.which("qemu-aarch64-static") is None, reason="needs qemu-user-static")
@pytest.mark.skipif(shutil.which("uv") is None, reason="needs uv")
def test_arm64_agrees(here, tmp_path):
    repository = tmp_path / "repo"
    try:
        build(repository, ["python3-minimal", "libstdc++6", "python3"], ["arm64"], CACHE)
    except AptError as error:
        pytest.skip(f"no Debian packages can be had here: {error}")
    config = tmp_path / "image.yaml"
    config.write_text(
        f"contents:\n  keyring: [{next(repository.glob('*.rsa.pub'))}]\n"
        f"  repositories: [{repository}]\n  packages: [python3]\narchs: [arm64]\n"
    )
    (tmp_path / "out").mkdir()
    plimsoll(tmp_path / "cache", "build", str(config), "x.example/python", str(tmp_path / "out"))
    root = tmp_path / "root"
    (manifest,) = manifests(tmp_path / "out")
    for layer in manifest["layers"]:
        with tarfile.open(blob(tmp_path / "out", layer)) as tar:
            tar.extractall(root, filter="tar")
    wheels = tmp_path / "wheels"
    versions = (f"deflate=={deflate.__version__}", f"zstandard=={zstandard.__version__}")
    done = subprocess.run(
        [
            *("uv", "pip", "install", "-q", "--python-platform", "aarch64-manylinux_2_28"),
            *("--python-version", "3.11", "--only-binary", ":all:", "--target", wheels, *versions),
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    if done.returncode:
        pytest.skip(f"no wheels for arm64 can be had here: {done.stderr}")
    python = next((root / "usr/bin").glob("python3.[0-9]*"))
    command = ("qemu-aarch64-static", "-L", str(root), str(python), "-c", SCRIPT, str(wheels))
    assert sums(*command) == here


def blob(layout: Path, descriptor: dict) -> Path:
    return layout / "blobs" / descriptor["digest"].replace(":", "/")


def manifests(layout: Path) -> list[dict]:
    index = json.loads((layout / "index.json").read_text())
    (top,) = index["manifests"]
    members = json.loads(blob(layout, top).read_text())["manifests"]
    return [json.loads(blob(layout, member).read_text()) for member in members]


@pytest.fixture
def config(tmp_path) -> Path:
    repository = Repository(tmp_path / "repo", signing_key())
    for name in ("one", "two", "three"):
        repository.add(name, {f"usr/share/{name}": name * 500_000}, archs=("x86_64",))
    repository.write()
    path = tmp_path / "image.yaml"
    path.write_text(
        f"contents:\n  keyring: [{repository.key_file}]\n  repositories: [{repository.root}]\n"
        "  packages: [one, two]\narchs: [amd64]\ncmd: /none\n"
        "layering: {strategy: package, budget: 10}\n"
    )
    return path


@contextmanager
def containerd(folder: Path):
    """A containerd of its own; yields the command line of its client."""
    address = folder / "containerd.sock"
    settings = folder / "config.toml"
    settings.write_text(
        f'version = 2\nroot = "{folder}/root"\nstate = "{folder}/state"\n'
        f'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\n  address = "{address}"\n'
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["containerd", "--config", str(settings)], stdout=log, stderr=log
        )
    client = ["ctr", "--address", str(address), "--connect-timeout", "30s"]
    try:
        yield client
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.skipif(
    shutil.which("ctr") is None or os.geteuid() != 0, reason="needs containerd, as root"
)
@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_containerd_and_crane_take_both_kinds(config, tmp_path, compression):
    config.write_text(f"{config.read_text()}compression: {compression}\n")
    with distribution_registry() as registry:
        reference = plimsoll(tmp_path / "cache", "publish", str(config), f"{registry.host}/box:1")
        crane = str(tool("crane"))
        # It reads every layer as gzip when it validates, and knows zstd where it exports.
        how = ["--fast"] if compression == "zstd" else []
        subprocess.run([crane, "validate", "--remote", reference, "--insecure", *how], check=True)
        whole = [crane, "export", "--platform", "linux/amd64", "--insecure", reference]
        subprocess.run([*whole, str(tmp_path / "whole.tar")], check=True)
        with tarfile.open(tmp_path / "whole.tar") as tar:
            assert tar.extractfile("usr/share/one").read() == b"one" * 500_000
        manifest = json.loads(
            subprocess.check_output(
                [crane, "manifest", reference, "--insecure", "--platform", "linux/amd64"]
            )
        )
        kinds = {layer["mediaType"] for layer in manifest["layers"]}
        assert kinds == {f"application/vnd.oci.image.layer.v1.tar+{compression}"}
        with containerd(tmp_path) as ctr:
            pull = ["images", "pull", "--plain-http", "--snapshotter", "native", reference]
            subprocess.run([*ctr, *pull], check=True, stdout=subprocess.DEVNULL, timeout=120)
            target = tmp_path / "rootfs"
            target.mkdir()
            mount = ["images", "mount", "--snapshotter", "native", reference, str(target)]
            subprocess.run([*ctr, *mount], check=True, stdout=subprocess.DEVNULL, timeout=120)
            try:
                found = (target / "usr/share/two").read_text()
            finally:
                subprocess.run([*ctr, "images", "unmount", str(target)], check=True)
        assert found == "two" * 500_000


def test_only_changed_layers_are_pushed(config, tmp_path):
    with distribution_registry() as registry:
        plimsoll(tmp_path / "cache", "publish", str(config), f"{registry.host}/box:1")
        before = uploads(registry)
        config.write_text(config.read_text().replace("[one, two]", "[one, two, three]"))
        plimsoll(tmp_path / "cache", "publish", str(config), f"{registry.host}/box:2")
        after = uploads(registry)
    # Two packages, what no package brings, the configuration; then the package that is new and
    # again the last two. A blob that is sent again is written again.
    assert len(before) == 4
    assert len(after) == 7
    assert before.items() <= after.items()


def uploads(registry) -> dict[str, int]:
    """Digest of each blob that the registry was sent → when it was written."""
    links = registry.storage.glob("docker/registry/v2/repositories/box/_layers/sha256/*/link")
    return {path.parent.name: path.stat().st_mtime_ns for path in links}


def test_another_compression_needs_no_second_download(config, tmp_path):
    text = config.read_text()
    folders = []
    for compression in ("gzip", "zstd", "gzip"):
        out = tmp_path / f"{compression}{len(folders)}"
        out.mkdir()
        config.write_text(f"{text}compression: {compression}\n")
        plimsoll(tmp_path / "cache", "build", str(config), "x.example/x", str(out))
        folders.append(out)
        # Whatever else is built comes from the cache.
        for package in (tmp_path / "repo" / "x86_64").glob("*.apk"):
            package.unlink()
    first, second, third = ([m["layers"] for m in manifests(folder)] for folder in folders)
    assert first == third
    assert first != second

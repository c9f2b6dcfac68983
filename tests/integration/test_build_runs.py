"""Every form in which images come, taken and run by containerd and runc."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import tarfile
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from apk_repository import Repository, signing_key
from command import plimsoll
from gotools import tool
from plimsoll.apk.tarfmt import Type
from plimsoll.apk.writer import PackageFile
from plimsoll.builder.dockerdaemon import DockerError, load
from registries import distribution_registry

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        shutil.which("ctr") is None or shutil.which("runc") is None or os.geteuid() != 0,
        reason="needs containerd and runc, as root",
    ),
]


@contextmanager
def containerd(folder: Path):
    """A containerd of its own; yields the command line of its client."""
    folder.mkdir()
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
    try:
        yield ["ctr", "--address", str(address), "--connect-timeout", "30s"]
    finally:
        process.terminate()
        process.wait(30)


class Desk:
    """A repository with one static program, and the command line."""

    def __init__(self, tmp: Path) -> None:
        self.tmp = tmp
        program = tool("crane").read_bytes()
        repository = Repository(tmp / "repo", signing_key())
        files = {
            "usr/bin/hello": PackageFile("usr/bin/hello", mode=0o755, content=program),
            "usr/bin/again": PackageFile("usr/bin/again", Type.HARDLINK, linkname="usr/bin/hello"),
        }
        repository.add("hello", files)
        more = {"usr/share/more": "more", "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n"}
        repository.add("more", more, origin="hello")
        repository.add("third", {"usr/share/third": "third"})
        repository.write()
        self.head = (
            f"contents:\n  keyring: [{repository.key_file}]\n  repositories: [{repository.root}]\n"
        )

    def config(self, compression: str) -> Path:
        return self.kind(compression, f"compression: {compression}\n", "hello")

    def kind(self, name: str, extra: str, packages: str = "hello, more, third") -> Path:
        path = self.tmp / f"{name}.yaml"
        archs = "" if "archs:" in extra else "archs: [host]\n"
        path.write_text(
            f"{self.head}  packages: [{packages}]\n{archs}{extra}"
            "entrypoint: {command: /usr/bin/hello version}\n"
            "accounts: {run-as: 65532, users: [{username: nonroot, uid: 65532}]}\n"
        )
        return path

    def run(self, *arguments: object) -> str:
        return plimsoll(self.tmp / "cache", *arguments)


def problems(document: Path) -> list[object]:
    """What the official validator of a document's format finds."""
    if document.name.endswith(".spdx.json"):
        return list(validate_full_spdx_document(parse_file(str(document))))
    found = JsonStrictValidator(SchemaVersion.V1_6).validate_str(document.read_text())
    return [] if found is None else [found]


def packed(layout: Path, target: Path) -> Path:
    """An OCI layout as one tar file, as ``ctr images import`` takes it."""
    with tarfile.open(target, "w") as tar:
        for path in sorted(layout.rglob("*")):
            tar.add(path, path.relative_to(layout), recursive=False)
    return target


def test_every_form_runs(tmp_path):
    desk = Desk(tmp_path)
    with containerd(tmp_path / "containerd") as ctr, distribution_registry() as registry:

        def ctl(*arguments: str) -> str:
            done = subprocess.run(
                [*ctr, *arguments], capture_output=True, check=False, text=True, timeout=120
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        names = []
        for compression in ("gzip", "zstd"):
            config = desk.config(compression)
            tar = tmp_path / f"{compression}.tar"
            desk.run("build", config, f"x.example/{compression}:tar", tar)
            ctl("images", "import", "--snapshotter", "native", str(tar))
            names.append(f"x.example/{compression}:tar")

            layout = tmp_path / compression
            layout.mkdir()
            desk.run("build", config, f"x.example/{compression}:layout", layout)
            archive = packed(layout, tmp_path / f"{compression}-layout.tar")
            base = ["--base-name", f"x.example/{compression}"]
            ctl("images", "import", "--snapshotter", "native", *base, str(archive))
            names.append(f"x.example/{compression}:layout")

            name = f"{registry.host}/{compression}:1"
            desk.run("publish", config, name)
            ctl("images", "pull", "--plain-http", "--snapshotter", "native", name)
            names.append(name)

        on_base = tmp_path / "on-base.yaml"
        on_base.write_text(
            f"{desk.head}  packages: [more]\n  baseimage: {{image: {registry.host}/gzip:1}}\n"
            "archs: [host]\n"
        )
        name = f"{registry.host}/on-base:1"
        desk.run("publish", on_base, name)
        ctl("images", "pull", "--plain-http", "--snapshotter", "native", name)
        names.append(name)
        crane = [str(tool("crane"))]
        subprocess.run(
            [*crane, "validate", "--remote", name, "--insecure"], check=True, capture_output=True
        )
        subprocess.run(
            [*crane, "validate", "--tarball", str(tmp_path / "gzip.tar")],
            check=True,
            capture_output=True,
        )
        expected = subprocess.check_output([*crane, "version"], text=True)
        assert expected.strip()
        for number, image in enumerate(names):
            # Without a network of its own: the program needs none, and no plug-in is here.
            said = ctl("run", "--rm", "--snapshotter", "native", image, f"box{number}")
            assert said == expected, image


ORIGIN = "layering: {strategy: origin, budget: 5}\n"
KINDS = {
    "origin": ORIGIN,
    "package": "layering: {strategy: package, budget: 5}\ncompression: zstd\n",
    "both": f"archs: [amd64, arm64]\n{ORIGIN}",
    "compat": "paths: [{path: /x, type: hardlink, source: /usr/bin/hello, permissions: 0o755}]\n",
    "compat-origin": f"archs: [amd64, arm64]\n{ORIGIN}",
}


def test_every_kind_runs_and_can_be_signed(tmp_path):
    """Layers by origin and by package, several architectures, and what the reference makes."""
    desk = Desk(tmp_path)
    crane, cosign = str(tool("crane")), str(tool("cosign"))
    home = {**os.environ, "COSIGN_PASSWORD": "pw", "HOME": str(tmp_path)}

    def call(*command: str) -> str:
        done = subprocess.run(
            command,
            capture_output=True,
            check=False,
            text=True,
            timeout=120,
            cwd=tmp_path,
            env=home,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    call(cosign, "generate-key-pair")
    services = {"mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json"}
    (tmp_path / "none.json").write_text(json.dumps(services))
    expected = call(crane, "version")
    with containerd(tmp_path / "containerd") as ctr, distribution_registry() as registry:
        for kind, extra in KINDS.items():
            config, name = desk.kind(kind, extra), f"{registry.host}/{kind}:1"
            flags = ["--compat", "apko"] if kind.startswith("compat") else []
            flags += ["--sbom-path", str(tmp_path / kind), "--sbom-formats", "spdx,cyclonedx"]
            reference = desk.run("publish", config, name, *flags).strip()
            documents = sorted((tmp_path / kind).iterdir())
            assert len(documents) in {4, 6}
            for document in documents:
                assert problems(document) == [], document
            how = ["--fast"] if "zstd" in extra else []
            call(crane, "validate", "--remote", reference, "--insecure", *how)
            call(*ctr, "images", "pull", "--plain-http", "--snapshotter", "native", name)
            run = ["run", "--rm", "--snapshotter", "native", name, kind]
            assert call(*ctr, *run) == expected, kind
            signing = ["sign", "--yes", "--recursive", "--signing-config", "none.json"]
            call(cosign, *signing, "--key", "cosign.key", reference)
            verify = ["verify", "--insecure-ignore-tlog=true", "--key", "cosign.pub"]
            assert reference.partition("@")[2] in call(cosign, *verify, reference)


@contextmanager
def dockerd(folder: Path):
    """A Docker daemon of its own, without a network; yields its address."""
    folder.mkdir()
    address = f"unix://{folder}/docker.sock"
    settings = ("--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver=vfs")
    places = {"data-root": "root", "exec-root": "state", "pidfile": "pid"}
    command = ["dockerd", *settings, "-H", address]
    command += [f"--{name}={folder / place}" for name, place in places.items()]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield address, process, folder / "log"
    finally:
        process.terminate()
        process.wait(30)


async def test_docker_takes_it(tmp_path):
    if shutil.which("dockerd") is None:
        pytest.skip("needs dockerd")
    desk = Desk(tmp_path)
    config = desk.config("gzip")
    with dockerd(tmp_path / "docker") as (address, process, log):
        while b"API listen on" not in log.read_bytes():
            assert process.poll() is None, log.read_text()
            await asyncio.sleep(0.1)
        os.environ["DOCKER_HOST"] = address
        try:
            said = desk.run("publish", config, "x.example/a:1", "x.example/b:2", "--local")
        finally:
            del os.environ["DOCKER_HOST"]
        assert said.splitlines() == ["x.example/a:1", "x.example/b:2"]
        connector = aiohttp.UnixConnector(address.removeprefix("unix://"))
        async with aiohttp.ClientSession(connector=connector) as session:
            async with session.get("http://docker/images/json") as answer:
                (image,) = await answer.json()
            assert sorted(image["RepoTags"]) == ["x.example/a:1", "x.example/b:2"]
            async with session.get("http://docker/images/x.example/a:1/json") as answer:
                found = await answer.json()
        assert found["Config"]["Entrypoint"] == ["/usr/bin/hello", "version"]
        assert found["Config"]["User"] == "65532"


async def test_without_a_daemon_it_says_so(tmp_path):
    with pytest.raises(DockerError, match="cannot be reached"):
        await load(tmp_path / "x", {"DOCKER_HOST": f"unix://{tmp_path}/none"})
    with pytest.raises(DockerError, match="DOCKER_HOST is"):
        await load(tmp_path / "x", {"DOCKER_HOST": "ssh://x"})

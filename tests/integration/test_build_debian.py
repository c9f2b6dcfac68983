"""The example image built of real packages, pushed to a real registry, and run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from command import PLIMSOLL, plimsoll
from debian_apk.apt import AptError
from debian_apk.repository import build
from gotools import tool
from plimsoll.apk.installed import parse_installed
from plimsoll.arch import Arch
from registries import distribution_registry

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("apt-get") is None, reason="needs apt-get"),
]

ROOT = Path(__file__).parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "plimsoll" / "debian"


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    """The example with Debian's packages in place of Wolfi's."""
    folder = tmp_path_factory.mktemp("debian")
    repository = folder / "repo"
    try:
        build(repository, ["python3", "ca-certificates", "tzdata"], ["amd64", "arm64"], CACHE)
    except AptError as error:
        pytest.skip(f"no Debian packages can be had here: {error}")
    key = next(repository.glob("*.rsa.pub"))
    text = (ROOT / "examples" / "image.yaml").read_text()
    text = text.replace("https://packages.wolfi.dev/os/wolfi-signing.rsa.pub", str(key))
    path = folder / "image.yaml"
    path.write_text(text.replace("https://packages.wolfi.dev/os", str(repository)))
    return path


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


def installed(root: Path) -> set[tuple[str, str]]:
    text = (root / "usr/lib/apk/db/installed").read_text()
    return {(p.entry.name, p.entry.version) for p in parse_installed(text)}


def test_published_image_is_valid_and_runs(config, cache, tmp_path):
    with distribution_registry() as registry:
        reference = plimsoll(
            cache, "publish", str(config), f"{registry.host}/hello:1", "--sbom-path", str(tmp_path)
        )
        crane = str(tool("crane"))
        for arguments in (["validate", "--remote", reference], ["validate", "--remote"]):
            target = arguments if len(arguments) == 3 else [*arguments, f"{registry.host}/hello:1"]
            subprocess.run([crane, *target, "--insecure"], check=True, capture_output=True)
        roots = {}
        for arch in (Arch.AMD64, Arch.ARM64):
            roots[arch] = tmp_path / arch.slug
            image = tmp_path / f"{arch.slug}.tar"
            subprocess.run(
                [crane, "export", "--insecure", "--platform", arch.platform, reference, image],
                check=True,
            )
            with tarfile.open(image) as tar:
                tar.extractall(roots[arch], filter="tar")
        manifest = subprocess.run(
            [crane, "config", "--insecure", "--platform", "linux/amd64", reference],
            check=True,
            capture_output=True,
        ).stdout
    settings = json.loads(manifest)["config"]
    assert settings["User"] == "65532"
    assert settings["WorkingDir"] == "/home/nonroot"

    # The SBOM lists every package of the installed database, and is valid.
    for arch, root in roots.items():
        path = tmp_path / f"sbom-{arch.apk}.spdx.json"
        listed = {(p["name"], p["versionInfo"]) for p in json.loads(path.read_text())["packages"]}
        assert installed(root)
        assert installed(root) <= listed
    for path in tmp_path.glob("*.spdx.json"):
        assert validate_full_spdx_document(parse_file(str(path))) == []

    if shutil.which("bwrap") is None:
        pytest.skip("needs bubblewrap to run the image")
    done = subprocess.run(
        [
            *("bwrap", "--unshare-all", "--uid", "65532", "--gid", "65532", "--clearenv"),
            *("--ro-bind", str(roots[Arch.host()]), "/", "--proc", "/proc", "--dev", "/dev"),
            *("--chdir", "/home", *settings["Entrypoint"]),
            *("-c", "import os, ssl, zoneinfo; print(os.getuid(), zoneinfo.ZoneInfo('UTC'))"),
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "65532 UTC\n"


def test_the_same_bytes_whatever_the_circumstances(config, tmp_path):
    results = []
    for number, (umask, locale, epoch) in enumerate(((0o022, "C", "1"), (0o077, "C.UTF-8", "1"))):
        out = tmp_path / f"{number}.tar"
        command = [PLIMSOLL, "build", str(config), "x.example/hello", str(out), "--no-sbom"]
        environment = {
            **os.environ,
            "PLIMSOLL_CACHE_DIR": str(tmp_path / f"cache{number}"),
            "LC_ALL": locale,
            "TZ": ("UTC", "Asia/Tokyo")[number],
            "SOURCE_DATE_EPOCH": epoch,
        }
        prefix = ["taskset", "-c", "0"] if number and shutil.which("taskset") else []
        subprocess.run(
            [*prefix, *command], check=True, env=environment, capture_output=True, umask=umask
        )
        results.append(out.read_bytes())
    assert results[0] == results[1]


def test_layers_by_origin(config, cache, tmp_path):
    split = tmp_path / "split.yaml"
    split.write_text(config.read_text() + "layering: {strategy: origin, budget: 5}\n")
    out = tmp_path / "layout"
    out.mkdir()
    result = json.loads(plimsoll(cache, "build", str(split), "x.example/hello", str(out), "--json"))
    for image in result["images"]:
        assert len(image["layers"]) == 6
        seen: set[str] = set()
        for layer in image["layers"]:
            blob = out / "blobs" / layer["digest"].replace(":", "/")
            with tarfile.open(blob, "r:gz") as tar:
                files = {m.name for m in tar if not m.isdir()}
            assert not seen & files
            seen |= files
        assert "usr/lib/apk/db/installed" in seen

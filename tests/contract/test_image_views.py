"""What commands read of images that apko made."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from plimsoll.cli.main import cli
from shared_data import shared


def run(*arguments):
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("arch", ["amd64", "arm64"])
def test_a_layout_of_several_images(arch):
    """Its index names each image by platform, and is no list of indexes."""
    data = shared("apko") / "testdata"
    golden, name = str(data / "golden"), {"amd64": "x86_64", "arm64": "aarch64"}[arch]
    for other in (data / "apko.lock.json", data / f"golden/sboms/sbom-{name}.spdx.json"):
        told = json.loads(run("diff", golden, str(other), "--arch", arch, "--format", "json"))
        assert not any(told["packages"].values()), other
    document = json.loads(run("sbom", golden, "--arch", arch))
    names = {package["name"] for package in document["packages"]}
    assert names >= {"replayout", "pretend-baselayout"}

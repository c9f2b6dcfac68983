"""Packages for an architecture that no node has: refused with a sentence, or built by emulation."""

from __future__ import annotations

import json
import urllib.request

import pytest

import debian
from plimsoll.apk.index import read_index
from plimsoll.apk.keys import Keyring
from scenario.shell import wait_for

pytestmark = pytest.mark.e2e

SPACE = "foreign"
TEXT = """
package: {name: pennant, version: "1", epoch: 0, description: which machine made it}
environment: {contents: {packages: [base-files, bash, coreutils]}}
pipeline:
  - runs: |
      install -d "${{targets.destdir}}/usr/share/pennant"
      uname -m >"${{targets.destdir}}/usr/share/pennant/machine"
      test "$(uname -m)" = "${{build.arch}}"
test:
  environment: {contents: {packages: [base-files, bash, coreutils]}}
  pipeline:
    - runs: test "$(cat /usr/share/pennant/machine)" = "$(uname -m)"
"""


def apply(world, kind, name, spec):
    body = {
        "apiVersion": "plimsoll.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "namespace": SPACE},
        "spec": spec,
    }
    world.kubectl("apply", "-f", "-", stdin=json.dumps(body))


def status(world):
    return world.get("packagerepo", "flags", "-n", SPACE).get("status", {})


def condition(world, kind):
    found = status(world).get("conditions", [])
    return next((c for c in found if c["type"] == kind), {})


@pytest.fixture
def flags(world):
    """A PackageRepo for both architectures, on a cluster with one."""
    try:
        debian.enable_arm64()
    except debian.MissingProgramError as error:
        pytest.skip(str(error))
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}}
    world.kubectl("apply", "-f", "-", stdin=json.dumps(namespace))
    key = next(world.packages.glob("*.rsa.pub"))
    keys = [{"name": key.name, "data": key.read_text()}]
    upstream = {"url": world.packages_url, "archs": ["amd64", "arm64"], "keys": keys}
    apply(world, "PackageRepo", "base", {"upstream": upstream})
    spec = {
        "sources": [{"name": "one", "inline": TEXT}],
        "archs": ["amd64", "arm64"],
        "repositories": [{"name": "base"}],
        "storage": {"repository": f"{world.registry}/foreign/packages"},
    }
    apply(world, "PackageRepo", "flags", {"packages": spec})
    yield spec
    world.kubectl("delete", "namespace", SPACE, "--wait=false")


def test_one_architecture_waits_for_a_node_or_is_emulated(world, flags):
    def stuck():
        found = condition(world, "Reconciling")
        return found if found.get("reason") == "NoNodeForArchitecture" else None

    said = wait_for("the missing node to be said", stuck, seconds=300)
    assert "pennant-1-r0 for arm64" in said["message"]
    ready = wait_for(
        "the other architecture to be usable",
        lambda: condition(world, "Ready").get("status") == "True",
        seconds=120,
    )
    assert ready
    assert [index["arch"] for index in status(world)["indexes"]] == ["amd64"]

    apply(world, "PackageRepo", "flags", {"packages": {**flags, "emulateOn": "amd64"}})
    wait_for(
        "all packages to be built",
        lambda: condition(world, "PackagesBuilt").get("status") == "True",
        seconds=300,
    )
    keys = Keyring({key["name"]: key["data"] for key in status(world)["publicKeys"]})
    for arch in ("x86_64", "aarch64"):
        place = f"{world.registry}/foreign/packages"
        tag = f"{arch.replace('_', '_5F')}.index"
        manifest = json.loads(world.crane("manifest", f"{place}:{tag}"))
        digest = manifest["layers"][0]["digest"]
        url = f"http://{world.registry}/v2/foreign/packages/blobs/{digest}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            index = read_index(answer.read(), keys, source=url)
        assert set(index.names()) == {"pennant"}

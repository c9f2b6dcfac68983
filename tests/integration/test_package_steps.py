"""Packages by the steps of a cluster, against real registries."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner

from gotools import tool
from package_builds import debian_base, package_builds
from plimsoll.cli.main import cli
from registries import crane_registry, distribution_registry

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("apt-get") is None, reason="needs apt-get"),
    pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bubblewrap"),
]

HELLO = """\
package:
  name: hello
  version: 1.0.0
  epoch: 1
  description: says hello
  url: https://example.org
  copyright: [{license: MIT}]
environment:
  contents: {packages: [bash, coreutils]}
pipeline:
  - name: install
    runs: |
      [ -z "${SECRET_OF_THE_POD:-}" ]
      [ "$(id -u)" = 1000 ]
      [ "$PWD" = /home/build ]
      mkdir -p ${{targets.destdir}}/usr/bin ${{targets.destdir}}/usr/share/doc/hello
      printf '#!/bin/bash\\necho hello\\n' >${{targets.destdir}}/usr/bin/hello
      chmod 755 ${{targets.destdir}}/usr/bin/hello
      ln ${{targets.destdir}}/usr/bin/hello ${{targets.destdir}}/usr/bin/hi
      ln -s hello ${{targets.destdir}}/usr/bin/hallo
      printf '%s\\n' "$SOURCE_DATE_EPOCH" >${{targets.destdir}}/usr/share/doc/hello/date
subpackages:
  - name: hello-doc
    pipeline:
      - runs: |
          mkdir -p ${{targets.contextdir}}/usr/share
          mv ${{targets.destdir}}/usr/share/doc ${{targets.contextdir}}/usr/share/
test:
  environment: {contents: {packages: [bash, coreutils]}}
  pipeline: [{runs: '[ "$(hello)" = hello ]; [ "$(id -u)" = 1000 ]'}]
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return debian_base(tmp_path_factory)


@pytest.fixture(params=[distribution_registry, crane_registry], ids=["tag fallback", "referrers"])
def registry(request):
    with request.param() as server:
        yield server


@pytest.fixture
def builds(tmp_path, registry, base):
    with package_builds(tmp_path, registry.host, base) as builds:
        yield builds


def test_from_configuration_to_image(builds, tmp_path, base, monkeypatch):
    monkeypatch.setenv("PLIMSOLL_CACHE_DIR", str(tmp_path / "plimsoll-cache"))
    builds.configurations["hello"] = HELLO
    plan = builds.plan()
    (one,) = plan["ready"]
    assert (one["name"], one["arch"], one["version"], one["reason"]) == (
        "hello", "amd64", "1.0.0-r1", "New",
    )  # fmt: skip
    assert not plan["unchanged"]
    assert plan["indexes"] == [{"arch": "amd64", "digest": "", "packages": 0}]
    collected = builds.build(plan, "hello")
    assert collected["packages"] == 2
    assert [test["name"] for test in collected["tests"]] == ["hello"]
    assert collected["untested"] == 1
    published = builds.publish(collected["artifact"])
    assert published["changed"]
    assert (published["published"], published["index"]["packages"]) == (2, 2)

    plan = builds.plan()
    assert plan["unchanged"]
    assert plan["counts"]["published"] == 1
    assert plan["indexes"][0]["digest"] == published["index"]["digest"]
    # Publishing the same again changes nothing.
    assert not builds.publish(collected["artifact"])["changed"]

    # The same bytes as a build on a workstation.
    work = tmp_path / "work"
    work.mkdir()
    (work / "hello.yaml").write_text(HELLO)
    (work / "team-1.rsa").write_bytes(builds.key.private_pem())
    monkeypatch.chdir(work)
    local = CliRunner().invoke(
        cli,
        [
            *("package", "build", "hello.yaml", "--arch", "amd64", "-r", str(base)),
            *("-k", str(builds.base_key), "--signing-key", "team-1.rsa"),
        ],
    )
    assert local.exit_code == 0, local.output
    monkeypatch.setenv("PLIMSOLL_INSECURE_REGISTRIES", builds.storage.partition("/")[0])
    keys = work / builds.key.name
    keys.write_bytes(builds.key.public_pem())
    (work / "image.yaml").write_text(
        json.dumps(
            {
                "contents": {
                    "repositories": [f"oci://{builds.storage}", str(base)],
                    "keyring": [str(keys), str(builds.base_key)],
                    "packages": ["hello", "hello-doc"],
                },
                "entrypoint": {"command": "/usr/bin/hello"},
                "archs": ["amd64"],
            }
        )
    )
    made = CliRunner().invoke(cli, ["lock", "image.yaml", "--output", "lock.json"])
    assert made.exit_code == 0, made.output
    locked = json.loads(Path("lock.json").read_text())["contents"]["packages"]
    ours = {p["name"]: p for p in locked if p["name"].startswith("hello")}
    assert set(ours) == {"hello", "hello-doc"}
    assert ours["hello"]["url"].startswith(f"oci://{builds.storage}/")
    for name in ours:
        path = work / "packages/x86_64" / f"{name}-1.0.0-r1.apk"
        pulled = tmp_path / f"{name}.apk"
        _pull(builds.storage, f"x86_5F64.apk.{name}-1.0.0-r1.apk", pulled)
        # What differs is shown first, the bytes are what counts.
        assert _shown(pulled) == _shown(path)
        assert pulled.read_bytes() == path.read_bytes(), name
    _check_provenance(builds, work)
    image = CliRunner().invoke(cli, ["build", "image.yaml", "example/hello:1", "image.tar"])
    assert image.exit_code == 0, image.output


def _shown(path):
    """Control section and file list of a package as text."""
    text = gzip.decompress(path.read_bytes())
    with tarfile.open(fileobj=io.BytesIO(text), mode="r:", ignore_zeros=True) as archive:
        return {
            member.name: archive.extractfile(member).read().decode(errors="replace")
            if member.isfile()
            else (member.linkname, member.mode)
            for member in archive
        }


def _check_provenance(builds, work):
    key = work / "provenance.pub"
    key.write_bytes(builds.key.public_pem())
    done = subprocess.run(
        [
            *(str(tool("cosign")), "verify-attestation", "--key", str(key), "--type"),
            *("slsaprovenance1", "--insecure-ignore-tlog=true", "--allow-http-registry"),
            f"{builds.storage}:x86_5F64.apk.hello-1.0.0-r1.apk",
        ],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    statement = json.loads(base64.b64decode(json.loads(done.stdout)["payload"]))
    file = (work / "packages/x86_64/hello-1.0.0-r1.apk").read_bytes()
    name, digest = "hello-1.0.0-r1.apk", hashlib.sha256(file).hexdigest()
    assert statement["subject"][0] == {"name": name, "digest": {"sha256": digest}}
    definition = statement["predicate"]["buildDefinition"]
    assert definition["externalParameters"]["configuration"] == "hello.yaml"
    found = {item.get("name", "").rpartition("-")[0] for item in definition["resolvedDependencies"]}
    assert any(item.startswith("bash-") for item in found)


def _pull(storage, tag, path):
    host, _, repository = storage.partition("/")
    base = f"http://{host}/v2/{repository}"
    accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    with urllib.request.urlopen(
        urllib.request.Request(f"{base}/manifests/{tag}", headers=accept)
    ) as answer:
        (layer,) = json.load(answer)["layers"]
    with urllib.request.urlopen(f"{base}/blobs/{layer['digest']}") as answer:
        path.write_bytes(answer.read())

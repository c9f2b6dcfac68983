"""``plimsoll sign``, ``attest``, ``verify``, ``verify-bundle`` as a person runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gotools import tool
from registries import distribution_registry

pytestmark = pytest.mark.integration

PLIMSOLL = Path(sys.executable).parent / "plimsoll"


@pytest.fixture(scope="module")
def image():
    with distribution_registry() as server:
        target = f"{server.host}/team/app:v1"
        subprocess.run(
            [tool("crane"), "append", "--oci-empty-base", "-f", os.devnull, "-t", target],
            check=True,
            capture_output=True,
        )
        yield target


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    directory = tmp_path_factory.mktemp("home")
    run(directory, tool("cosign"), "generate-key-pair", "--output-key-prefix", "mine")
    run(directory, tool("cosign"), "generate-key-pair", "--output-key-prefix", "other")
    (directory / "sbom.json").write_text('{"spdxVersion": "SPDX-2.3"}')
    return directory


def run(home, *argv, status=0):
    done = subprocess.run(
        [str(word) for word in argv],
        cwd=home,
        env={**os.environ, "HOME": str(home), "COSIGN_PASSWORD": "pw"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == status, f"{argv}: {done.stdout}\n{done.stderr}"
    return done.stdout if status == 0 else done.stderr


def test_the_way_of_an_image(home, image):
    verify = (PLIMSOLL, "verify", image, "--key", "mine.pub")
    said = run(home, *verify, status=1)
    assert "no signature is proven" in said
    assert "nothing is attached to the image" in said

    said = run(home, PLIMSOLL, "sign", image, "--key", "mine.key", "-a", "team=a", "--legacy")
    digest = said.split()[1]
    attest = (PLIMSOLL, "attest", image, "--key", "mine.key", "--predicate", "sbom.json")
    run(home, *attest, "--type", "spdxjson", "--legacy")

    assert "signature by key" in run(home, *verify)
    found = json.loads(run(home, *verify, "--type", "spdx", "-a", "team=a", "--json"))
    assert digest.endswith(found["digest"])
    kinds = {row.get("predicateType", "signature") for row in found["verified"]}
    assert kinds == {"signature", "https://spdx.dev/Document"}
    offline = ("--key", "mine.pub", "--insecure-ignore-tlog=true")
    for form in ((), ("--new-bundle-format=false",)):
        run(home, tool("cosign"), "verify", *offline, *form, image)
        run(
            home, tool("cosign"), "verify-attestation", *offline, *form, "--type", "spdxjson", image
        )

    tree = run(home, *verify, "--explain").splitlines()
    assert tree[0].startswith("image sha256:")
    assert any(line.startswith("├─ ✓ signature by key") for line in tree)
    other = (PLIMSOLL, "verify", image, "--key", "other.pub")
    assert "not by the key" in run(home, *other, status=1)
    assert "no attestation https://slsa.dev/provenance/v1 is proven" in run(
        home, *verify, "--type", "slsaprovenance1", status=1
    )
    assert "with these annotations" in run(home, *verify, "-a", "team=b", status=1)


def test_a_bundle_about_a_file(home):
    (home / "file").write_text("load")
    services = {"mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json"}
    (home / "none.json").write_text(json.dumps(services))
    run(
        home,
        *(tool("cosign"), "sign-blob", "--key", "mine.key", "--signing-config", "none.json"),
        *("--yes", "--bundle", "bundle.json", "file"),
    )
    verify = (PLIMSOLL, "verify-bundle", "bundle.json")
    assert "signature by key" in run(home, *verify, "file", "--key", "mine.pub")
    digest = json.loads(run(home, *verify, "file", "--key", "mine.pub", "--json"))["digest"]
    run(home, *verify, digest, "--key", "mine.pub")
    assert "not by the key" in run(home, *verify, "file", "--key", "other.pub", status=1)
    (home / "changed").write_text("Load")
    assert "another artifact" in run(home, *verify, "changed", "--key", "mine.pub", status=1)
    assert "cosign.pub" in run(home, *verify, "file", "--key", "mine.key", status=1)
    assert "nobody is trusted" in run(home, *verify, "file", status=1)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("sign", "IMAGE", "--key", "none.key"), "none.key cannot be read"),
        (("sign", "IMAGE", "--key", "mine.pub"), "no private key known here"),
        (("sign", "IMAGE", "--key", "mine.key", "-a", "team"), "KEY=VALUE"),
        (("attest", "IMAGE", "-k", "mine.key", "-t", "spdxjsn", "-p", "sbom.json"), "spdxjsn"),
        (("attest", "IMAGE", "-k", "mine.key", "-t", "spdx", "-p", "mine.pub"), "is no JSON"),
        (("verify", "Team/App:v1", "-k", "mine.pub"), "capital"),
        (("verify", "HOST/none:v1", "-k", "mine.pub"), "none"),
    ],
)
def test_bad_input(home, image, arguments, text):
    words = [
        word.replace("IMAGE", image).replace("HOST", image.partition("/")[0]) for word in arguments
    ]
    said = run(home, PLIMSOLL, *words, status=1)
    assert text in said
    assert "Traceback" not in said


def test_a_wrong_password(home, image, monkeypatch):
    secret = home / "secret"
    secret.mkdir()
    (secret / "cosign.key").write_bytes((home / "mine.key").read_bytes())
    (secret / "cosign.password").write_text("wrong")
    said = run(home, PLIMSOLL, "sign", image, "--key", "secret", status=1)
    assert "does not open with this password" in said
    assert "cosign.password" in said

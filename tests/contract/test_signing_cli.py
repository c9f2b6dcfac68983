"""``plimsoll verify-bundle`` on published bundles."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from shared_data import shared

PLIMSOLL = Path(sys.executable).parent / "plimsoll"
WORKFLOW = (
    "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/"
    ".github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main"
)
GITHUB = "https://token.actions.githubusercontent.com"
HAPPY = "conformance/happy-path-v0.3/bundle.sigstore.json"
MANAGED = "conformance/managed-key-and-trusted-root"
ROOT = ("--trusted-root", "trust/public-good.trusted_root.json")


def run(*arguments):
    return subprocess.run(
        [PLIMSOLL, "verify-bundle", *arguments],
        cwd=shared("sigstore"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        (HAPPY, "conformance/a.txt", *ROOT, "--identity", WORKFLOW, "--issuer", GITHUB),
        (
            *(HAPPY, "conformance/a.txt", *ROOT),
            *("--identity-regexp", "^https://github.com/", "--issuer-regexp", "github"),
        ),
        (
            *(f"{MANAGED}/bundle.sigstore.json", "conformance/a.txt"),
            *("--key", f"{MANAGED}/key.pub", "--trusted-root", f"{MANAGED}/trusted_root.json"),
        ),
        (
            *(f"{MANAGED}/bundle.sigstore.json", "conformance/a.txt"),
            *("--key", f"{MANAGED}/key.pub"),
        ),
    ],
)
def test_accepted(arguments):
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    assert "signature by" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((HAPPY, "conformance/a.txt", *ROOT), "needs either a text or a pattern"),
        ((HAPPY, "conformance/a.txt"), "nobody is trusted"),
        ((HAPPY, "conformance/a.txt", "--identity", "x"), "the issuer needs"),
        ((HAPPY, *ROOT), "a bundle and one artifact are wanted"),
        ((HAPPY, "a", "b", *ROOT), "a bundle and one artifact are wanted"),
        ((HAPPY, "conformance/a.txt", "--key", "a", "--issuer", "x"), "by a key or by an"),
        (
            (HAPPY, "conformance/a.txt", *ROOT, "--identity", "x", "--issuer", GITHUB),
            "who is not trusted here",
        ),
        (
            (HAPPY, "conformance/a.txt", *ROOT, "--identity-regexp", "(", "--issuer", GITHUB),
            "no RE2 expression",
        ),
        (
            (HAPPY, HAPPY, *ROOT, "--identity", WORKFLOW, "--issuer", GITHUB),
            "it signs another artifact",
        ),
        (
            (HAPPY, "conformance/a.txt", "--trusted-root", HAPPY, "--identity", "x"),
            "is no trusted root",
        ),
        (
            (
                *(f"{MANAGED}/bundle.sigstore.json", "conformance/a.txt", *ROOT),
                *("--key", f"{MANAGED}/key.pub"),
            ),
            "log that is not trusted",
        ),
    ],
)
def test_refused_with_a_sentence(arguments, text):
    done = run(*arguments)
    assert done.returncode == 1
    assert text in done.stderr
    assert "Traceback" not in done.stderr


CASES = json.loads((shared("sigstore") / "index.json").read_text())["conformance"]


def protocol(case):
    """The arguments that sigstore's conformance suite gives a client."""
    arguments = ["--bundle", case["bundle"]]
    if case.get("identity"):
        arguments += ["--certificate-identity", case["identity"]]
        arguments += ["--certificate-oidc-issuer", case["issuer"]]
    else:
        arguments += ["--key", case["key"]]
    if case.get("trusted_root") and case["trusted_root"] != "trust/public-good.trusted_root.json":
        arguments += ["--trusted-root", case["trusted_root"]]
    return [*arguments, case["artifact"]]


@pytest.mark.parametrize("case", CASES[::6], ids=lambda case: case["case"])
def test_the_protocol_of_the_conformance_suite(case):
    done = run(*protocol(case))
    assert (done.returncode == 0) == (case["expect"] == "pass"), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("form", ["file", "digest"])
def test_the_public_instance_is_known_without_a_network(form):
    content = (shared("sigstore") / "conformance/a.txt").read_bytes()
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    artifact = "conformance/a.txt" if form == "file" else digest
    who = ("--certificate-identity", WORKFLOW, "--certificate-oidc-issuer", GITHUB)
    assert run("--bundle", HAPPY, *who, artifact).returncode == 0
    staging = run("--bundle", HAPPY, *who, "--staging", artifact)
    assert staging.returncode == 1, "signed for production"

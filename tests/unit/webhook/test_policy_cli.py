from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from plimsoll.cli.main import cli
from plimsoll.signing.privatekey import generate_key
from webhooks import key_policy


def _run(*arguments, stdin=None):
    result = CliRunner().invoke(cli, ["policy", *arguments], input=stdin)
    return result.exit_code, result.output


def _policy(spec, name="p", kind="ClusterImagePolicy", version="plimsoll.dev/v1alpha1"):
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}


_GOOD = key_policy(generate_key().public.pem.decode())


def test_valid_files_are_named(tmp_path):
    file = tmp_path / "p.yaml"
    both = [_policy(_GOOD, "a"), _policy(_GOOD, "b", version="policy.sigstore.dev/v1beta1")]
    file.write_text("\n---\n".join(map(json.dumps, [*both, None])))
    code, output = _run("validate", str(file))
    assert code == 0
    assert "ClusterImagePolicy a is valid" in output
    assert "ClusterImagePolicy b is valid" in output
    code, output = _run("validate", "-", stdin=json.dumps({"kind": "List", "items": both}))
    assert code == 0


def test_every_fault_of_every_file_is_told(tmp_path):
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(json.dumps(_policy(_GOOD)))
    bad.write_text(json.dumps(_policy({"images": [{"glob": "["}], "mode": "x", "y": 1})))
    root = tmp_path / "root.yaml"
    root.write_text(json.dumps(_policy({}, kind="TrustRoot")))
    code, output = _run("validate", str(bad), str(good), str(root))
    assert code == 1
    for text in (
        f"{bad}: invalid value: x: spec.mode",
        f"{bad}: unknown field: spec.y",
        f"{good}: ClusterImagePolicy p is valid",
        f"{root}: expected exactly one, got neither: spec.remote",
    ):
        assert text in output


def test_what_is_valid_and_cannot_be_asked_here_is_told(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    spec = {**_GOOD, "policy": {"type": "rego", "data": "x"}}
    code, output = _run("validate", "-", stdin=json.dumps(_policy(spec)))
    assert code == 0
    assert "it refuses what it matches: spec.policy.type: rules in rego need the program" in output


def test_a_rule_that_is_none_is_told():
    spec = {**_GOOD, "policy": {"type": "cel", "data": "1 +"}}
    code, output = _run("validate", "-", stdin=json.dumps(_policy(spec)))
    assert code == 1
    assert "invalid value: spec.policy.data: it is no rule in cel" in output


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no object in it"),
        ("a: [", "is no YAML"),
        ("- 1", "is no Kubernetes object"),
        ("7", "is no Kubernetes object"),
        ("kind: Pod\napiVersion: v1", "is a Pod of v1"),
        ("kind: ClusterImagePolicy\napiVersion: plimsoll.dev/v9", "of plimsoll.dev/v9"),
        ("kind: ClusterImagePolicy\napiVersion: plimsoll.dev/v1alpha1", "missing field(s): spec"),
        ("!!python/object:os.system {}", "is no YAML"),
        ("\x00", "is no YAML"),
    ],
)
def test_files_that_hold_no_policy(text, message):
    code, output = _run("validate", "-", stdin=text)
    assert code == 1
    assert message in output


def test_a_file_that_is_not_there(tmp_path):
    code, output = _run("validate", str(tmp_path / "none.yaml"))
    assert code == 1
    assert "none.yaml cannot be read: No such file" in output


def test_arguments_are_checked():
    base = ["test", "--policy", "-", "--image", "a"]
    code, output = _run(*base, "--secret", "x", stdin=json.dumps(_policy(_GOOD)))
    assert (code, "'x' is not NAME=FILE" in output) == (2, True)
    code, output = _run(*base, "--secret", "x=/none", stdin=json.dumps(_policy(_GOOD)))
    assert (code, "No such file" in output) == (2, True)
    code, output = _run(*base, stdin=json.dumps(_policy({"images": []})))
    assert (code, "missing field(s): spec.images" in output) == (2, True)

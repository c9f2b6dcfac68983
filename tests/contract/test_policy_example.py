"""The example is a policy that this version honours, once its placeholders are filled in."""

from __future__ import annotations

from pathlib import Path

import yaml

from plimsoll.signing.privatekey import generate_key
from plimsoll.webhook.policies import Secrets, compile_policy
from plimsoll.webhook.policyfiles import read_objects

_EXAMPLE = Path(__file__).parents[2] / "examples/clusterimagepolicy.yaml"


def test_the_example_is_honoured():
    (found,) = read_objects(_EXAMPLE)
    assert found.name == "team-a-images"
    document = yaml.safe_load(_EXAMPLE.read_text())
    key = document["spec"]["authorities"][0]["key"]
    assert key["data"].strip() == "REPLACE_WITH_COSIGN_PUB"
    key["data"] = generate_key().public.pem.decode()
    policy = compile_policy(found.name, document["spec"], Secrets("x", {}))
    assert not policy.fault
    assert policy.require == ("signature", "sbom", "provenance")


def test_a_placeholder_is_no_key():
    (found,) = read_objects(_EXAMPLE)
    assert found.check() == [
        "invalid value: REPLACE_WITH_COSIGN_PUB: spec.authorities[0].key.data: no PEM block"
    ]

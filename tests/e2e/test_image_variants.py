"""Variants and tests of an image on the real cluster: the tests run what was built."""

from __future__ import annotations

import json

import pytest
import yaml

from scenario.world import example

pytestmark = pytest.mark.e2e

#: Fails if it reaches the registry, a name, or a token.
CLOSED = """
import os, socket
s = socket.socket()
s.settimeout(3)
assert s.connect_ex(({host!r}, {port})) != 0, "the registry answers"
assert not os.path.exists("/var/run/secrets/kubernetes.io"), "there is a token"
print("closed")
"""


def test_variants_are_tested_before_their_tags_move(team):
    world = team.world
    team.build = yaml.safe_load(example(world, "variants.yaml"))
    host, _, port = world.registry.partition(":")
    closed = CLOSED.format(host=host, port=int(port))
    team.build["spec"]["verifyReproducible"] = True
    tests = team.build["spec"]["tests"]
    tests.append({"name": "closed", "command": ["python3", "-c", closed]})
    team.apply(team.repo, team.build)
    status = team.ready(seconds=240)["status"]
    (dev,) = status["variants"]
    repository = f"{world.registry}/team/hello"
    assert world.crane("digest", f"{repository}:latest").strip() == status["digest"]
    assert world.crane("digest", f"{repository}:latest-dev").strip() == dev["digest"]
    assert status["build"]["verified"] == status["build"]["variants"][0]["verified"] == ["amd64"]
    config = json.loads(world.crane("config", dev["image"]))
    assert config["config"]["Entrypoint"] == ["bash"]
    build = status["build"]["id"]
    logs = [
        world.kubectl("logs", "-n", team.namespace, f"job/{build}-{step}", "--all-containers")
        for step in ("test-amd64", "test-v1-amd64")
    ]
    assert "hello" in logs[0]
    assert "Python 3" in logs[1]
    assert all("closed" in log for log in logs)

    tests.append({"name": "zsh", "command": ["zsh", "--version"], "variants": ["dev"]})
    team.apply(team.build)
    team.until("Stalled", "True", "test-dev-amd64", "zsh", seconds=240)
    tests[-1] = {
        "name": "port",
        "command": ["bash", "-c", "echo no port is open; exit 9"],
        "variants": ["dev"],
    }
    team.apply(team.build)
    body = team.until(
        "Stalled", "True", "the test of port failed with status 9", "no port is open", seconds=240
    )
    assert team.condition("Ready", body)["reason"] == "TestFailed"
    assert world.crane("digest", f"{repository}:latest-dev").strip() == dev["digest"]

"""The keyless path: the seal Job signs as its ServiceAccount, the policy asks for that identity.

Fulcio, Rekor and the timestamp authority are the real ones, started beside the cluster.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import yaml

from cluster_sigstore import ClusterSigstore, cluster_sigstore
from scenario.refusals import pod, refusal
from scenario.shell import wait_for
from scenario.world import TEAM, World, example, is_true

NAME = "keyless"
POLICY = "keyless-images"


def policy(world: World, sigstore: ClusterSigstore) -> dict[str, Any]:
    """Everything is required, by the identity of this namespace's seal Jobs."""
    spec = {
        "images": [{"glob": f"{world.registry}/{NAME}/**"}],
        "authorities": [sigstore.authority(TEAM)],
        "require": {"signature": True, "sbom": True, "provenance": True},
    }
    kind = {"apiVersion": "plimsoll.dev/v1alpha1", "kind": "ClusterImagePolicy"}
    return {**kind, "metadata": {"name": POLICY}, "spec": spec}


def build(world: World, sigstore: ClusterSigstore) -> dict[str, Any]:
    """The example with another name, place and signer."""
    documents = yaml.safe_load_all(example(world, "imagebuild.yaml"))
    made: dict[str, Any] = next(each for each in documents if each["kind"] == "ImageBuild")
    made["metadata"]["name"] = NAME
    made["spec"]["output"]["repository"] = f"{world.registry}/{NAME}/hello"
    made["spec"]["signing"] = sigstore.signing
    # Signatures of an earlier run's servers, whose keys are gone, are on other digests.
    made["spec"]["image"].setdefault("environment", {})["RUN"] = str(time.time_ns())
    return made


def keyless(world: World) -> str:
    """Built, sealed by identity, admitted by identity; a good key's signature is not enough."""
    with cluster_sigstore(world.kubectl, world.cluster.host_address) as sigstore:
        for namespace, made in (
            (TEAM, sigstore.config_map(TEAM)),
            ("", sigstore.trust_root()),
            ("", policy(world, sigstore)),
        ):
            where = ["-n", namespace] if namespace else []
            world.kubectl("apply", *where, "-f", "-", stdin=json.dumps(made))
        world.kubectl("delete", "imagebuild", NAME, "-n", TEAM, "--ignore-not-found")
        body = json.dumps(build(world, sigstore))
        world.kubectl("create", "-n", TEAM, "-f", "-", stdin=body)
        what = ("imagebuild", NAME, "-n", TEAM)
        done = wait_for("the keyless build", lambda: is_true(world, "Ready", *what), seconds=300)
        image = f"{done['spec']['output']['repository']}@{done['status']['digest']}"
        asked = ("clusterimagepolicy", POLICY)
        wait_for("the policy to be in force", lambda: is_true(world, "Ready", *asked), seconds=30)
        good = json.dumps(pod("keyless", image))
        world.kubectl("create", "--dry-run=server", "-n", TEAM, "-f", "-", stdin=good)

        world.crane("copy", world.seen["image"], f"{world.registry}/{NAME}/by-key:latest")
        digest = world.seen["image"].partition("@")[2]
        by_key = f"{world.registry}/{NAME}/by-key@{digest}"
        world.plimsoll("sign", "--key", world.work / "team.key", by_key)
        refusal(world, pod("by-key", by_key), by_key, POLICY, "no signature")
        return f"admitted as signed by {sigstore.subject(TEAM)}"


CHECKS: list[tuple[str, Callable[[World], str]]] = [
    ("keyless: signed and admitted by identity", keyless),
]

"""Pods that must not run, each with the sentence that says why."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from gotools import tool
from scenario.shell import run
from scenario.world import TEAM, World

POLICY = "team-a-images"


def pod(name: str, *images: str, init: tuple[str, ...] = ()) -> dict[str, Any]:
    """A pod that the restricted Pod Security Standard would accept."""

    def containers(prefix: str, wanted: tuple[str, ...]) -> list[dict[str, Any]]:
        return [{"name": f"{prefix}{i}", "image": image} for i, image in enumerate(wanted)]

    spec: dict[str, Any] = {"restartPolicy": "Never", "containers": containers("c", images)}
    if init:
        spec["initContainers"] = containers("i", init)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def refusal(world: World, manifest: dict[str, Any], *needles: str) -> str:
    """Create the object, assert that it is refused in one line that holds every needle."""
    done = run(
        [tool("kubectl"), "create", "-n", TEAM, "-f", "-"],
        env=world.env,
        stdin=json.dumps(manifest),
        check=False,
    )
    assert done.returncode != 0, f"admitted: {manifest['metadata']['name']}"
    said = done.stderr.strip()
    assert "denied the request" in said, said
    reason = said.split("denied the request:", 1)[1].strip()
    for needle in needles:
        assert needle in reason, f"{needle!r} is not in: {reason}"
    assert "\n" not in reason, f"more than one line: {reason}"
    return reason


def copy_of(world: World, name: str) -> str:
    """A copy of the image, without its signatures, under another digest; as repository@digest."""
    target = f"{world.registry}/team/{name}"
    world.crane("mutate", world.seen["amd64"], "--label", f"copy={name}", "-t", f"{target}:latest")
    return f"{target}@{world.crane('digest', f'{target}:latest')}"


def prepare_amd64(world: World) -> None:
    """Remember the amd64 manifest of the image, which the copies are made of."""
    index = json.loads(world.crane("manifest", world.seen["image"]))
    child = next(m for m in index["manifests"] if m["platform"]["architecture"] == "amd64")
    world.seen["amd64"] = f"{world.seen['repository']}@{child['digest']}"


def sign(world: World, image: str, key: str = "team") -> None:
    """Sign with the real cosign, no transparency log."""
    flags = ["--key", str(world.work / f"{key}.key"), "--allow-http-registry=true"]
    world.cosign("sign", *flags, *NO_LOG, image)


#: cosign 3 without Rekor: a signing configuration that names no log.
NO_LOG = ["--tlog-upload=false", "--use-signing-config=false"]


def unsigned(world: World) -> str:
    """No signature at all."""
    prepare_amd64(world)
    image = world.seen["unsigned"] = copy_of(world, "unsigned")
    return refusal(world, pod("unsigned", image), image, POLICY, "no signature")


def other_key(world: World) -> str:
    """Signed, by a key that the policy does not name."""
    image = copy_of(world, "other-key")
    sign(world, image, key="stranger")
    return refusal(world, pod("other-key", image), image, POLICY, "signature")


def without_sbom(world: World) -> str:
    """Signed by the right key, no SBOM attached."""
    image = copy_of(world, "no-sbom")
    sign(world, image)
    return refusal(world, pod("no-sbom", image), image, POLICY, "SBOM")


def relocated_signature(world: World) -> str:
    """The good image's signatures and attestations hung on another digest."""
    image = copy_of(world, "relocated")
    repository, _, digest = image.partition("@")
    source = world.seen["image"]
    source_digest = source.partition("@")[2]
    tree = json.loads(
        world.crane("manifest", f"{world.seen['repository']}:{source_digest.replace(':', '-')}")
    )
    moved = []
    for row in tree["manifests"]:
        found = json.loads(world.crane("manifest", f"{world.seen['repository']}@{row['digest']}"))
        moved.append(relocate(world, found, repository, digest))
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": moved,
    }
    put_manifest(world, repository, digest.replace(":", "-"), index)
    return refusal(world, pod("relocated", image), image, POLICY, "another image")


def relocate(
    world: World, manifest: dict[str, Any], repository: str, digest: str
) -> dict[str, Any]:
    """Copy one referrer's blobs and give its manifest another subject; returns its descriptor."""
    import hashlib  # noqa: PLC0415 - one caller

    target = json.loads(world.crane("manifest", f"{repository}@{digest}"))
    raw = world.crane("manifest", f"{repository}@{digest}")
    manifest["subject"] = {
        "mediaType": target["mediaType"],
        "digest": digest,
        "size": len(raw.encode()),
    }
    for blob in [manifest["config"], *manifest["layers"]]:
        source = f"{world.seen['repository']}@{blob['digest']}"
        copy_blob(world, source, repository, blob["digest"])
    body = json.dumps(manifest).encode()
    name = f"sha256:{hashlib.sha256(body).hexdigest()}"
    put_manifest(world, repository, name, manifest)
    return {
        "mediaType": manifest["mediaType"],
        "digest": name,
        "size": len(body),
        "artifactType": manifest.get("artifactType"),
        "annotations": manifest.get("annotations", {}),
    }


def put_manifest(world: World, repository: str, name: str, manifest: dict[str, Any]) -> None:
    """Write a manifest with nothing but HTTP, as an attacker with push rights would."""
    import urllib.request  # noqa: PLC0415 - one caller

    host, _, path = repository.partition("/")
    request = urllib.request.Request(
        f"http://{host}/v2/{path}/manifests/{name}",
        data=json.dumps(manifest).encode(),
        method="PUT",
        headers={"Content-Type": manifest["mediaType"]},
    )
    with urllib.request.urlopen(request, timeout=20) as response:
        assert response.status == 201, response.status


def copy_blob(world: World, source: str, repository: str, digest: str) -> None:
    """Mount one blob from the repository it is in."""
    import urllib.request  # noqa: PLC0415 - one caller

    host, _, path = repository.partition("/")
    origin = source.partition("@")[0].partition("/")[2]
    request = urllib.request.Request(
        f"http://{host}/v2/{path}/blobs/uploads/?mount={digest}&from={origin}", method="POST"
    )
    with urllib.request.urlopen(request, timeout=20) as response:
        assert response.status == 201, f"mount answered {response.status}"


def bad_init(world: World) -> str:
    """A bad init container beside a good one."""
    manifest = pod("bad-init", world.seen["image"], init=(world.seen["unsigned"],))
    return refusal(world, manifest, world.seen["unsigned"], POLICY)


def ephemeral(world: World) -> str:
    """An ephemeral container with an unsigned image in a running, admitted pod."""
    manifest = pod("running", world.seen["image"])
    manifest["spec"]["containers"][0]["command"] = ["/usr/bin/python3"]
    manifest["spec"]["containers"][0]["args"] = ["-c", "import time; time.sleep(600)"]
    world.kubectl("create", "-n", TEAM, "-f", "-", stdin=json.dumps(manifest))
    wanted = {"name": "debug", "image": world.seen["unsigned"], "targetContainerName": "c0"}
    path = f"/api/v1/namespaces/{TEAM}/pods/running/ephemeralcontainers"
    live = world.get("pod", "running", "-n", TEAM)
    spec = live["spec"]
    assert isinstance(spec, dict)
    spec["ephemeralContainers"] = [wanted]
    done = run(
        [tool("kubectl"), "replace", "--raw", path, "-f", "-"],
        env=world.env,
        stdin=json.dumps(live),
        check=False,
    )
    world.kubectl("delete", "pod", "running", "-n", TEAM, "--grace-period=1", "--wait=false")
    assert done.returncode != 0, "the ephemeral container was admitted"
    reason = done.stderr.split("denied the request:", 1)[-1].strip()
    assert world.seen["unsigned"] in reason, reason
    assert POLICY in reason, reason
    return reason


def moved_tag(world: World) -> str:
    """A tag that pointed to the signed image when somebody looked, and now points elsewhere."""
    tag = f"{world.seen['repository']}:moved"
    world.crane("tag", world.seen["image"], "moved")
    good = pod("tag-good", tag)
    world.kubectl("create", "--dry-run=server", "-n", TEAM, "-f", "-", stdin=json.dumps(good))
    world.crane("copy", world.seen["unsigned"], tag)
    return refusal(world, pod("tag-moved", tag), tag, POLICY, "no signature")


def deployment(world: World) -> str:
    """A Deployment is warned about when it is applied, and its pods are refused."""
    from scenario.shell import wait_for  # noqa: PLC0415 - one caller

    labels = {"app": "unsigned"}
    template = {"metadata": {"labels": labels}, "spec": pod("x", world.seen["unsigned"])["spec"]}
    template["spec"].pop("restartPolicy")
    manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "unsigned"},
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    }
    done = run(
        [tool("kubectl"), "apply", "-n", TEAM, "-f", "-"],
        env=world.env,
        stdin=json.dumps(manifest),
    )
    assert "Warning:" in done.stderr, done.stderr
    assert world.seen["unsigned"] in done.stderr, done.stderr

    def failed() -> str | None:
        out = world.kubectl("get", "events", "-n", TEAM, "--field-selector=reason=FailedCreate")
        return out if world.seen["unsigned"] in out else None

    wait_for("the ReplicaSet's pods to be refused", failed, seconds=60)
    world.kubectl("delete", "deployment", "unsigned", "-n", TEAM)
    return "warned at apply: " + done.stderr.strip().splitlines()[0].removeprefix("Warning: ")


CHECKS: list[tuple[str, Callable[[World], str]]] = [
    ("refused: an unsigned image", unsigned),
    ("refused: signed by another key", other_key),
    ("refused: signed, without SBOM", without_sbom),
    ("refused: signature copied from another digest", relocated_signature),
    ("refused: bad init container beside a good one", bad_init),
    ("refused: ephemeral container, unsigned", ephemeral),
    ("refused: tag that now points elsewhere", moved_tag),
    ("Deployment: warned, its pods refused", deployment),
]

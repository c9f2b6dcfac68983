"""The promises of the main job, each a function that measures one and says what it saw.

They run in order on one cluster; a check may use what an earlier one left in ``world.seen``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scenario import faults, keyless, packages, refusals
from scenario.shell import wait_for
from scenario.world import BUILD, TEAM, World, example, is_true

PROVENANCE = "https://slsa.dev/provenance/v1"
SPDX = "https://spdx.dev/Document"


@dataclass(frozen=True)
class Check:
    """One row of the table."""

    name: str
    run: Callable[[World], str]
    """Returns what was measured; raises where the promise does not hold."""


def build_becomes_ready(world: World) -> str:
    """``kubectl apply`` of the example ends in Ready with a digest."""
    world.kubectl("apply", "-n", TEAM, "-f", "-", stdin=example(world, "imagebuild.yaml"))
    started = time.monotonic()

    what = ("imagebuild", BUILD, "-n", TEAM)
    build = wait_for(
        "the ImageBuild to be Ready", lambda: is_true(world, "Ready", *what), seconds=300
    )
    took = time.monotonic() - started
    world.seen["digest"] = build["status"]["digest"]
    world.seen["repository"] = build["spec"]["output"]["repository"]
    world.seen["image"] = f"{world.seen['repository']}@{world.seen['digest']}"
    columns = world.kubectl("get", "imagebuild", BUILD, "-n", TEAM)
    assert world.seen["digest"][:19] in columns, columns
    assert "True" in columns, columns
    return f"Ready after {took:.0f} s, {world.seen['digest'][:19]}…"


def index_has_both_platforms(world: World) -> str:
    """The index lists linux/amd64 and linux/arm64, and crane finds every layer whole."""
    index = json.loads(world.crane("manifest", world.seen["image"]))
    platforms = sorted(
        f"{m['platform']['os']}/{m['platform']['architecture']}" for m in index["manifests"]
    )
    assert platforms == ["linux/amd64", "linux/arm64"], platforms
    world.crane("validate", "--remote", world.seen["image"])
    return ", ".join(platforms)


def cosign_accepts_signature(world: World) -> str:
    """The real ``cosign verify`` accepts the image with the team's key."""
    world.cosign("verify", *cosign_flags(world), world.seen["image"])
    refused = world.cosign(
        "verify", *cosign_flags(world, key="stranger.pub"), world.seen["image"], check=False
    )
    assert "no matching" in refused or "invalid" in refused, refused
    return "accepted with the team's key, not with another"


def cosign_accepts_attestation(kind: str, predicate: str) -> Callable[[World], str]:
    """The real ``cosign verify-attestation`` accepts one type."""

    def check(world: World) -> str:
        out = world.cosign(
            "verify-attestation", "--type", kind, *cosign_flags(world), world.seen["image"]
        )
        assert predicate in statement_of(out)["predicateType"], out[:2000]
        return predicate

    return check


def statement_of(output: str) -> dict[str, Any]:
    """The in-toto statement that cosign printed, in whatever envelope it printed it."""
    import base64  # noqa: PLC0415 - one caller

    for line in output.splitlines():
        if line.startswith("{"):
            found: dict[str, Any] = json.loads(line)
            if "payload" in found:
                found = json.loads(base64.b64decode(found["payload"]))
            return found
    raise AssertionError(f"cosign printed no statement:\n{output[:2000]}")


def cosign_flags(world: World, key: str = "team.pub") -> list[str]:
    """A key without a transparency log, over plain HTTP."""
    flags = ["--key", str(world.work / key), "--insecure-ignore-tlog=true"]
    return [*flags, "--allow-http-registry=true"]


def sbom_is_complete(world: World) -> str:
    """The SBOM of amd64 lists exactly the packages of the installed database, with versions."""
    index = json.loads(world.crane("manifest", world.seen["image"]))
    counts = []
    for child in index["manifests"]:
        image = f"{world.seen['repository']}@{child['digest']}"
        out = world.cosign("verify-attestation", "--type", "spdxjson", *cosign_flags(world), image)
        document = statement_of(out)["predicate"]
        if isinstance(document, str):
            document = json.loads(document)
        listed = {(p["name"], p.get("versionInfo", "")) for p in document["packages"]}
        installed = installed_packages(world, image)
        missing = installed - listed
        assert not missing, f"not in the SBOM: {sorted(missing)}"
        assert installed, "the installed database is empty"
        counts.append(f"{len(installed)} on {child['platform']['architecture']}")
    return "every package: " + ", ".join(counts)


def installed_packages(world: World, image: str) -> set[tuple[str, str]]:
    """Name and version of every record of the image's installed database."""
    import tarfile  # noqa: PLC0415 - one caller

    from gotools import tool  # noqa: PLC0415
    from scenario.shell import run  # noqa: PLC0415

    archive = world.work / "image.tar"
    run([tool("crane"), "export", "--insecure", image, archive], env=world.env)
    with tarfile.open(archive) as tar:
        member = tar.extractfile("usr/lib/apk/db/installed")
        assert member is not None
        text = member.read().decode()
    archive.unlink()
    found = set()
    for record in text.strip().split("\n\n"):
        lines = dict(line.split(":", 1) for line in record.splitlines() if line[:2] in {"P:", "V:"})
        found.add((lines["P"], lines["V"]))
    return found


def pod_runs(world: World) -> str:
    """A pod of the image is admitted, runs as its non-root user and prints what it should."""
    world.kubectl("run", "hello", "-n", TEAM, f"--image={world.seen['image']}", "--restart=Never")
    wait_for(
        "the pod to end",
        lambda: (
            world.get("pod", "hello", "-n", TEAM)["status"]["phase"]  # type: ignore[index]
            in {"Succeeded", "Failed"}
        ),
        seconds=120,
    )
    said = world.kubectl("logs", "hello", "-n", TEAM).strip()
    world.kubectl("delete", "pod", "hello", "-n", TEAM, "--wait=false")
    assert "uid 65532" in said, said
    return f"printed {said!r}"


CHECKS: list[Check] = [
    Check("kubectl get imagebuild shows Ready with digest", build_becomes_ready),
    Check("index has linux/amd64 and linux/arm64", index_has_both_platforms),
    Check("cosign verify accepts the image", cosign_accepts_signature),
    Check("cosign verify-attestation: SPDX", cosign_accepts_attestation("spdxjson", SPDX)),
    Check(
        "cosign verify-attestation: SLSA provenance",
        cosign_accepts_attestation("slsaprovenance1", PROVENANCE),
    ),
    Check("SBOM lists every installed package", sbom_is_complete),
    Check("pod of the image runs as non-root", pod_runs),
    *(Check(name, check) for name, check in packages.CHECKS),
    *(Check(name, check) for name, check in refusals.CHECKS),
    *(Check(name, check) for name, check in keyless.CHECKS),
    *(Check(name, check) for name, check in faults.CHECKS),
]

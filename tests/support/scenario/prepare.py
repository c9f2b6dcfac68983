"""From a bare machine to a cluster with our chart installed, with a line for each thing done."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import own_image
from cluster import Access
from debian_apk.repository import build as build_packages
from gotools import cache_dir
from scenario.serve import serve
from scenario.world import ROOT, World, install, make_keys, make_team

Say = Callable[[str], None]

#: The packages of the example and of our own image.
BASE = ["demo", "git"]
ARCHS = ["amd64", "arm64"]


def build_inputs(say: Say) -> tuple[Path, Path]:
    """Base packages and our own package, side by side; both are kept."""
    cache = cache_dir()
    with ThreadPoolExecutor() as pool:
        say("base packages from Debian's, our own package from this checkout (about a minute)")
        base = pool.submit(build_packages, cache / "base", BASE, ARCHS, cache / "debian")
        own = pool.submit(own_image.build_repository, cache / "own")
        base.result()
        return cache / "base", own.result()


def publish_own_image(world: World, own: Path) -> str:
    """Build our image with our builder and push it; returns it by digest."""
    key = next(world.packages.glob("*.rsa.pub"))
    own_key = next(own.glob("*.rsa.pub"))
    sources: list[str | Path] = ["-r", world.packages, "-k", key, "-r", own, "-k", own_key]
    target = f"{world.registry}/plimsoll/plimsoll:dev"
    world.plimsoll("publish", ROOT / "images/plimsoll.yaml", target, *sources)
    image = f"{world.registry}/plimsoll/plimsoll@{world.crane('digest', target)}"
    world.plimsoll("sign", "--key", world.work / "release.key", image)
    return image


def prepare(cluster: Access, say: Say, work: Path) -> World:
    """Everything the checks stand on. Safe to call on a cluster that is there already."""
    packages, own = build_inputs(say)
    say("cluster: etcd, API server, kubelet, containerd, registry (about 20 s)")
    cluster.up()
    world = World(cluster, packages, serve(cluster, packages), work)
    make_keys(world)
    say("our own image, by our own builder")
    world.own_image = publish_own_image(world, own)
    say("chart: operator and webhook (about 30 s)")
    install(world)
    make_team(world)
    return world

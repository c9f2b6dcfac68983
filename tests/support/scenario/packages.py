"""Packages from source in the cluster: built, tested, signed, put into an image, and run."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import package_sources
from build_tools import build_tools
from registries import free_port
from scenario.refusals import pod
from scenario.serve import TOOLS, serve
from scenario.shell import wait_for
from scenario.world import TEAM, World, example, give_key, is_true

#: Not guarded: steps run in images that nobody signs.
SHOP = "workshop"
IMAGE = "boarding"
CONFIGURATIONS = ("tonnage", "loadline", "manifest", "ships", "boarding")
SAYS = "Cutty Sark: 741\nGreat Eastern: 15759\nVasa: 1032"


@contextlib.contextmanager
def sources(world: World) -> Iterator[tuple[Path, str]]:
    """The sources of the example packages, where pods reach them; the folder, and the address."""
    folder, place = world.work / "sources", world.work / "sources.port"
    host = world.cluster.host_address
    if not place.exists():
        # Configurations name the address: another one makes other packages.
        place.write_text(str(free_port(host)))
    if not folder.exists():
        package_sources.make(folder)
    with package_sources.serve(folder, host, int(place.read_text())) as address:
        yield folder, address


def configurations(address: str, folder: Path) -> dict[str, str]:
    """Entries of the ConfigMap: the examples, with the address of the sources."""
    package_sources.configurations(folder, address)
    files = [folder / f"{name}.yaml" for name in CONFIGURATIONS]
    return {path.name: path.read_text() for path in [*files, folder / "boarding/boarding"]}


def apply(world: World, entries: dict[str, str]) -> None:
    """Everything the example needs, and the example."""
    tools = build_tools()
    url = serve(world.cluster, tools, TOOLS)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SHOP}}
    world.kubectl("apply", "-f", "-", stdin=json.dumps(namespace))
    give_key(world, SHOP)
    configure(world, entries)
    text = example(world, "packagerepo.yaml", tools, url)
    world.kubectl("apply", "-n", SHOP, "-f", "-", stdin=text)


def configure(world: World, entries: dict[str, str]) -> None:
    """Put configurations into the ConfigMap."""
    meta = {"name": SHOP, "namespace": SHOP}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": entries}
    world.kubectl("apply", "-f", "-", stdin=json.dumps(body))


def repo(world: World) -> dict[str, Any]:
    """The PackageRepo."""
    return world.get("packagerepo", SHOP, "-n", SHOP)


def ready(world: World, *what: str, seconds: float = 600) -> dict[str, Any]:
    """Wait until an object of the namespace is ready."""
    return wait_for(
        f"{' '.join(what)} to be Ready",
        lambda: is_true(world, "Ready", *what, "-n", SHOP),
        seconds=seconds,
    )


def run(world: World, image: str) -> str:
    """What a pod of an image prints in the guarded namespace."""
    world.kubectl("create", "-n", TEAM, "-f", "-", stdin=json.dumps(pod(IMAGE, image)))
    try:
        wait_for(
            "the pod to end",
            lambda: (
                world.get("pod", IMAGE, "-n", TEAM)["status"]["phase"]  # type: ignore[index]
                in {"Succeeded", "Failed"}
            ),
            seconds=120,
        )
        return world.kubectl("logs", IMAGE, "-n", TEAM).strip()
    finally:
        world.kubectl("delete", "pod", IMAGE, "-n", TEAM, "--grace-period=0", "--force")


def from_source(world: World) -> str:
    """A library, a program that links it, a Python program, data and a shell tool become an image,
    which a guarded namespace runs."""
    with sources(world) as (_, address):
        return image_of(world, configurations(address, world.work / "configurations"))


def image_of(world: World, entries: dict[str, str]) -> str:
    """Have the packages built, and run the image of them; what was seen."""
    started = time.monotonic()
    apply(world, entries)
    found = ready(world, "packagerepo", SHOP)
    took = time.monotonic() - started
    build = ready(world, "imagebuild", IMAGE)
    image = f"{build['spec']['output']['repository']}@{build['status']['digest']}"
    world.seen["boarding"] = image
    said = run(world, image)
    assert said == SAYS, said
    count = found["status"]["packages"]
    return f"{count} packages built and signed in {took:.0f} s; the pod printed {SAYS[:15]!r}…"


CHECKS: list[tuple[str, Callable[[World], str]]] = [
    ("packages from source, an image of them, a pod of it", from_source),
]

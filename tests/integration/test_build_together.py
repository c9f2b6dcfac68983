"""Processes that build at the same time, from one cache: files are sent once."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from apk_repository import Repository
from command import run
from fault_proxy import fault_proxy
from plimsoll.oci.layout import Layout
from plimsoll.oci.model import OCI_LAYER_GZIP
from registries import crane_registry

pytestmark = pytest.mark.integration


async def test_a_base_image_is_fetched_once(tmp_path):
    """Counted before a real registry: each layer is sent once, whoever comes first."""
    repository = Repository(tmp_path / "repo")
    repository.add("lib", {"usr/lib/libx.so": "x" * 200_000})
    repository.add("app", {"usr/bin/app": "app"}, depends=("lib",))
    repository.write()

    def write(name: str, more: str) -> None:
        (tmp_path / name).write_text(
            f"contents:\n  keyring: [{repository.key_file}]\n  repositories: [{repository.root}]\n"
            f"  {more}\narchs: [amd64]\n"
        )

    write("base.yaml", "packages: [lib]")
    (tmp_path / "base").mkdir()
    await asyncio.to_thread(
        run, tmp_path / "cache", "build", "base.yaml", "base:1", "base", cwd=tmp_path
    )
    made = Layout.open(tmp_path / "base")
    layers = {d.digest for d in made.blobs_of(made.resolve()) if d.media_type == OCI_LAYER_GZIP}
    assert layers
    with crane_registry() as registry:
        name = f"{registry.host}/base:1"
        await asyncio.to_thread(run, tmp_path / "cache", "publish", "base.yaml", name, cwd=tmp_path)
        async with fault_proxy(registry.host) as proxy:
            write("image.yaml", f"packages: [app]\n  baseimage: {{image: '{proxy.host}/base:1'}}")
            words = (tmp_path / "cold", "build", "image.yaml", "on:1")
            builds = (asyncio.to_thread(run, *words, f"{n}.tar", cwd=tmp_path) for n in range(3))
            assert len({done.stdout for done in await asyncio.gather(*builds)}) == 1
    sent = Counter(seen.path.rpartition("/")[2] for seen in proxy.seen if seen.method == "GET")
    assert {digest: sent[digest] for digest in layers} == dict.fromkeys(layers, 1)

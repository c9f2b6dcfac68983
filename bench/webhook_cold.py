"""What new images cost the webhook: registry round trips, CPU, bursts, memory, start.

Images are signed and have an SBOM of 500 packages; policies ask for both. The registry is a
process of its own on loopback. Counts are asserted by ``tests/integration/test_webhook_costs.py``;
here are the times, as ratios to verifying one image after another.

``PYTHONPATH=tests/support python bench/webhook_cold.py`` prints them; nothing is judged.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from apiserver import control_plane
from load import cpu_seconds
from plimsoll.oci.digest import digest_of
from plimsoll.signing.privatekey import generate_key
from plimsoll.webhook.evaluate import PolicyVerdict
from plimsoll.webhook.log import configure
from registries import crane_registry, free_port
from webhooks import for_tests, key_policy, push_signed, serving

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plimsoll.signing.privatekey import PrivateKey
    from webhooks import Webhook

SERIAL, BURST, PODS, VERDICTS = 40, 100, 1000, 20_000
SPDX = {"spdxVersion": "SPDX-2.3", "packages": [{"name": f"p{n}"} for n in range(500)]}
ROOT = Path(__file__).resolve().parents[1]


async def push(host: str, repository: str, count: int, key: PrivateKey) -> list[str]:
    """Images that differ, each with its evidence."""
    return [await push_signed(host, f"{repository}/{n}", "1", key, SPDX) for n in range(count)]


async def one_by_one(webhook: Webhook, images: Sequence[str]) -> list[float]:
    """Seconds of each image, asked about alone."""
    took = []
    for image in images:
        begin = time.perf_counter()
        assert (await webhook.admit(image))["allowed"]
        took.append(time.perf_counter() - begin)
    return took


async def cold(host: str, key: PrivateKey) -> None:
    """Times of images that nobody has asked about before."""
    pem = key.public.pem.decode()
    policy = key_policy(pem, require={"signature": True, "sbom": True})
    serial = await push(host, "serial", SERIAL, key)
    burst = await push(host, "burst", BURST, key)
    popular = (await push(host, "popular", 1, key))[0]
    async with serving(for_tests(host)) as webhook:
        webhook.policies.set(signed=policy)
        # Connections and code are warm, verdicts are not.
        await one_by_one(webhook, serial[: SERIAL // 4])
        cpu = time.process_time()
        took = await one_by_one(webhook, serial[SERIAL // 4 :])
        cpu = (time.process_time() - cpu) / len(took)
        warm_cpu = time.process_time()
        warm = statistics.median(await one_by_one(webhook, [serial[0]] * 100))
        warm_cpu = (time.process_time() - warm_cpu) / 100
        single = statistics.median(took)
        begin = time.perf_counter()
        assert (await webhook.admit(*burst))["allowed"]
        together = time.perf_counter() - begin
        reads = webhook.verifier.reads
        begin = time.perf_counter()
        answers = await asyncio.gather(*(webhook.admit(popular) for _ in range(PODS)))
        many = time.perf_counter() - begin
        assert all(answer["allowed"] for answer in answers)
        reads = webhook.verifier.reads - reads
    print(f"one new image:                    {single * 1e3:8.1f} ms")
    print(f"  CPU, client of this bench less: {(cpu - warm_cpu) * 1e3:8.1f} ms")
    print(f"  the same, remembered:           {warm * 1e3:8.1f} ms")
    print(f"{BURST} new images in one pod:        {together * 1e3:8.1f} ms", end="")
    print(f"   {together / (single * BURST):.2f} of one after another")
    print(f"{PODS} pods of one new image:       {many * 1e3:8.1f} ms", end="")
    print(f"   {reads} verification, {many / PODS / single:.2f} of a cold one each")


def remember() -> None:
    """Fill the memory of verdicts, and print what the process holds, in MiB."""

    async def fill() -> None:
        async with serving() as webhook:
            webhook.policies.set(signed=key_policy(generate_key().public.pem.decode()))
            policy = webhook.policies.policies.policies[0]
            before = resident()
            for number in range(VERDICTS):
                digest = digest_of(str(number).encode())
                key = (policy.fingerprint, f"registry.example/team/app{number}", digest, "")
                verdict = PolicyVerdict(policy.name, policy.group, enforce=True, passed=True)
                webhook.verifier.cache.put(key, verdict, 300)
            assert len(webhook.verifier.cache) == VERDICTS
            print(f"memory with {VERDICTS} verdicts:     {resident():8.1f} MiB", end="")
            print(f"   {before:.1f} without", flush=True)

    asyncio.run(fill())


def resident() -> float:
    """MiB of memory that this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def start() -> None:
    """From the command to readiness, with a real API server that has the kinds and no policy."""
    with tempfile.TemporaryDirectory() as folder, control_plane(Path(folder)) as plane:
        plane.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
        plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        environment = {**os.environ, "KUBECONFIG": str(plane.kubeconfig)}
        took, cpu = [], []
        for _ in range(5):
            health = free_port()
            command = [str(Path(sys.executable).with_name("plimsoll")), "webhook"]
            command += ["--port", str(free_port()), "--health-port", str(health)]
            begin = time.perf_counter()
            child = subprocess.Popen(
                [*command, "--drain-seconds", "0", "--configuration", "absent"],
                env=environment,
                stderr=subprocess.DEVNULL,
            )
            try:
                wait_ready(f"http://127.0.0.1:{health}/readyz")
                took.append(time.perf_counter() - begin)
                cpu.append(cpu_seconds(child.pid))
            finally:
                child.terminate()
                child.wait()
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import aiohttp.web"], check=True)
        bare = time.perf_counter() - begin
    ready = statistics.median(took)
    print(f"start to ready:                   {ready * 1e3:8.1f} ms", end="")
    print(f"   {ready / bare:.1f} of importing aiohttp.web,", end="")
    print(f" {statistics.median(cpu) * 1e3:.0f} ms CPU")


def wait_ready(url: str) -> None:
    """Ask until the answer is 200."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
            if answer.status == 200:
                return
        time.sleep(0.02)
    raise TimeoutError(url)


def main() -> None:
    if sys.argv[1:] == ["--remember"]:
        remember()
        return
    os.environ.pop("DOCKER_CONFIG", None)
    configure("error")
    key = generate_key()
    with crane_registry() as registry:
        asyncio.run(cold(registry.host, key))
    subprocess.run([sys.executable, __file__, "--remember"], check=True)
    start()


if __name__ == "__main__":
    main()

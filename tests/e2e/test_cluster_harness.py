"""The harness keeps its promises: a real cluster, recovery from anything, and no trace."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from cluster import Cluster, ClusterError, ExistingCluster, connect, unsupported, wait_until
from cluster.images import archive
from cluster.wait import Pending
from gotools import tool
from registries import free_port

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(unsupported() is not None, reason=str(unsupported())),
]

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A cluster of this module's own, started as the command line does."""
    cluster = Cluster(tmp_path_factory.mktemp("harness") / "state")
    try:
        yield cluster
    finally:
        cluster.down()


def _command(cluster, *words):
    argv = [sys.executable, "-m", "cluster", *words, "--state", str(cluster.layout.state)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests/support")}
    return subprocess.Popen(argv, env=environment, stderr=subprocess.PIPE, text=True)


def _traces(cluster):
    """What of this cluster is on the machine: processes, mounts, links, rules, control groups."""
    state, link = str(cluster.layout.state), cluster.layout.link
    found = [
        f"mount {line}" for line in Path("/proc/mounts").read_text().splitlines() if state in line
    ]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            groups = (process / "cgroup").read_text()
        except OSError:
            continue
        if state in words or cluster.layout.cgroup in groups:
            found.append(f"process {words}")
    found += [f"link {path.name}" for path in Path("/sys/class/net").glob(link)]
    found += [f"group {path}" for path in Path("/sys/fs/cgroup").glob(f"*/{link}*")]
    rules = subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout
    found += [f"rule {line}" for line in rules.splitlines() if link in line]
    return found


def _reached(cluster, sign):
    def check():
        path = cluster.layout.run / sign
        return path.exists() or Pending(f"no {path}")

    return wait_until(sign, check, seconds=60, interval=0.02)


def _say(cluster, name, text):
    image = f"{cluster.registry}/test/say:1"
    cluster.kubectl("run", name, f"--image={image}", "--restart=Never", "--", text)
    cluster.wait_pod(name, "Succeeded")
    return cluster.kubectl("logs", name).stdout


def test_killed_half_way_it_comes_up_the_next_time(own, tmp_path):
    tool("kubectl")  # built before, so that the kill hits the start of the cluster
    first = _command(own, "up")
    try:
        _reached(own, "kube-apiserver.process")
    finally:
        first.send_signal(signal.SIGKILL)
        first.communicate()
    assert _traces(own)

    second = _command(own, "up")
    assert (second.communicate()[1], second.returncode)[1] == 0
    image = tmp_path / "say.tar"
    image.write_bytes(archive("say", tool("say").read_bytes(), "say"))
    reference = f"{own.registry}/test/say:1"
    subprocess.run([tool("crane"), "push", image, reference], check=True, capture_output=True)
    assert _say(own, "first", "ahoy") == "ahoy (uid 65532)\n"


def test_a_second_up_finds_it_healthy(own):
    begin = time.monotonic()
    own.up()
    assert own.healthy()
    assert time.monotonic() - begin < 5
    assert own.status()["node"] == "ready"


def test_tls_is_verified_everywhere(own):
    assert "insecure" not in own.kubeconfig.read_text()
    address = f"https://{own.layout.network.node}:6443/readyz"
    with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
        urllib.request.urlopen(address, timeout=5)
    stranger = own.kubectl(
        "--certificate-authority",
        "/etc/ssl/certs/ca-certificates.crt",
        "get",
        "--raw",
        "/readyz",
        check=False,
    )
    assert stranger.returncode != 0


def test_after_a_dead_part_it_is_repaired_and_nothing_is_lost(own):
    own.kubectl("create", "configmap", "kept", "--from-literal=a=b")
    inside = Path(f"/proc/{own._node.init.pid}/ns/pid").readlink()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            name = (process / "comm").read_text().strip()
            same = (process / "ns/pid").readlink() == inside
        except OSError:
            continue
        if name == "etcd" and same:
            os.kill(int(process.name), signal.SIGKILL)

    def unhealthy():
        return not own.healthy() or Pending("healthy")

    wait_until("the loss to show", unhealthy, seconds=10)
    own.up()
    assert own.get("/api/v1/namespaces/default/configmaps/kept")["data"] == {"a": "b"}
    assert _say(own, "second", "again") == "again (uid 65532)\n"


def test_an_existing_cluster_is_used_as_it_is(own, tmp_path, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(own.kubeconfig))
    monkeypatch.setenv("PLIMSOLL_REGISTRY", own.registry)
    theirs = connect(tmp_path / "state")
    assert isinstance(theirs, ExistingCluster)
    theirs.up()
    assert theirs.get("/api/v1/namespaces/default")["kind"] == "Namespace"
    assert theirs.get("/api/v1/namespaces/absent") is None
    with pytest.raises(ClusterError, match="PLIMSOLL_HOST_ADDRESS is not set"):
        _ = theirs.host_address
    theirs.down()
    assert own.healthy()

    monkeypatch.setenv("PLIMSOLL_REGISTRY", f"127.0.0.1:{free_port()}")
    with pytest.raises(ClusterError, match=r"registry 127.0.0.1:\d+ does not answer"):
        connect(tmp_path / "state").up()


def test_image_volumes_reach_admission(own):
    pod = """
apiVersion: v1
kind: Pod
metadata: {name: volume}
spec:
  containers: [{name: a, image: registry.invalid/a}]
  volumes: [{name: v, image: {reference: registry.invalid/b}}]
"""
    shown = own.kubectl("create", "--dry-run=server", "-o", "yaml", "-f", "-", stdin=pod).stdout
    assert re.search(r"reference: registry.invalid/b", shown)


def test_a_terminated_up_leaves_nothing_running_and_down_leaves_no_trace(own):
    own.down()
    assert not own.layout.state.exists()
    assert _traces(own) == []

    process = _command(own, "up")
    _reached(own, "etcd.process")
    process.terminate()
    assert process.communicate()[0] is None
    assert process.returncode == 143
    assert _traces(own) == []
    down = _command(own, "down")
    down.communicate()
    assert down.returncode == 0
    assert not own.layout.state.exists()


def test_a_directory_that_is_not_a_clusters_is_left_alone(tmp_path):
    (tmp_path / "precious").write_text("")
    cluster = Cluster(tmp_path)
    down = _command(cluster, "down")
    assert "not the directory of a cluster" in down.communicate()[1]
    assert down.returncode == 1
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]

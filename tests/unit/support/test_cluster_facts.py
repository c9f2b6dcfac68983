"""The pure parts of the cluster harness."""

from __future__ import annotations

import io
import os
import tarfile
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.images import archive
from cluster.layout import ClusterError, Layout, Network, nameservers
from cluster.processes import Process, start
from cluster.wait import Pending, wait_until


@given(st.integers(0, 2**24), st.sets(st.integers(100, 219), max_size=119))
def test_a_chosen_network_is_free_and_its_parts_do_not_overlap(start, taken):
    used = [IPv4Network(f"10.{second}.64.0/24") for second in taken]
    network = Network.choose(used, start)
    assert network.second not in taken
    assert not network.pods.overlaps(network.services)
    for address in (network.host, network.node):
        assert address in network.whole
        assert address not in network.pods
        assert address not in network.services


def test_no_free_network_is_an_error():
    with pytest.raises(ClusterError, match="routed elsewhere"):
        Network.choose([IPv4Network("10.0.0.0/8")], 0)


def test_names_fit_the_kernel():
    assert len(Layout(Path("/a/very/long/path/" * 20)).link) <= 15


def test_nameservers_of_a_resolv_conf(tmp_path):
    path = tmp_path / "resolv.conf"
    path.write_text("# nameserver 1.1.1.1\nsearch a b\nnameserver 10.0.0.1\nnameserver\n")
    assert nameservers(path) == ["10.0.0.1"]
    assert nameservers(tmp_path / "absent") == []


def test_a_process_is_known_whatever_its_name():
    rest = " ".join(["S", *map(str, range(4, 22)), "777", "1"])
    assert Process.of(f"12 (a) (b c)) {rest}") == Process(12, 777)
    assert Process.of("12 (a") is None
    assert Process.of("") is None


def test_a_recycled_process_id_is_left_alone(tmp_path):
    log, record = tmp_path / "log", tmp_path / "record"
    process = start(["sleep", "60"], record=record, log=log, env=dict(os.environ))
    try:
        assert Process.recorded(record) == process
        assert process.alive
        other = Process(process.pid, process.started - 1)
        assert not other.alive
        other.kill()
        assert process.alive
    finally:
        process.kill()
    assert not process.alive


def test_waiting_tells_what_was_seen_last():
    with pytest.raises(TimeoutError, match=r'waited 0 s for a ship; last seen: "fog"'):
        wait_until("a ship", lambda: Pending("fog"), seconds=0, interval=0)
    assert wait_until("a ship", lambda: "ship", seconds=0) == "ship"


def test_the_image_archive_holds_one_program():
    with tarfile.open(fileobj=io.BytesIO(archive("a/b:1", b"\x7fELF", "pause"))) as outer:
        assert outer.getnames() == ["config.json", "layer.tar", "manifest.json"]
        layer = outer.extractfile("layer.tar")
        assert layer is not None
        with tarfile.open(fileobj=layer) as inner:
            assert inner.getmember("pause").mode == 0o755


def test_start_reports_a_program_that_is_not_there(tmp_path):
    log = tmp_path / "log"
    process = start(["/absent"], record=tmp_path / "r", log=log, env={})
    assert wait_until("its end", lambda: not process.alive or Pending("alive"), seconds=5)
    assert "/absent" in log.read_text()

"""A repository in a registry as the HTTP tree that apk clients know."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import time

import pytest
from click.testing import CliRunner

from command import PLIMSOLL
from package_builds import PackageBuilds, push_unsigned
from plimsoll.apk.index import read_index
from plimsoll.apk.keys import Keyring
from plimsoll.cli.main import cli
from registries import distribution_registry

pytestmark = pytest.mark.integration

CONTENT = os.urandom(8_000_000)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    (folder / "unused.rsa.pub").write_text("unused")
    with distribution_registry() as registry:
        builds = PackageBuilds(
            folder, f"{registry.host}/team/packages", folder, folder / "unused.rsa.pub"
        )
        artifacts = [
            push_unsigned(builds, "hello", {"usr/bin/hello": CONTENT}),
            push_unsigned(builds, "c++tool", {"usr/bin/tool": b"x"}, "2.0_rc1"),
        ]
        builds.publish(*artifacts)
        (folder / builds.key.name).write_bytes(builds.key.public_pem())
        yield builds, registry
        builds.close()


@contextlib.contextmanager
def serving(builds, *words):
    process = subprocess.Popen(
        [
            *(PLIMSOLL, "repo", "serve", f"oci://{builds.storage}", "--listen", "127.0.0.1:0"),
            *("--key", str(builds.tmp), *words),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        line = process.stdout.readline()
        assert line.startswith("listening on port "), line + process.stdout.read()
        yield process, int(line.split()[-1])
    finally:
        process.terminate()
        process.wait(timeout=30)
        process.stdout.close()


@pytest.fixture(scope="module")
def port(published):
    with serving(published[0]) as (_, port):
        yield port


def ask(port, path, method="GET", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with contextlib.closing(connection):
        connection.request(method, path, headers=named)
        with connection.getresponse() as answer:
            return answer.status, dict(answer.headers), answer.read()


HELLO = "/x86_64/hello-1.0-r0.apk"


def test_files(port, published):
    builds, _ = published
    status, headers, index = ask(port, "/x86_64/APKINDEX.tar.gz")
    assert (status, headers["Content-Type"]) == (200, "application/gzip")
    keyring = Keyring({builds.key.name: builds.key.public_pem()})
    found = read_index(index, keyring, source="served")
    assert sorted(found.names()) == ["c++tool", "hello"]
    status, headers, package = ask(port, HELLO)
    assert status == 200
    assert len(package) == found.named("hello")[0].size == int(headers["Content-Length"])
    assert ask(port, "/x86_64/c++tool-2.0_rc1-r0.apk")[0] == 200
    assert ask(port, "/x86_64/c%2B%2Btool-2.0_rc1-r0.apk")[0] == 200
    status, shown, body = ask(port, HELLO, "HEAD")
    assert (status, body) == (200, b"")
    assert shown["Content-Length"] == headers["Content-Length"]
    assert ask(port, f"/{builds.key.name}")[2] == builds.key.public_pem()


def test_etag(port):
    _, headers, _ = ask(port, HELLO)
    for given in (headers["ETag"], f'"other", W/{headers["ETag"]}', "*"):
        status, shown, body = ask(port, HELLO, If_None_Match=given)
        assert (status, body, shown["ETag"]) == (304, b"", headers["ETag"])
    assert ask(port, HELLO, If_None_Match='"other"')[0] == 200


@pytest.mark.parametrize(
    ("given", "start", "end"),
    [
        ("bytes=0-99", 0, 100),
        ("bytes=1000000-", 1_000_000, None),
        ("bytes=-10", -10, None),
        ("bytes=5-999999999", 5, None),
        ("bytes=0-0", 0, 1),
    ],
)
def test_ranges(port, given, start, end):
    whole = ask(port, HELLO)[2]
    status, headers, body = ask(port, HELLO, Range=given)
    assert (status, body) == (206, whole[start:end])
    first = start if start >= 0 else len(whole) + start
    assert headers["Content-Range"] == f"bytes {first}-{first + len(body) - 1}/{len(whole)}"


def test_ranges_that_are_not_served(port):
    status, headers, whole = ask(port, HELLO)
    for given in ("bytes=0-1,5-6", "lines=1-2", "bytes=5-2", "bytes=-", "nonsense"):
        assert ask(port, HELLO, Range=given)[::2] == (200, whole)
    status, shown, _ = ask(port, HELLO, Range="bytes=999999999-")
    assert (status, shown["Content-Range"]) == (416, f"bytes */{len(whole)}")
    assert ask(port, HELLO, Range="bytes=0-9", If_Range=headers["ETag"])[0] == 206
    assert ask(port, HELLO, Range="bytes=0-9", If_Range='"other"')[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "/", "/x86_64/", "/x86_64/none-1.0-r0.apk", "/aarch64/APKINDEX.tar.gz", "/x86_64/hello.txt",
        "/x86_64/..%2f..%2fetc%2fpasswd", "/X/APKINDEX.tar.gz", "/x86_64/a/b.apk", "/none.rsa.pub",
        "/x86_64/%00.apk", f"/x86_64/{'a' * 600}.apk",
    ],
)  # fmt: skip
def test_what_is_not_there(port, path):
    assert ask(port, path)[0] == 404


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "PATCH"])
def test_it_only_reads(port, method):
    assert ask(port, HELLO, method)[0] == 405


def test_health(port):
    assert ask(port, "/healthz")[0] == 200
    assert ask(port, "/readyz")[0] == 200


def test_our_engine_reads_it(port, published, tmp_path, monkeypatch):
    builds, _ = published
    monkeypatch.setenv("PLIMSOLL_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "image.yaml").write_text(
        json.dumps(
            {
                "contents": {
                    "repositories": [f"http://127.0.0.1:{port}"],
                    "keyring": [str(builds.tmp / builds.key.name)],
                    "packages": ["hello", "c++tool"],
                },
                "archs": ["amd64"],
            }
        )
    )
    made = CliRunner().invoke(cli, ["build", "image.yaml", "example/hello:1", "image.tar"])
    assert made.exit_code == 0, made.output


def test_a_new_index_is_seen(port, published):
    builds, _ = published
    before = ask(port, "/x86_64/APKINDEX.tar.gz")[1]["ETag"]
    builds.publish(push_unsigned(builds, "another", {"usr/bin/another": b"x"}))
    deadline = time.monotonic() + 20
    while ask(port, "/x86_64/APKINDEX.tar.gz", If_None_Match=before)[0] == 304:
        assert time.monotonic() < deadline
    assert ask(port, "/x86_64/another-1.0-r0.apk")[0] == 200


def test_it_stops_once_downloads_are_done(published):
    builds, _ = published
    with serving(builds) as (process, port), socket.create_connection(("127.0.0.1", port)) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        slow.sendall(f"GET {HELLO} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        got = len(slow.recv(1000))
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "stopping\n"
        while data := slow.recv(1 << 20):
            got += len(data)
        assert got > len(CONTENT)
        assert process.wait(timeout=20) == 0


def test_a_registry_that_is_gone(published, tmp_path):
    with distribution_registry() as other:
        made = PackageBuilds(tmp_path, f"{other.host}/x/y", tmp_path, tmp_path)
        stack = contextlib.ExitStack()
        _, port = stack.enter_context(serving(made))
        assert ask(port, "/readyz")[0] == 200
        assert ask(port, HELLO)[0] == 404
    with stack:
        made.close()
        status, headers, _ = ask(port, "/x86_64/other-1.0-r0.apk")
        assert (status, headers["Retry-After"]) == (502, "5")


def test_a_registry_that_changes_bytes(published):
    builds, registry = published
    builds.publish(push_unsigned(builds, "victim", {"usr/bin/victim": os.urandom(3_000_000)}))
    with serving(builds) as (_, port):
        path = "/x86_64/victim-1.0-r0.apk"
        digest = ask(port, path)[1]["ETag"].strip('"').partition(":")[2]
        (blob,) = registry.storage.glob(f"**/blobs/sha256/*/{digest}/data")
        data = bytearray(blob.read_bytes())
        data[1000] ^= 1
        blob.write_bytes(data)
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            ask(port, path)


@pytest.mark.parametrize("listen", ["nonsense", "127.0.0.1:99999999"])
def test_bad_addresses(listen):
    made = CliRunner().invoke(cli, ["repo", "serve", "example.org/x", "--listen", listen])
    assert made.exit_code == 2
    assert "is not ADDRESS:PORT" in made.output

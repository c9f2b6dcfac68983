"""What a shell sees: streams, exit status, signals, and files that are no files."""

from __future__ import annotations

import base64
import contextlib
import functools
import http.server
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from apk_repository import Repository

pytestmark = pytest.mark.integration

PLIMSOLL = str(Path(sys.executable).with_name("plimsoll"))


@pytest.fixture
def desk(tmp_path, monkeypatch):
    monkeypatch.setenv("PLIMSOLL_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    monkeypatch.chdir(tmp_path)
    repository = Repository(tmp_path / "repo")
    repository.add("base", {"etc/base": "b"})
    repository.write()
    (tmp_path / "image.yaml").write_text(
        f"contents:\n  keyring: [{repository.key_file}]\n  repositories: [{repository.root}]\n"
        "  packages: [base]\narchs: [amd64]\nenvironment: {WHO: Zoë 日本}\n"
    )
    return tmp_path


def run(*arguments, **more):
    more = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | more
    return subprocess.run([PLIMSOLL, *arguments], check=False, timeout=60, **more)


def test_the_result_alone_is_on_standard_output(desk):
    plain = run("build", "image.yaml", "x:1", "a.tar")
    assert plain.stdout.startswith(b"sha256:")
    assert plain.stdout.count(b"\n") == 1
    for command in (
        ("build", "image.yaml", "x:1", "a.tar"),
        ("build-minirootfs", "image.yaml", "a.tar.gz", "--build-arch", "amd64"),
        ("build-cpio", "image.yaml", "a.cpio", "--build-arch", "amd64"),
        ("lock", "image.yaml"),
        ("show-packages", "image.yaml"),
        ("show-config", "image.yaml"),
        ("sbom", "image.yaml"),
        ("dot", "image.yaml"),
        ("version",),
    ):
        done = run(*command, "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)
    quiet = run("build", "image.yaml", "x:1", "a.tar", "--progress", "none")
    assert (quiet.stderr, quiet.stdout) == (b"", plain.stdout)


def test_streams_that_take_nothing(desk):
    """A reader that goes away, a full disk, streams that were closed: a line at most."""
    for command in (("show-packages", "image.yaml"), ("--help",), ("version",)):
        reader, writer = os.pipe()
        os.close(reader)
        done = run(*command, stdout=writer)
        os.close(writer)
        assert b"Traceback" not in done.stderr
        with Path("/dev/full").open("wb") as full:
            done = run(*command, stdout=full)
        assert done.returncode == 1
        assert done.stderr == b"error: cannot go on: No space left on device\n"
    shell = f"exec {PLIMSOLL} build image.yaml x:1 a.tar"
    for closed in ("2>&-", ">&-", ">&- 2>&-", "<&-"):
        done = subprocess.run(
            ["/bin/sh", "-c", f"{shell} {closed}"], capture_output=True, check=False, timeout=60
        )
        assert (done.returncode, b"Traceback" in done.stderr) == (0, False), closed


def test_terminals_that_cannot_show_everything(desk):
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    config = run("show-config", "image.yaml", env=environment)
    assert "Zoë 日本" in config.stdout.decode()
    Path("other.yaml").write_text(Path("image.yaml").read_text().replace("日本", "日"))
    for name in ("image", "other"):
        run("build", f"{name}.yaml", "x:1", f"{name}.tar")
    told = run("diff", "image.tar", "other.tar", env=environment)
    assert "Zoë \\u65e5\\u672c" in told.stdout.decode("latin-1")
    page = run("diff", "--format", "html", "image.tar", "other.tar", env=environment)
    assert "Zoë 日本" in page.stdout.decode()


def test_names_that_are_no_text(desk):
    Path(os.fsdecode(b"\xff.yaml")).write_text(Path("image.yaml").read_text())
    for arguments in (
        ("build", b"\xff.yaml", "x:1", "a.tar"),
        ("build", "image.yaml", "x:1", b"\xff.tar"),
        ("lock", b"\xff.yaml"),
        ("build", "image.yaml", "x:1", "a.tar", "--annotations", b"a:\xff"),
        ("diff", b"\xff", "image.yaml"),
    ):
        done = run(*arguments)
        assert done.returncode == 2
        assert "\N{REPLACEMENT CHARACTER}" in done.stderr.decode()
        assert b"is no UTF-8 text" in done.stderr


def on_a_terminal(*arguments, **environment):
    """What a terminal gets as errors."""
    master, slave = os.openpty()
    shown = b""
    try:
        with subprocess.Popen(
            [PLIMSOLL, *arguments], stderr=slave, env={**os.environ, "TERM": "xterm"} | environment
        ):
            os.close(slave)
            with contextlib.suppress(OSError):
                while piece := os.read(master, 4096):
                    shown += piece
    finally:
        os.close(master)
    return shown


def test_colours_can_be_left_out(desk):
    assert b"\x1b[31merror" in on_a_terminal("show-config", "none.yaml")
    assert b"\x1b" not in on_a_terminal("show-config", "none.yaml", NO_COLOR="1")


def test_a_shell_completes_names_without_loading_commands(desk):
    def completed(words):
        environment = {"_PLIMSOLL_COMPLETE": "bash_complete", "COMP_WORDS": words}
        environment["COMP_CWORD"] = str(words.count(" "))
        done = run(env={**os.environ, **environment, "PYTHONPROFILEIMPORTTIME": "1"})
        return done.stdout.decode().split(), done.stderr

    names, loaded = completed("plimsoll build-")
    assert names == ["plain,build-cpio", "plain,build-minirootfs"]
    assert b"plimsoll.builder.cli.rootfs" not in loaded
    assert b"plimsoll.cli.main" in loaded
    assert completed("plimsoll cache v")[0] == ["plain,verify"]
    assert "plain,none" in completed("plimsoll build --progress ")[0]


def test_output_replaces_files_and_nothing_else(desk):
    os.mkfifo("pipe")
    reader = subprocess.Popen(["cat", "pipe"], stdout=subprocess.PIPE)
    try:
        assert run("build", "image.yaml", "x:1", "pipe").returncode == 0
        data = reader.communicate(timeout=60)[0]
    finally:
        reader.kill()
        reader.wait()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert "index.json" in tar.getnames()
    assert Path("pipe").is_fifo()
    assert not list(desk.glob("sbom-*"))
    Path("link.tar").symlink_to("real.tar")
    assert run("build", "image.yaml", "x:1", "link.tar").returncode == 0
    assert Path("link.tar").is_symlink()
    assert Path("real.tar").read_bytes() == data
    Path("full").mkdir()
    Path("full/mine").write_text("mine")
    done = run("build", "image.yaml", "x:1", "full")
    assert done.returncode == 1
    assert b"full is not empty and no OCI layout" in done.stderr
    assert [path.name for path in Path("full").iterdir()] == ["mine"]
    done = run("build", "image.yaml", "x:1", "none/a.tar")
    assert b"make the directory first" in done.stderr
    assert b"resolved" not in done.stderr


def test_keys_that_are_announced_are_installed(desk):
    """As a container does that got repositories and no keys."""
    repository = Repository(desk / "site")
    numbers = load_pem_public_key(repository.key.public_pem()).public_numbers()

    def encoded(number):
        raw = number.to_bytes((number.bit_length() + 7) // 8, "big")
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    kid = repository.key.name.removesuffix(".rsa.pub")
    key = {"kty": "RSA", "kid": kid, "n": encoded(numbers.n), "e": encoded(numbers.e)}
    (desk / "site").mkdir(exist_ok=True)
    with slow_repository(desk / "site") as (url, _):
        (desk / "site/apk-configuration").write_text(json.dumps({"jwks_uri": f"{url}/keys.json"}))
        (desk / "site/keys.json").write_text(json.dumps({"keys": [key]}))
        listing = desk / "root/etc/apk/repositories"
        listing.parent.mkdir(parents=True)
        listing.write_text(f"# ours\n{url}\n@edge {url}\n/local/repo\n\n")
        done = run("install-keys", "--root", "root", "-C", str(desk))
        assert done.stdout.decode() == f"root/etc/apk/keys/{repository.key.name}\n"
        installed = (desk / "root/etc/apk/keys" / repository.key.name).read_bytes()
        assert load_pem_public_key(installed).public_numbers() == numbers
        listing.write_text("/local/repo\n")
        done = run("install-keys", "--root", "root")
        assert (done.returncode, done.stdout) == (1, b"")
        assert b"announces its keys" in done.stderr
    done = run("install-keys", "--root", "none")
    assert b"reading none/etc/apk/repositories: No such file" in done.stderr


@contextlib.contextmanager
def slow_repository(folder):
    """A server that never answers for a package; the event says that it was asked for one."""
    asked, end = threading.Event(), threading.Event()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            if self.path.endswith(".apk"):
                asked.set()
                end.wait(60)
            else:
                super().do_GET()

        def log_message(self, *_):
            pass

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            end.set()
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("times", [1, 2])
def test_an_interrupted_build_leaves_nothing(desk, times):
    with slow_repository(desk / "repo") as (url, asked):
        slow = Path("image.yaml").read_text().replace(f"[{desk / 'repo'}]", f"[{url}]")
        Path("slow.yaml").write_text(slow)
        process = subprocess.Popen(
            [PLIMSOLL, "build", "slow.yaml", "x:1", "a.tar"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            assert asked.wait(60)
            for _ in range(times):
                process.send_signal(signal.SIGINT)
            _, told = process.communicate(timeout=60)
        finally:
            process.kill()
            process.wait()
    assert process.returncode == 130
    assert told.endswith(b"\ninterrupted\n")
    assert b"Traceback" not in told
    left = {path.name for path in Path().iterdir()}
    assert left == {"cache", "image.yaml", "repo", "slow.yaml"}
    assert run("build", "image.yaml", "x:1", "a.tar").returncode == 0

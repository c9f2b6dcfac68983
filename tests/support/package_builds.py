"""Building packages by the steps of a cluster, without one: Jobs are processes, Pods bubblewrap.

The build image is pulled from the registry, unpacked, and run as the user that it names, without
network; what it leaves goes through a real outbox process to the collect step.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plimsoll.apk.keys import SigningKey

if TYPE_CHECKING:
    from collections.abc import Iterator

PLIMSOLL = Path(sys.executable).with_name("plimsoll")
STARTED = datetime(2026, 11, 21, 6, 44, tzinfo=UTC)


@cache
def repository_key(name: str = "team-1.rsa.pub") -> SigningKey:
    """A key, made once per process and name."""
    return SigningKey.generate(name, bits=2048)


def debian_base(folder: Path) -> Path:
    """A repository with a shell and the usual programs; skips where Debian's cannot be had."""
    import pytest  # noqa: PLC0415

    from debian_apk.apt import Apt, AptError  # noqa: PLC0415
    from debian_apk.repository import build  # noqa: PLC0415

    cache = folder / "cache"
    cache.mkdir()
    try:
        Apt("amd64", cache).packages()
        build(folder / "repo", ["bash", "coreutils", "dash"], ["amd64"], cache)
    except AptError as error:
        pytest.skip(f"no Debian packages can be had here: {error}")
    return folder / "repo"


class StepFailedError(Exception):
    """A step that ended with another status than expected."""


@dataclass
class PackageBuilds:
    """One PackageRepo: its request, and its steps.

    Args:
        tmp: for files of the steps.
        storage: ``HOST/PATH`` in a registry.
        base: repository with what guests are made of, and its key.
        key: signs.
    """

    tmp: Path
    storage: str
    base: Path
    base_key: Path
    key: SigningKey = field(default_factory=repository_key)
    previous: list[SigningKey] = field(default_factory=list)
    configurations: dict[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    sources: list[dict[str, Any]] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    def request(self) -> dict[str, Any]:
        """The request as the operator writes it."""
        keys = [self.key, *self.previous]
        inline = [{"name": name, "inline": text} for name, text in self.configurations.items()]
        return {
            "name": "packages",
            "namespace": "team",
            "uid": "1-2-3",
            "sources": [*inline, *self.sources],
            "archs": ["amd64"],
            "repositories": [
                {
                    "url": str(self.base),
                    "keys": {self.base_key.name: self.base_key.read_text()},
                }
            ],
            "storage": self.storage,
            "keys": {key.name: key.public_pem().decode() for key in keys},
            "signingKey": self.key.name,
            "started": STARTED.isoformat(),
            "builderId": "https://plimsoll.dev/test",
            "trustedHosts": ["127.0.0.1"],
            **self.options,
        }

    def step(self, name: str, *arguments: str, status: int = 0) -> dict[str, Any]:
        """Run a step as a process; its result."""
        with tempfile.TemporaryDirectory(dir=self.tmp) as folder:
            request, result = Path(folder) / "request.json", Path(folder) / "result.json"
            request.write_text(json.dumps(self.request()))
            done = subprocess.run(
                [
                    *(PLIMSOLL, "step", f"package-{name}", "--request", request),
                    *("--result", result, *arguments),
                ],
                env={**os.environ, "PLIMSOLL_CACHE_DIR": str(self.tmp.parent / "plimsoll-cache")},
                capture_output=True,
                check=False,
                text=True,
                timeout=120,
            )
            self.log.append(done.stderr)
            if done.returncode != status:
                raise StepFailedError(
                    f"{name}: status {done.returncode}\n{done.stdout}{done.stderr}"
                )
            found = json.loads(result.read_text())
            assert len(json.dumps(found).encode()) <= 4096 + 512
            return dict(found)

    def plan(self) -> dict[str, Any]:
        """The plan step."""
        return self.step("plan")

    def ready(self, plan: dict[str, Any]) -> list[str]:
        """Names and versions of what is ready."""
        return [f"{one['name']}-{one['version']}" for one in plan["ready"]]

    def prepare(self, plan: dict[str, Any], name: str, status: int = 0) -> dict[str, Any]:
        """The prepare step."""
        return self.step("prepare", *self.about(plan, name), status=status)

    def about(self, plan: dict[str, Any], name: str) -> list[str]:
        """Options that say what a step is about."""
        return ["--plan", plan["plan"], "--package", name, "--arch", "amd64"]

    def build(self, plan: dict[str, Any], name: str) -> dict[str, Any]:
        """Prepare, build, collect, and run the tests; the result of collect."""
        prepared = self.prepare(plan, name)
        with self.pod(prepared["guest"]) as out:
            return self.collect(plan, name, prepared, out)

    def collect(
        self,
        plan: dict[str, Any],
        name: str,
        prepared: dict[str, Any],
        out: Path,
        status: int = 0,
    ) -> dict[str, Any]:
        """The outbox, and the collect step that empties it; then the tests."""
        token = prepared["token"]
        with outbox(out, token) as url:
            collected = self.step(
                "collect",
                *self.about(plan, name),
                *("--guest", prepared["guest"], "--outbox", url, "--token", token),
                status=status,
            )
        for test in collected.get("tests", ()):
            with self.pod(test["image"]):
                pass
        return collected

    def publish(self, *artifacts: str, status: int = 0) -> dict[str, Any]:
        """The publish step."""
        options = ["--arch", "amd64"]
        for artifact in artifacts:
            options += ["--artifact", artifact]
        for name, key in zip(
            ["--key", *["--previous-key"] * len(self.previous)],
            [self.key, *self.previous],
            strict=True,
        ):
            folder = self.tmp / f"secret-{key.name}"
            folder.mkdir(exist_ok=True)
            (folder / key.name.removesuffix(".pub")).write_bytes(key.private_pem())
            options += [name, str(folder)]
        return self.step("publish", *options, status=status)

    def all(self, rounds: int = 6) -> list[str]:
        """Plan, build what is ready and publish it, until nothing is ready; what was built."""
        built = []
        for _ in range(rounds):
            plan = self.plan()
            if not plan["ready"]:
                return built
            artifacts = []
            for one in plan["ready"]:
                artifacts.append(self.build(plan, one["name"])["artifact"])
                built.append(f"{one['name']}-{one['version']}")
            self.publish(*artifacts)
        raise AssertionError(f"still not done: {plan}")

    @contextlib.contextmanager
    def pod(self, digest: str) -> Iterator[Path]:
        """Run an image to its end; the directory that it left its output in."""
        host, _, path = self.storage.partition("/")
        with tempfile.TemporaryDirectory(prefix="plimsoll-pod-") as folder:
            root, out = Path(folder) / "root", Path(folder) / "out"
            Path(folder).chmod(0o755)
            root.mkdir(mode=0o755)
            out.mkdir()
            out.chmod(0o777)
            config = unpack_image(f"http://{host}/v2/{path}", digest, root)
            run = config["config"]
            uid = int(run["User"].partition(":")[0])
            who = {"user": uid, "group": uid, "extra_groups": []} if os.geteuid() == 0 else {}
            done = subprocess.run(
                [
                    *(str(shutil.which("bwrap")), "--unshare-all", "--die-with-parent"),
                    *("--new-session", "--clearenv", "--setenv", "SECRET_OF_THE_POD", "1"),
                    *("--uid", str(uid), "--gid", str(uid), "--ro-bind", str(root), "/"),
                    *("--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"),
                    *_writable(root, Path(folder)),
                    *("--bind", str(out), "/home/build/melange-out"),
                    *(part for item in run["Env"] for part in ("--setenv", *item.split("=", 1))),
                    *("--", *run["Entrypoint"]),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
                text=True,
                timeout=120,
                **who,
            )
            self.log.append(done.stdout)
            if done.returncode:
                raise StepFailedError(f"status {done.returncode}:\n{done.stdout}")
            yield out


def _writable(root: Path, folder: Path) -> list[str]:
    """The home as a copy that may be written to, as a container's own layer is."""
    home = folder / "home"
    shutil.copytree(root / "home/build", home, symlinks=True)
    if os.geteuid() == 0:
        for path in (home, *home.rglob("*")):
            os.chown(path, 1000, 1000, follow_symlinks=False)
    return ["--bind", str(home), "/home/build"]


def unpack_image(base: str, digest: str, root: Path) -> dict[str, Any]:
    """Unpack an image from a registry; returns its configuration."""
    import urllib.request  # noqa: PLC0415

    def get(path: str) -> bytes:
        accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
        with urllib.request.urlopen(
            urllib.request.Request(f"{base}/{path}", headers=accept), timeout=60
        ) as answer:
            return bytes(answer.read())

    manifest = json.loads(get(f"manifests/{digest}"))
    for layer in manifest["layers"]:
        with tarfile.open(fileobj=BytesIO(get(f"blobs/{layer['digest']}"))) as archive:
            members = [m for m in archive if not m.isdev()]
            archive.extractall(root, members=members, filter="fully_trusted")
    config: dict[str, Any] = json.loads(get(f"blobs/{manifest['config']['digest']}"))
    return config


@contextlib.contextmanager
def outbox(folder: Path, token: str) -> Iterator[str]:
    """A real outbox process; its URL. It ends by itself once it was emptied."""
    process = subprocess.Popen(
        [
            *(PLIMSOLL, "step", "package-outbox", "--folder", folder, "--token", token),
            *("--host", "127.0.0.1", "--port", "0", "--patience", "120"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("listening on port "), line + process.stdout.read()
        yield f"http://127.0.0.1:{int(line.split()[-1])}"
    finally:
        process.terminate()
        process.wait(timeout=10)
        if process.stdout is not None:
            process.stdout.close()

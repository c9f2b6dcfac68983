"""Building packages by the steps of a cluster, without one: Jobs are processes, Pods bubblewrap.

The build image is pulled from the registry, unpacked, and run as the user that it names, without
network; what it leaves goes through a real outbox process to the collect step.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import urllib.request
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner

from command import PLIMSOLL
from plimsoll.apk.keys import SigningKey
from plimsoll.cli.main import cli

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

STARTED = datetime(2026, 11, 21, 6, 44, tzinfo=UTC)


@cache
def repository_key(name: str = "team-1.rsa.pub") -> SigningKey:
    """A key, made once per process and name."""
    return SigningKey.generate(name, bits=2048)


def debian_base(factory: pytest.TempPathFactory) -> Path:
    """A repository with a shell and the usual programs, made once for all tests of a run.

    Skips where Debian's packages cannot be had.
    """
    import pytest  # noqa: PLC0415

    from debian_apk.apt import Apt, AptError  # noqa: PLC0415
    from debian_apk.repository import build  # noqa: PLC0415

    folder = factory.getbasetemp() / "guests-of-packages"
    if folder.exists():
        return folder
    cache, made = factory.mktemp("debian"), factory.mktemp("made") / "repo"
    try:
        Apt("amd64", cache).packages()
        build(made, ["bash", "coreutils", "dash", "gzip", "tar", "wget"], ["amd64"], cache)
    except AptError as error:
        pytest.skip(f"no Debian packages can be had here: {error}")
    return made.replace(folder)


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

    def __post_init__(self) -> None:
        # Outside of pytest's folders, which only their owner may enter.
        self._root = Path(tempfile.mkdtemp(prefix="plimsoll-guests-"))
        self._root.chmod(0o755)

    def close(self) -> None:
        """Remove the guests."""
        shutil.rmtree(self._root, ignore_errors=True)

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
            command = ["step", f"package-{name}", "--request", str(request)]
            command += ["--result", str(result), *arguments]
            cache = str(self.tmp.parent / "plimsoll-cache")
            # In this process, as starting another one takes longer than most steps.
            done = CliRunner().invoke(cli, command, env={"PLIMSOLL_CACHE_DIR": cache})
            self.log.append(done.output)
            if done.exit_code != status:
                raise StepFailedError(f"{name}: status {done.exit_code}\n{done.output}")
            assert result.stat().st_size <= 4096
            found: dict[str, Any] = json.loads(result.read_text())
            return found

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
        built: list[str] = []
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
            top, out = Path(folder) / "top", Path(folder) / "out"
            Path(folder).chmod(0o755)
            top.mkdir(mode=0o755)
            out.mkdir()
            out.chmod(0o777)
            root, config = self._unpack(f"http://{host}/v2/{path}", digest, top)
            run = config["config"]
            uid = int(run["User"].partition(":")[0])
            who: dict[str, Any] = (
                {"user": uid, "group": uid, "extra_groups": []} if os.geteuid() == 0 else {}
            )
            done = subprocess.run(
                [
                    *(str(shutil.which("bwrap")), "--unshare-all", "--die-with-parent"),
                    *("--new-session", "--clearenv", "--setenv", "SECRET_OF_THE_POD", "1"),
                    *("--uid", str(uid), "--gid", str(uid), "--ro-bind", str(root), "/"),
                    *("--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"),
                    *("--ro-bind", str(top / ".plimsoll"), "/.plimsoll"),
                    *("--bind", str(top / "var/cache/melange"), "/var/cache/melange"),
                    *("--bind", str(top / "home/build"), "/home/build"),
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

    def _unpack(self, base: str, digest: str, top: Path) -> tuple[Path, dict[str, Any]]:
        """The guest, which may serve several images, and the layer that is the image's own."""
        manifest = json.loads(_get(base, f"manifests/{digest}"))
        *below, last = [layer["digest"] for layer in manifest["layers"]]
        root = self._root / hashlib.sha256("".join(below).encode()).hexdigest()
        if not root.exists():
            for layer in below:
                _extract(_get(base, f"blobs/{layer}"), root)
            for path in (".plimsoll", "home/build", "var/cache/melange"):
                (root / path).mkdir(parents=True, exist_ok=True)
        _extract(_get(base, f"blobs/{last}"), top)
        return root, json.loads(_get(base, f"blobs/{manifest['config']['digest']}"))


@contextlib.contextmanager
def package_builds(tmp: Path, host: str, base: Path) -> Iterator[PackageBuilds]:
    """The steps of a PackageRepo that is stored at a registry of a test.

    Args:
        tmp: of the test.
        host: of the registry.
        base: what ``debian_base`` made.
    """
    (key,) = base.glob("*.rsa.pub")
    folder = tmp / "steps"
    folder.mkdir()
    made = PackageBuilds(folder, f"{host}/team/packages", base, key)
    try:
        yield made
    finally:
        made.close()


def _get(base: str, path: str) -> bytes:
    accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    request = urllib.request.Request(f"{base}/{path}", headers=accept)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return bytes(answer.read())


def _extract(data: bytes, root: Path) -> None:
    with tarfile.open(fileobj=BytesIO(data)) as archive:
        members = [member for member in archive if not member.isdev()]
        archive.extractall(root, members=members, filter="fully_trusted")


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


def push_unsigned(
    builds: PackageBuilds,
    name: str,
    files: dict[str, bytes],
    version: str = "1.0",
    *,
    epoch: int = 0,
    change: dict[str, Any] | None = None,
) -> str:
    """Push a package as the collect step does; the digest of the artifact.

    Args:
        builds: where to.
        name: of the package.
        files: path → content.
        version: without the epoch.
        epoch: of the package.
        change: what its record says instead of the truth.
    """
    from plimsoll.api.packagerequest import PackageRequest  # noqa: PLC0415
    from plimsoll.apk.packageinfo import PackageInfo  # noqa: PLC0415
    from plimsoll.apk.writer import PackageFile, write_package  # noqa: PLC0415
    from plimsoll.builder.steps.common import registry_of  # noqa: PLC0415
    from plimsoll.builder.steps.packagecollect import APK_TYPE  # noqa: PLC0415
    from plimsoll.builder.steps.packagecommon import Layer, Storage  # noqa: PLC0415
    from plimsoll.builder.steps.packagerecord import (  # noqa: PLC0415
        UNSIGNED_TYPE,
        BuildRecord,
        BuiltPackage,
    )

    full = f"{version}-r{epoch}"
    path = builds.tmp / f"{name}-{full}.apk"
    write_package(
        path,
        PackageInfo(name=name, version=full, arch="x86_64", origin=name, description="a test"),
        [PackageFile(p, content=c) for p, c in files.items()],
    )
    built = BuiltPackage(
        name=name, file=path.name, sha256=hashlib.sha256(path.read_bytes()).hexdigest()
    )
    record = BuildRecord(
        name=name, arch="amd64", version=version, epoch=epoch, inputs="i", packages=[built],
        guest="sha256:0",
    )  # fmt: skip

    async def push() -> str:
        request = PackageRequest.model_validate(builds.request())
        async with registry_of(request) as registry:
            storage = Storage(registry, request)
            layers = [Layer(APK_TYPE, path, path.name)]
            told = {**record.model_dump(), **(change or {})}
            return (await storage.push(UNSIGNED_TYPE, told, layers)).digest

    return asyncio.run(push())

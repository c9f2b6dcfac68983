"""Build the Go programs that tests and the demo use: ``tool("kubectl")`` is a path.

Each folder of ``tools/`` is one Go module: a group of programs built together. What is built lies
in ``$PLIMSOLL_CACHE`` (default ``~/.cache/plimsoll``) under a name that depends on everything that
went in, so a second call is a look at the disk. ``python -m gotools [GROUP…]`` builds ahead.

Only the standard library is imported: this also runs before the Python environment exists.
"""

from __future__ import annotations

import argparse
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
from pathlib import Path
from typing import TYPE_CHECKING

from gotoolchain import TOOLS, ToolError, cache_dir, locked, say, toolchain

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["GROUPS", "ToolError", "build", "cache_dir", "tool", "toolchain"]

BEAT = 30.0


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
    "languages": Group(
        {"cue": "cuelang.org/go/cmd/cue", "opa": "github.com/open-policy-agent/opa"},
        cold="2 minutes",
    ),
    "coredns": Group(
        {"coredns": "github.com/coredns/coredns"},
        cold="3 minutes",
    ),
    "sigstore": Group(
        {
            "fulcio": "github.com/sigstore/fulcio",
            "rekor-server": "github.com/sigstore/rekor-tiles/v2/cmd/rekor-server/posix",
            "timestamp-server": "plimsoll.dev/tools/sigstore/timestamp-server",
        },
        cold="3 minutes",
    ),
}


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
    with locked(home / f".{group}.lock", f"another run builds {group}; waiting for it"):
        if not programs.is_dir():
            _build(group, go, target)
    return programs


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
    say(f"{group}: building {', '.join(facts.packages)} (about {facts.cold} the first time)")
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
    say(f"{group}: built in {time.monotonic() - start:.0f} s")


def _program(package: str) -> str:
    """The file name that ``go build -o DIR/`` gives: the last part that is no major version."""
    parts = package.split("/")
    return parts[-2] if re.fullmatch(r"v\d+", parts[-1]) else parts[-1]


def _wait(process: subprocess.Popen[bytes], group: str, start: float) -> None:
    while True:
        try:
            process.wait(timeout=BEAT)
        except subprocess.TimeoutExpired:
            say(f"{group}: still building ({time.monotonic() - start:.0f} s)")
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

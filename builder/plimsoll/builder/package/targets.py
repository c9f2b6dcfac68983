"""What is fixed by where and for what a build runs: directories, architectures, triplets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.arch import Arch
from plimsoll.builder.package.load import HOME

if TYPE_CHECKING:
    from collections.abc import Iterable

    from plimsoll.builder.package.model import PackageConfiguration

OUT = f"{HOME}/melange-out"
LIBCS = ("gnu", "musl")

_GNU = {
    Arch.X86: "i486-pc-linux-{}",
    Arch.AMD64: "x86_64-pc-linux-{}",
    Arch.ARM64: "aarch64-unknown-linux-{}",
    Arch.ARMV6: "arm-unknown-linux-{}eabihf",
    Arch.ARMV7: "armv7l-unknown-linux-{}eabihf",
    Arch.LOONG64: "loongarch64-unknown-linux-{}",
    Arch.PPC64LE: "powerpc64le-unknown-linux-{}",
    Arch.RISCV64: "riscv64-unknown-linux-{}",
    Arch.S390X: "s390x-ibm-linux-{}",
}
_RUST = {
    **_GNU,
    Arch.X86: "i686-unknown-linux-{}",
    Arch.AMD64: "x86_64-unknown-linux-{}",
    Arch.ARMV7: "armv7-unknown-linux-{}eabihf",
    Arch.RISCV64: "riscv64gc-unknown-linux-{}",
    Arch.S390X: "s390x-unknown-linux-{}",
}


def arch_variables(arch: Arch, libc: str = "gnu") -> dict[str, str]:
    """Variables that the architecture decides.

    Args:
        arch: what is built for.
        libc: ``gnu`` or ``musl``, the C library of the guest.
    """
    return {
        "build.arch": arch.apk,
        "build.goarch": arch.architecture,
        "host.triplet.gnu": _GNU[arch].format(libc),
        "host.triplet.rust": _RUST[arch].format(libc),
        "cross.triplet.gnu.glibc": _GNU[arch].format("gnu"),
        "cross.triplet.gnu.musl": _GNU[arch].format("musl"),
        "cross.triplet.rust.glibc": _RUST[arch].format("gnu"),
        "cross.triplet.rust.musl": _RUST[arch].format("musl"),
    }


def directory_variables(config: PackageConfiguration) -> dict[str, str]:
    """Variables that name directories of the build."""
    names = [config.package.name, *(subpackage.name for subpackage in config.subpackages)]
    return {
        "package.srcdir": HOME,
        "targets.outdir": OUT,
        "targets.destdir": f"{OUT}/{config.package.name}",
        **{f"targets.package.{name}": f"{OUT}/{name}" for name in names},
    }


def context_variables(name: str, *, subpackage: bool) -> dict[str, str]:
    """Variables that name the package a step belongs to."""
    common = {"context.name": name, "targets.contextdir": f"{OUT}/{name}"}
    if not subpackage:
        return common
    return {**common, "subpkg.name": name, "targets.subpkgdir": f"{OUT}/{name}"}


def architectures(config: PackageConfiguration, wanted: Iterable[str] = ()) -> list[Arch]:
    """Which of the wanted architectures a package is built for, each once.

    Args:
        config: the configuration.
        wanted: names; all that the configuration allows if empty.

    Raises:
        UnknownArchitectureError: a name is no architecture.
    """
    allowed = _parse(config.package.target_architecture) or list(Arch)
    chosen = _parse(wanted)
    return [arch for arch in chosen or allowed if arch in allowed]


def _parse(names: Iterable[str]) -> list[Arch]:
    found: list[Arch] = []
    for text in names:
        for name in filter(None, text.replace(",", " ").split()):
            found += list(Arch) if name == "all" else [Arch.parse(name)]
    return list(dict.fromkeys(found))

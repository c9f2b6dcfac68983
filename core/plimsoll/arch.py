"""Processor architectures by their APK and OCI names."""

from __future__ import annotations

import difflib
import platform
from enum import Enum

from plimsoll.errors import Error


class UnknownArchitectureError(Error):
    """A name that is no architecture in either vocabulary."""

    reason = "UnknownArchitecture"


class Arch(Enum):
    """One architecture: OCI ``architecture`` and ``variant``, and the name in APK repositories.

    OCI names follow the image-spec's image index (GOARCH and variant).
    """

    X86 = ("386", "", "x86")
    AMD64 = ("amd64", "", "x86_64")
    ARM64 = ("arm64", "", "aarch64")
    ARMV6 = ("arm", "v6", "armhf")
    ARMV7 = ("arm", "v7", "armv7")
    LOONG64 = ("loong64", "", "loongarch64")
    PPC64LE = ("ppc64le", "", "ppc64le")
    RISCV64 = ("riscv64", "", "riscv64")
    S390X = ("s390x", "", "s390x")

    def __init__(self, architecture: str, variant: str, apk: str) -> None:
        self.architecture = architecture
        self.variant = variant
        self.apk = apk

    @property
    def oci(self) -> str:
        """``architecture`` or ``architecture/variant``, as image configurations write it."""
        return f"{self.architecture}/{self.variant}" if self.variant else self.architecture

    @property
    def platform(self) -> str:
        """``linux/…``, as registries and people write it."""
        return f"linux/{self.oci}"

    @property
    def slug(self) -> str:
        """The OCI name in a form that object names and tags allow: ``arm-v7``."""
        return self.oci.replace("/", "-")

    def __str__(self) -> str:
        return self.oci

    @classmethod
    def parse(cls, name: str) -> Arch:
        """Accept an OCI name, an APK name, or ``host``.

        Raises:
            UnknownArchitectureError: with the nearest valid name.
        """
        if name == "host":
            return cls.host()
        wanted = name.removeprefix("linux/").lower()
        aliases = {"arm64/v8": "arm64", "amd64/v1": "amd64", "i386": "x86", "arm": "arm/v7"}
        wanted = aliases.get(wanted, wanted)
        for arch in cls:
            if wanted in {arch.oci, arch.apk, arch.slug}:
                return arch
        names = [arch.oci for arch in cls]
        near = difflib.get_close_matches(wanted, [*names, *(a.apk for a in cls)], n=1)
        raise UnknownArchitectureError(
            f"unknown architecture {name!r}",
            hint=f"did you mean {near[0]}?" if near else f"use one of {', '.join(names)}",
        )

    @classmethod
    def host(cls) -> Arch:
        """The architecture of this machine."""
        machine = {"i686": "x86", "armv7l": "armv7", "armv6l": "armhf"}.get(
            platform.machine(), platform.machine()
        )
        return cls.parse(machine)

"""Making a lock: of a resolution, then with what only the package files know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.builder.lock import (
    Lock,
    LockedContents,
    LockedKey,
    LockedPackage,
    LockedRepository,
    LockedSection,
    base64_checksum,
)
from plimsoll.builder.repository import parse_repository

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from plimsoll.api.image import ImageConfiguration
    from plimsoll.apk.solver import Resolution
    from plimsoll.arch import Arch
    from plimsoll.builder.cachedpackage import CachedPackage
    from plimsoll.builder.lock import LockedBase, LockedConfig
    from plimsoll.builder.repository import Key, Repository


def make_lock(  # noqa: PLR0913  (what a lock records)
    config: ImageConfiguration,
    resolutions: Mapping[Arch, Resolution],
    *,
    keys: Sequence[Key],
    repositories: Sequence[Repository],
    origin: LockedConfig | None = None,
    bases: Sequence[LockedBase] = (),
) -> Lock:
    """The lock of a resolution, without what only the package files know.

    Args:
        config: the configuration.
        resolutions: per architecture, resolved together.
        keys: the configuration's keyring.
        repositories: all that were used.
        origin: the configuration file.
        bases: base images, whose packages are not locked a second time.
    """
    archs = list(resolutions)
    present = {(base.architecture, p.name) for base in bases for p in base.packages}
    packages = [
        LockedPackage(
            name=candidate.name,
            url=f"{candidate.repository.url}/{arch.apk}/{candidate.entry.file_name}",
            version=candidate.version,
            architecture=arch.apk,
            checksum=candidate.entry.checksum_text,
            size=candidate.entry.size or None,
        )
        for arch, resolution in resolutions.items()
        for candidate in resolution.packages
        if (arch.apk, candidate.name) not in present
    ]
    build = {parse_repository(text)[0] for text in config.contents.build_repositories}
    runtime = [parse_repository(text)[0] for text in config.contents.runtime_repositories]
    return Lock(
        config=origin,
        contents=LockedContents(
            keyring=[LockedKey(name=k.location, url=k.location, content=k.pem) for k in keys],
            build_repositories=_locked((r.url for r in repositories if r.url in build), archs),
            runtime_repositories=_locked(runtime, archs),
            repositories=_locked((r.url for r in repositories if r.url not in build), archs),
            baseimage=list(bases) or None,
            packages=packages,
        ),
    )


def complete(lock: Lock, found: Mapping[tuple[str, str], CachedPackage]) -> Lock:
    """The lock with the sections of every package.

    Args:
        lock: as ``make_lock`` made it.
        found: (architecture, name) → the verified package.
    """
    packages = []
    for item in lock.contents.packages:
        package = found[item.architecture, item.name]
        data = {
            "range": f"bytes={package.data_start}-{package.size - 1}",
            "checksum": base64_checksum("sha256", bytes.fromhex(package.info.datahash)),
        }
        signature = package.signature
        packages.append(
            item.model_copy(
                update={
                    "signature": LockedSection.of(signature) if signature else None,
                    "control": LockedSection.of(package.control),
                    "data": LockedSection(**data),
                    "size": None,
                }
            )
        )
    contents = lock.contents.model_copy(update={"packages": packages})
    return lock.model_copy(update={"contents": contents})


def _locked(urls: Iterable[str], archs: Sequence[Arch]) -> list[LockedRepository]:
    return [
        LockedRepository(
            name=f"{url}/{arch.apk}",
            url=f"{url}/{arch.apk}/APKINDEX.tar.gz",
            architecture=arch.apk,
        )
        for url in dict.fromkeys(urls)
        for arch in archs
    ]

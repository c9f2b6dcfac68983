"""Sources of a package before its steps run: verified, and fetched with logins that no step sees.

What is fetched lies in the cache, where the steps find it; they get no login and need no network.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from plimsoll.builder.git.checkout import verify_source
from plimsoll.builder.git.credentials import GitCredentials
from plimsoll.builder.git.mirror import UnfetchableError, configuration, has, mirror
from plimsoll.builder.git.policy import SourcePolicy
from plimsoll.builder.package.errors import PackageConfigError
from plimsoll.builder.package.load import CACHE
from plimsoll.builder.package.sources import cache_sources
from plimsoll.builder.store import storage_errors
from plimsoll.http import public_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from plimsoll.api.gitsource import VerifiedSigner
    from plimsoll.builder.package.compile import Compiled, Source
    from plimsoll.http import Http

#: Git's configuration for steps, below the cache.
GIT_CONFIG = f"{CACHE}/git/config"


@dataclass(frozen=True, slots=True)
class Prefetch:
    """How to get sources.

    Attributes:
        http: the client.
        folder: the cache.
        credentials: logins by host.
        policy: who must have signed what.
        say: gets what happens.
    """

    http: Http
    folder: Path
    credentials: GitCredentials = field(default_factory=GitCredentials)
    policy: SourcePolicy = field(default_factory=SourcePolicy)
    say: Callable[[str], None] = print

    async def verified(self, compiled: Compiled) -> Compiled:
        """The same with who signed each source for which somebody must.

        Raises:
            NotSignedError: nobody who may has signed one.
            Error: one cannot be had.
        """
        sources = []
        for source in compiled.sources:
            signers = None
            if source.uses == "git-checkout":
                signers = self.policy.signers(source.inputs["repository"])
            if signers is None:
                sources.append(source)
                continue
            signer = await verify_source(self.http, source.inputs, signers, self.credentials)
            shown = public_url(source.inputs["repository"])
            self.say(f"{shown}: the {signer.object} is signed by {signer.name}")
            sources.append(replace(source, signer=signer))
        return replace(compiled, sources=tuple(sources))

    async def fetch(self, sources: Sequence[Source]) -> list[Path]:
        """Put into the cache what the steps would fetch; what is there already is kept.

        A checkout that needs network all the same (for its submodules) is left to its step.

        Returns:
            Files and folders in the cache.

        Raises:
            Error: one cannot be had.
        """
        done = await cache_sources(
            self.http, sources, self.folder, self.say, self.credentials.headers
        )
        for source in sources:
            if source.uses != "git-checkout":
                continue
            shown = public_url(source.inputs["repository"])
            try:
                news = await mirror(self.http, self.folder / "git", source.inputs, self.credentials)
            except UnfetchableError as error:
                self.say(f"{error.message}; its step fetches it")
                continue
            self.say(f"{shown}: {'fetched' if news else 'there already'}")
            done.append(self.folder / "git")
        return list(dict.fromkeys(done))


async def git_configuration(folder: Path, sources: Iterable[Source], place: str) -> bool:
    """Write Git's configuration that leads steps to what the cache holds.

    Args:
        folder: the cache.
        sources: of the steps.
        place: where the cache is for the steps.

    Returns:
        Whether there is anything of use.

    Raises:
        StorageError: it cannot be written.
    """
    urls = [
        source.inputs["repository"]
        for source in sources
        if source.uses == "git-checkout" and await has(folder / "git", source.inputs)
    ]
    if not urls:
        return False
    path = folder / "git" / "config"
    with storage_errors(f"writing {path}"):
        path.write_text(configuration(dict.fromkeys(urls), f"{place}/git"))
    return True


def with_signers(compiled: Compiled, signers: Mapping[str, VerifiedSigner]) -> Compiled:
    """The same with who signed which repository, found out earlier: URL → signer."""
    sources = tuple(
        replace(source, signer=signers.get(source.inputs.get("repository", "")))
        for source in compiled.sources
    )
    return replace(compiled, sources=sources)


def offline(compiled: Compiled) -> Compiled:
    """The same without network for any step.

    Raises:
        PackageConfigError: a step would need some: it fetches without a checksum.
    """
    for source in compiled.sources:
        given = source.inputs
        if source.uses == "fetch" and not (
            given.get("expected-sha256") or given.get("expected-sha512")
        ):
            raise PackageConfigError(
                f"{public_url(given.get('uri', ''))} has no checksum, so no cache can hold it",
                hint="give expected-sha256, or build without --offline",
            )
    scripts = {
        name: tuple(replace(script, network=False) for script in found)
        for name, found in compiled.scripts.items()
    }
    return replace(compiled, scripts=scripts)

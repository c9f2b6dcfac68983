"""From a new version to changed files: the configuration's, and those of its dependents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from plimsoll.builder.git.checkout import verify_source
from plimsoll.builder.git.policy import SourcePolicy
from plimsoll.builder.git.remote import list_refs
from plimsoll.builder.package import bump as engine
from plimsoll.builder.package.errors import PackageConfigError
from plimsoll.builder.package.load import load_text
from plimsoll.builder.updates.dependents import needed, offered

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from plimsoll.builder.git.credentials import GitCredentials
    from plimsoll.builder.package.model import PackageConfiguration
    from plimsoll.http import Http

#: Branches of ours: ``plimsoll/update/PACKAGE/VERSION``.
PREFIX: Final = "plimsoll/update/"
#: Trailer of our commits.
TRAILER: Final = "Plimsoll-Update"


@dataclass(frozen=True, slots=True)
class Change:
    """One package's way to another version.

    Attributes:
        files: path → new text.
        dependents: packages that are built again with it.
        sequential: whether earlier changes of the package stay open.
        links: for people.
        signed: sentences about who signed the new version.
    """

    package: str
    old: str
    new: str
    files: Mapping[Path, str]
    dependents: tuple[str, ...] = ()
    sequential: bool = False
    links: tuple[str, ...] = ()
    signed: tuple[str, ...] = ()

    @property
    def prefix(self) -> str:
        """Of all branches of the package."""
        return f"{PREFIX}{self.package}/"

    @property
    def branch(self) -> str:
        """Of this change."""
        return self.prefix + self.new

    @property
    def title(self) -> str:
        """One line for people."""
        return f"{self.package}: {self.old} → {self.new}"

    @property
    def body(self) -> str:
        """What the change is about."""
        lines = [f"Updates {self.package} from {self.old} to {self.new}."]
        lines += [f"Upstream: {link}" for link in self.links]
        lines += self.signed
        if self.dependents:
            lines.append(f"Built again with it: {', '.join(self.dependents)}.")
        return "\n".join(lines)

    @property
    def message(self) -> str:
        """Of the commit."""
        return f"{self.title}\n\n{self.body}\n\n{TRAILER}: {self.package} {self.new}\n"


async def make_change(  # noqa: PLR0913  settings, by name
    path: Path,
    text: str,
    version: str,
    *,
    http: Http,
    credentials: GitCredentials,
    commit: str = "",
    policy: SourcePolicy | None = None,
    others: Mapping[Path, str] | None = None,
    links: Sequence[str] = (),
) -> Change:
    """Write a version into a configuration.

    Args:
        path: its file.
        text: what the file holds.
        version: the new one; the same one again asks for a new epoch.
        http: fetches sources for their checksums, and asks for commits of tags.
        credentials: for Git servers, by host.
        commit: of the new version; empty to ask for it.
        policy: who must have signed the tags of new versions.
        others: configurations that may need this one: path → text. Where ``update.shared`` is
            set, those that do get another epoch.
        links: for people.

    Raises:
        PackageConfigError: the version or the result is not valid.
        NotSignedError: nobody who may has signed the new version.
        Error: a source or a tag cannot be had.
    """
    signed: list[str] = []
    plan = engine.plan(text, str(path), version)
    before = load_text(text, str(path)).config
    after = await engine.apply(
        text,
        str(path),
        plan,
        http=http,
        commit_of=_Commits(http, credentials, plan, commit, policy or SourcePolicy(), signed),
    )
    files = {path: after}
    dependents: list[str] = []
    update = before.update
    if update.shared and plan.epoch == 0:
        names = offered(before)
        for other, content in (others or {}).items():
            config = load_text(content, str(other)).config
            if other != path and names & needed(config):
                files[other] = await _again(http, other, content, config)
                dependents.append(config.package.name)
    return Change(
        package=before.package.name,
        old=before.package.full_version if plan.epoch else before.package.version,
        new=f"{version}-r{plan.epoch}" if plan.epoch else version,
        files=files,
        dependents=tuple(sorted(dependents)),
        sequential=update.require_sequential,
        links=tuple(links),
        signed=tuple(signed),
    )


async def _again(http: Http, path: Path, text: str, config: PackageConfiguration) -> str:
    """A configuration with the next epoch."""
    plan = engine.plan(text, str(path), config.package.version)

    async def keep(_: engine.Checkout) -> str:
        return ""

    return await engine.apply(text, str(path), plan, http=http, commit_of=keep)


@dataclass(frozen=True, slots=True)
class _Commits:
    """Finds the commits of a new version, signed by whom they must be."""

    http: Http
    credentials: GitCredentials
    plan: engine.Bump
    given: str
    policy: SourcePolicy
    signed: list[str]

    async def __call__(self, checkout: engine.Checkout) -> str:
        if self.plan.epoch and not self.given:
            return ""
        commit = self.given or await self._ask(checkout)
        signers = self.policy.signers(checkout.repository)
        if commit and signers is not None:
            inputs = {
                "repository": checkout.repository,
                "tag": checkout.tag,
                "expected-commit": commit,
            }
            found = await verify_source(self.http, inputs, signers, self.credentials)
            self.signed.append(f"The {found.object} is signed by {found.name}.")
        return commit

    async def _ask(self, checkout: engine.Checkout) -> str:
        if not checkout.tag:
            return ""
        name = f"refs/tags/{checkout.tag}"
        refs = await list_refs(self.http, checkout.repository, [name], self.credentials)
        found = next((ref.commit for ref in refs if ref.name == name), "")
        if not found:
            raise PackageConfigError(
                f"{checkout.repository} has no tag {checkout.tag}",
                hint="is the version right? Otherwise give the commit with --expected-commit",
            )
        return found

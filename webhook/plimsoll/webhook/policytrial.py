"""Policies tried on an image with one's own logins: what ``plimsoll policy test`` does."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from plimsoll.api.meta import GROUP
from plimsoll.oci.auth import Credentials
from plimsoll.oci.reference import Reference, is_loopback
from plimsoll.webhook.access import Access, OwnLogins, PullSecrets
from plimsoll.webhook.authorities import Secrets
from plimsoll.webhook.evaluate import combine
from plimsoll.webhook.externals import Externals
from plimsoll.webhook.needs import needs_of
from plimsoll.webhook.policies import compile_policy
from plimsoll.webhook.policyfiles import PolicyFileError, read_objects, read_resource
from plimsoll.webhook.policyset import PolicySet
from plimsoll.webhook.registries import Registries
from plimsoll.webhook.roots import load_root
from plimsoll.webhook.rules.engines import Engines
from plimsoll.webhook.settings import Settings
from plimsoll.webhook.subject import Stage
from plimsoll.webhook.trust import DEFAULT, KnownRoots, parsed_root
from plimsoll.webhook.verifier import Verifier

if TYPE_CHECKING:
    from plimsoll.webhook.admission import Review
    from plimsoll.webhook.evaluate import Examined, ImageVerdict
    from plimsoll.webhook.policies import CompiledPolicy
    from plimsoll.webhook.policyfiles import PolicyObject

_NAMESPACE = "the webhook's namespace"


@dataclass(slots=True)
class Trial:
    """One image, judged as the webhook would."""

    policies: list[CompiledPolicy]
    image: str
    resource: Path | None
    insecure: frozenset[str]
    seconds: float
    judged: str = ""
    """The image with the digest it stands for, once it was judged."""

    examined: list[Examined] = field(default_factory=list)
    """What every policy made of it, once it was judged."""

    async def judge(self) -> ImageVerdict:
        """The verdict.

        Raises:
            Error: it could not be reached.
        """
        reference = Reference.parse(self.image)
        review = read_resource(self.resource) if self.resource is not None else None
        insecure = self.insecure
        if is_loopback(reference.registry):
            insecure |= {reference.registry}
        settings = Settings(timeout=self.seconds, margin=0.0, insecure_registries=insecure)
        async with Registries(insecure=insecure, seconds=self.seconds) as registries:
            verifier = Verifier(
                settings,
                registries,
                PullSecrets(None, OwnLogins()),
                observe=lambda _, found: self.examined.append(found),
            )
            try:
                judged = await verifier.judge(
                    self.image,
                    reference,
                    self._matching(reference, review),
                    Access(Credentials.default()),
                    Stage(),
                    review.object if review is not None else {},
                )
            finally:
                await verifier.close()
        self.judged = judged.image
        return combine(judged.image, judged.verdicts, "deny")

    def _matching(self, reference: Reference, review: Review | None) -> tuple[CompiledPolicy, ...]:
        policies = PolicySet(self.policies)
        if review is None:
            return policies.for_image(reference)
        return policies.matching(reference, review)


def compiled(files: tuple[Path, ...], secrets: Secrets, root: Path | None) -> list[CompiledPolicy]:
    """The policies of files, with what they take from elsewhere.

    Args:
        files: with policies and trust roots.
        secrets: for keys.
        root: ``trusted_root.json`` for policies that name no trust root.

    Raises:
        PolicyFileError: a file cannot be used.
    """
    objects = [item for file in files for item in read_objects(file)]
    for item in objects:
        if problems := item.check():
            raise PolicyFileError(f"{item.source}: {'; '.join(problems)}")
    roots = _roots([item for item in objects if item.kind == "TrustRoot"], root)
    policies = [item for item in objects if item.kind != "TrustRoot"]
    externals = Externals(_NAMESPACE)
    asyncio.run(externals.update(needs_of(item.spec) for item in policies))
    return [
        compile_policy(
            item.name,
            item.spec,
            secrets,
            group=item.group,
            trust=roots,
            engines=Engines.found(),
            texts=externals.texts,
            kms=externals.kms,
        )
        for item in policies
    ]


def _roots(objects: list[PolicyObject], default: Path | None) -> KnownRoots:
    roots = {(one.group, one.name): asyncio.run(load_root(one.spec)) for one in objects}
    if default is not None:
        try:
            loaded = parsed_root(default.read_bytes())
        except OSError as error:
            raise PolicyFileError(f"{default}: {error.strerror}") from error
        if loaded.root is None:
            raise PolicyFileError(f"{default}: {loaded.fault}")
        roots[GROUP, DEFAULT] = loaded
    return KnownRoots(roots)


def named_secrets(pairs: tuple[str, ...]) -> Secrets:
    """Public keys that stand for Secrets, from ``NAME=FILE``; raises ``click.BadParameter``."""
    data: dict[str, dict[str, bytes] | None] = {}
    for pair in pairs:
        name, equals, file = pair.partition("=")
        if not equals:
            raise click.BadParameter(f"{pair!r} is not NAME=FILE", param_hint="--secret")
        try:
            data[name] = {"cosign.pub": Path(file).read_bytes()}
        except OSError as error:
            raise click.BadParameter(f"{file}: {error.strerror}", param_hint="--secret") from error
    return Secrets(_NAMESPACE, data)

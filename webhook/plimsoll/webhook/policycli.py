"""``plimsoll policy``: policies tried out without a cluster."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from plimsoll.errors import Error

if TYPE_CHECKING:
    from plimsoll.webhook.authorities import Secrets
    from plimsoll.webhook.evaluate import ImageVerdict
    from plimsoll.webhook.policies import CompiledPolicy
    from plimsoll.webhook.policyfiles import PolicyObject
    from plimsoll.webhook.trust import KnownRoots

ADMITTED, REFUSED, UNDECIDED = 0, 1, 2


@click.group()
def policy() -> None:
    """Check policies, and try them on images."""


@policy.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
def validate(files: tuple[Path, ...]) -> None:
    """Check ClusterImagePolicies and TrustRoots in FILES (- is standard input).

    Exits 0 if all are valid; else 1, with the path of each wrong field.
    """
    from plimsoll.webhook.policyfiles import PolicyFileError, read_objects  # noqa: PLC0415
    from plimsoll.webhook.rules.engines import Engines  # noqa: PLC0415

    engines = Engines.found()
    failed = False
    for file in files:
        try:
            objects = read_objects(file)
        except PolicyFileError as error:
            failed = True
            click.echo(f"{error}", err=True)
            continue
        for item in objects:
            problems = item.check(engines)
            failed |= bool(problems)
            for problem in problems:
                click.echo(f"{item.source}: {problem}", err=True)
            if not problems:
                click.echo(f"{item.source}: {item.kind} {item.name} is valid")
                for line in item.beyond(engines):
                    click.echo(f"{item.source}: it refuses what it matches: {line}", err=True)
    sys.exit(1 if failed else 0)


@policy.command("test")
@click.option(
    "--policy",
    "-p",
    "files",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path),
    help="File with policies; - is standard input.",
)
@click.option("--image", "-i", required=True, help="Image reference, by tag or digest.")
@click.option(
    "--secret",
    "secrets",
    multiple=True,
    metavar="NAME=FILE",
    help="Public key file that stands for a Secret that a policy names.",
)
@click.option(
    "--trust-root",
    "root",
    type=click.Path(path_type=Path),
    help="Sigstore trusted_root.json for policies that name no TrustRoot.",
)
@click.option(
    "--insecure-registry",
    "insecure",
    multiple=True,
    help="Registry (host:port) without TLS; $PLIMSOLL_INSECURE_REGISTRIES has several with commas.",
)
@click.option("--timeout", default=30.0, show_default=True, help="Seconds to wait for registries.")
def test(  # noqa: PLR0913, PLR0917  one parameter for each option
    files: tuple[Path, ...],
    image: str,
    secrets: tuple[str, ...],
    root: Path | None,
    insecure: tuple[str, ...],
    timeout: float,
) -> None:
    """Say whether a pod with an image would be admitted.

    Uses your own logins (docker's configuration). Exits 0 if the image is admitted, 1 if it is
    refused, 2 if that could not be decided.
    """
    from plimsoll.oci.insecure import insecure_registries  # noqa: PLC0415

    hosts = insecure_registries(insecure)
    try:
        policies = _compiled(files, _secrets(secrets), root)
        verdict = asyncio.run(_judge(policies, image, hosts, timeout))
    except Error as error:
        click.echo(f"could not be decided: {error}", err=True)
        sys.exit(UNDECIDED)
    for line in verdict.warnings:
        click.echo(f"warning: {line}", err=True)
    for line in verdict.refusals:
        click.echo(line, err=True)
    if verdict.allowed:
        click.echo(f"image {image} is admitted")
    sys.exit(ADMITTED if verdict.allowed else REFUSED)


async def _judge(
    compiled: list[CompiledPolicy], image: str, insecure: frozenset[str], seconds: float
) -> ImageVerdict:
    from plimsoll.oci.auth import Credentials  # noqa: PLC0415
    from plimsoll.oci.reference import Reference, is_loopback  # noqa: PLC0415
    from plimsoll.webhook.access import Access, OwnLogins, PullSecrets  # noqa: PLC0415
    from plimsoll.webhook.evaluate import combine  # noqa: PLC0415
    from plimsoll.webhook.policyset import PolicySet  # noqa: PLC0415
    from plimsoll.webhook.registries import Registries  # noqa: PLC0415
    from plimsoll.webhook.settings import Settings  # noqa: PLC0415
    from plimsoll.webhook.subject import Stage  # noqa: PLC0415
    from plimsoll.webhook.verifier import Verifier  # noqa: PLC0415

    policies = PolicySet(compiled)
    reference = Reference.parse(image)
    if is_loopback(reference.registry):
        insecure |= {reference.registry}
    settings = Settings(timeout=seconds, margin=0.0, insecure_registries=insecure)
    async with Registries(insecure=insecure, seconds=seconds) as registries:
        verifier = Verifier(settings, registries, PullSecrets(None, OwnLogins()))
        try:
            judged = await verifier.judge(
                image,
                reference,
                policies.for_image(reference),
                Access(Credentials.default()),
                Stage(),
            )
        finally:
            await verifier.close()
    return combine(judged.image, judged.verdicts, "deny")


def _compiled(files: tuple[Path, ...], secrets: Secrets, root: Path | None) -> list[CompiledPolicy]:
    from plimsoll.webhook.policies import compile_policy  # noqa: PLC0415
    from plimsoll.webhook.policyfiles import PolicyFileError, read_objects  # noqa: PLC0415

    objects = [item for file in files for item in read_objects(file)]
    for item in objects:
        if problems := item.check():
            raise PolicyFileError(f"{item.source}: {'; '.join(problems)}")
    roots = _roots([item for item in objects if item.kind == "TrustRoot"], root)
    return [
        compile_policy(item.name, item.spec, secrets, group=item.group, trust=roots)
        for item in objects
        if item.kind != "TrustRoot"
    ]


def _roots(objects: list[PolicyObject], default: Path | None) -> KnownRoots:
    from plimsoll.api.meta import GROUP  # noqa: PLC0415
    from plimsoll.webhook.policyfiles import PolicyFileError  # noqa: PLC0415
    from plimsoll.webhook.roots import load_root  # noqa: PLC0415
    from plimsoll.webhook.trust import DEFAULT, KnownRoots, parsed_root  # noqa: PLC0415

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


def _secrets(pairs: tuple[str, ...]) -> Secrets:
    from plimsoll.webhook.authorities import Secrets  # noqa: PLC0415

    data: dict[str, dict[str, bytes]] = {}
    for pair in pairs:
        name, equals, file = pair.partition("=")
        if not equals:
            raise click.BadParameter(f"{pair!r} is not NAME=FILE", param_hint="--secret")
        try:
            data[name] = {"cosign.pub": Path(file).read_bytes()}
        except OSError as error:
            raise click.BadParameter(f"{file}: {error.strerror}", param_hint="--secret") from error
    return Secrets("the webhook's namespace", data)

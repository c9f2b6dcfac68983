"""``plimsoll policy``: policies tried out without a cluster."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from plimsoll.errors import Error

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
@click.option(
    "--resource",
    "-r",
    type=click.Path(path_type=Path),
    help="Kubernetes object (YAML or JSON) that names the image: policies look at its kind, labels "
    "and namespace, their rules at the rest. Default: a pod about which nothing is known.",
)
@click.option("--explain", is_flag=True, help="Show what was tried, as a tree.")
@click.option("--timeout", default=30.0, show_default=True, help="Seconds to wait for registries.")
def test(  # noqa: PLR0913, PLR0917  one parameter for each option
    files: tuple[Path, ...],
    image: str,
    secrets: tuple[str, ...],
    root: Path | None,
    insecure: tuple[str, ...],
    resource: Path | None,
    *,
    explain: bool,
    timeout: float,
) -> None:
    """Say whether a pod with an image would be admitted.

    Uses your own logins (docker's configuration). Exits 0 if the image is admitted, 1 if it is
    refused, 2 if that could not be decided.
    """
    from plimsoll.oci.insecure import insecure_registries  # noqa: PLC0415
    from plimsoll.webhook.explain import explain as told  # noqa: PLC0415
    from plimsoll.webhook.policytrial import Trial, compiled, named_secrets  # noqa: PLC0415

    hosts = insecure_registries(insecure)
    try:
        policies = compiled(files, named_secrets(secrets), root)
        trial = Trial(policies, image, resource, hosts, timeout)
        verdict = asyncio.run(trial.judge())
        if explain:
            for line in told(trial.judged or image, trial.examined):
                click.echo(line)
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

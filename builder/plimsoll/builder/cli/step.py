"""``plimsoll step``: one step of a build inside a Job; see ``plimsoll.api.steps``."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from plimsoll.builder.cli.stepjob import conclude, request_option, result_option, step_engine
from plimsoll.lazygroup import LazyGroup

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from typing import Any

    from plimsoll.api.steps import BuildRequest, StepResult
    from plimsoll.signing.statementsigner import StatementSigner

_lock = click.option(
    "--plan-lock", "--lock", "lock", metavar="DIGEST", required=True, help="Lock of the plan."
)
_variant = click.option(
    "--variant", default="", metavar="NAME", help="The variant that the image is of."
)
_key = click.option(
    "--key",
    "--signing-key-dir",
    "key",
    type=click.Path(path_type=Path),
    help="Folder with cosign.key and cosign.password. Without it nothing is signed.",
)
_keyless = click.option(
    "--keyless",
    type=click.Path(path_type=Path),
    help="Folder with signing_config.json, trusted_root.json and token: sign as whom the OIDC "
    "token names, with a certificate for minutes.",
)
_kms = click.option(
    "--kms",
    type=click.Path(path_type=Path),
    help="Folder with kms_reference, settings (a file each) and token: sign with a key in a key "
    "management service.",
)


_HERE = "plimsoll.builder.cli"
_PACKAGES = f"{_HERE}.packagestep"

#: Command name → (``module:attribute``, one-line help).
COMMANDS: dict[str, tuple[str, str]] = {
    "assemble": (f"{_HERE}.step:assemble", "Make the image of one architecture."),
    "package-collect": (f"{_PACKAGES}:collect", "Make unsigned packages of a build's output."),
    "package-keys": (f"{_PACKAGES}:keys", "Say which public keys belong to the signing keys."),
    "package-outbox": (f"{_PACKAGES}:outbox", "Hand out what a build left."),
    "package-plan": (f"{_PACKAGES}:plan", "Find which packages can be built now."),
    "package-prepare": (f"{_PACKAGES}:prepare", "Push the image that builds a package."),
    "package-publish": (f"{_PACKAGES}:publish", "Sign packages and move the index."),
    "plan": (f"{_HERE}.step:plan", "Resolve the packages of all architectures into one lock."),
    "promote": (f"{_HERE}.step:promote", "Move the tags to the sealed index."),
    "rescan": (f"{_HERE}.step:rescan", "Scan a sealed image again by what is known today."),
    "seal": (f"{_HERE}.step:seal", "Push the index; sign and attest it and its images."),
}


@click.group(cls=LazyGroup, table=COMMANDS)
def step() -> None:
    """Run one step of a build inside a Job of the operator.

    Exit status: 0 done, 1 try again, 3 something must be changed first.
    """


@click.command()
@request_option
@result_option
def plan(request_file: Path, result_file: Path) -> None:
    """Resolve the packages of all architectures into one lock."""

    async def run(request: BuildRequest) -> StepResult:
        from plimsoll.builder.steps.plan import plan as work  # noqa: PLC0415

        async with step_engine(request) as engine:
            return await work(engine, request)

    _run(request_file, result_file, run)


@click.command()
@request_option
@result_option
@_lock
@_variant
@click.option("--arch", required=True, help="Architecture.")
def assemble(request_file: Path, result_file: Path, lock: str, variant: str, arch: str) -> None:
    """Make the image of one architecture and push it by digest."""

    async def run(request: BuildRequest) -> StepResult:
        from plimsoll.arch import Arch  # noqa: PLC0415
        from plimsoll.builder.steps.assemble import assemble as work  # noqa: PLC0415

        async with step_engine(request) as engine:
            return await work(engine, request, Arch.parse(arch), lock)

    _run(request_file, result_file, run, variant)


@click.command()
@request_option
@result_option
@_lock
@_variant
@click.option(
    "--assembled",
    multiple=True,
    metavar="JSON",
    help="Result of an assemble step, once for each architecture.",
)
@click.option(
    "--image",
    "images",
    multiple=True,
    metavar="ARCH=DIGEST",
    help="The same in short.",
)
@_key
@_keyless
@_kms
def seal(  # noqa: PLR0913, PLR0917  (click passes options as arguments)
    request_file: Path,
    result_file: Path,
    lock: str,
    variant: str,
    assembled: tuple[str, ...],
    images: tuple[str, ...],
    key: Path | None,
    keyless: Path | None,
    kms: Path | None,
) -> None:
    """Push the index; sign and attest it and every image below it."""

    async def run(request: BuildRequest) -> StepResult:
        from plimsoll.api.steps import AssembleResult  # noqa: PLC0415
        from plimsoll.builder.steps.seal import seal as work  # noqa: PLC0415

        results = [AssembleResult.model_validate_json(text) for text in assembled]
        for text in images:
            arch, _, digest = text.partition("=")
            results.append(AssembleResult(arch=arch, digest=digest, size=0, sbom=""))
        async with _signer(request, key, keyless, kms) as signer:
            return await work(request, results, lock, signer)

    _run(request_file, result_file, run, variant)


@click.command()
@request_option
@result_option
@click.option("--digest", required=True, help="The sealed index.")
@_key
@_keyless
@_kms
def rescan(  # noqa: PLR0913, PLR0917  (click passes options as arguments)
    request_file: Path,
    result_file: Path,
    digest: str,
    key: Path | None,
    keyless: Path | None,
    kms: Path | None,
) -> None:
    """Scan a sealed image again by what is known today, and attest the reports."""

    async def run(request: BuildRequest) -> StepResult:
        from plimsoll.builder.steps.rescan import rescan as work  # noqa: PLC0415

        async with _signer(request, key, keyless, kms) as signer:
            return await work(request, digest, signer)

    _run(request_file, result_file, run)


@click.command()
@request_option
@result_option
@click.option("--digest", required=True, help="The sealed index.")
@click.option("--tag", "tags", multiple=True, required=True, help="A tag to move.")
def promote(request_file: Path, result_file: Path, digest: str, tags: tuple[str, ...]) -> None:
    """Move the tags to the sealed index."""

    async def run(request: BuildRequest) -> StepResult:
        from plimsoll.builder.steps.promote import promote as work  # noqa: PLC0415

        return await work(request, digest, tags)

    _run(request_file, result_file, run)


@asynccontextmanager
async def _signer(
    request: BuildRequest, key: Path | None, keyless: Path | None, kms: Path | None
) -> AsyncIterator[StatementSigner | None]:
    """Who signs, if anybody."""
    if key is not None:
        from plimsoll.signing.privatekey import load_key_directory  # noqa: PLC0415
        from plimsoll.signing.statementsigner import KeyStatements  # noqa: PLC0415

        yield KeyStatements(load_key_directory(key))
    elif keyless is not None:
        from plimsoll.signing.keylesssign import keyless_signer, read_signing_folder  # noqa: PLC0415

        # The servers are the words of whoever wrote the ImageBuild.
        hosts = frozenset(request.trusted_hosts)
        config, root, token = read_signing_folder(keyless)
        async with keyless_signer(config, root, token, trusted_hosts=hosts) as signer:
            yield signer
    elif kms is not None:
        from plimsoll.http import Http  # noqa: PLC0415
        from plimsoll.signing.kms.service import (  # noqa: PLC0415
            KmsStatements,
            authorities_of,
            open_kms,
            read_kms_folder,
        )

        reference, settings = read_kms_folder(kms)
        hosts = frozenset(request.trusted_hosts)
        own = authorities_of(settings)
        async with Http(allow_private=False, trusted_hosts=hosts, ca_file=own) as http:
            yield await KmsStatements.of(open_kms(reference, http, settings))
    else:
        yield None


def _run(
    request_file: Path,
    result_file: Path,
    work: Callable[[BuildRequest], Coroutine[Any, Any, StepResult]],
    variant: str = "",
) -> None:
    """Run a step of an image's build."""
    from plimsoll.api.steps import dump  # noqa: PLC0415  (start-up time of --help)
    from plimsoll.builder.steps.common import read_request  # noqa: PLC0415

    async def run() -> bytes:
        return dump(await work(read_request(request_file, variant)))

    conclude(run, result_file)

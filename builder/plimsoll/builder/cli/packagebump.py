"""``plimsoll package bump``."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from plimsoll.builder.package.errors import PackageConfigError
from plimsoll.builder.store import storage_errors

if TYPE_CHECKING:
    from plimsoll.builder.package.bump import Checkout

_GIT_TIMEOUT = 120.0


@click.command()
@click.argument("config", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("version")
@click.option(
    "--expected-commit",
    help="Commit of the new version. Default: what its tag points to, asked for with git.",
)
def bump(config: Path, version: str, expected_commit: str | None) -> None:
    """Write VERSION into CONFIG.

    A new version has epoch 0, the same one the next epoch. Sources whose address changes with the
    version are fetched for their checksums; checkouts whose tag does get the new commit. All other
    bytes of the file stay as they are.
    """
    text = config.read_text()
    result = asyncio.run(_bump(text, config, version, expected_commit))
    with storage_errors(f"writing {config}"):
        temporary = config.with_name(f".{config.name}.new")
        temporary.write_text(result)
        temporary.replace(config)
    click.echo(f"{config} is now at {version}", err=True)


async def _bump(text: str, config: Path, version: str, commit: str | None) -> str:
    from plimsoll.builder.package import bump as engine  # noqa: PLC0415  (start-up time)
    from plimsoll.http import Http  # noqa: PLC0415

    plan = engine.plan(text, str(config), version)
    changed = plan.epoch == 0

    async def commit_of(checkout: Checkout) -> str:
        if commit:
            return commit
        if not changed or not checkout.tag:
            return ""
        return await _ask(checkout)

    async with Http() as http:
        return await engine.apply(text, str(config), plan, http=http, commit_of=commit_of)


async def _ask(checkout: Checkout) -> str:
    """The commit that a tag of a remote repository points to."""
    ref = f"refs/tags/{checkout.tag}"
    hint = "give it with --expected-commit"
    try:
        process = await asyncio.create_subprocess_exec(
            *("git", "ls-remote", "--", checkout.repository, ref, f"{ref}^{{}}"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "GIT_TERMINAL_PROMPT": "0"},
        )
    except FileNotFoundError:
        raise PackageConfigError("git is not installed", hint=hint) from None
    try:
        async with asyncio.timeout(_GIT_TIMEOUT):
            out, err = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise PackageConfigError(f"{checkout.repository} does not answer", hint=hint) from None
    pairs = (line.partition("\t") for line in out.decode().splitlines())
    found = {name: commit for commit, _, name in pairs}
    commit = found.get(f"{ref}^{{}}") or found.get(ref)
    if process.returncode or not commit:
        reason = err.decode(errors="replace").strip().splitlines()
        raise PackageConfigError(
            f"{checkout.repository} has no tag {checkout.tag}"
            + (f": {reason[-1]}" if reason else ""),
            hint=f"is the version right? Otherwise {hint}",
        )
    return commit

"""``plimsoll package bump``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from plimsoll.builder.cli.packagechanges import Branches, change_options, write_files
from plimsoll.builder.cli.packagesources import signed_option, source_policy


@click.command()
@click.argument("config", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("version")
@click.option(
    "--expected-commit",
    help="Commit of the new version. Default: what its tag points to, asked from the repository.",
)
@click.option(
    "--dependents",
    multiple=True,
    type=click.Path(path_type=Path, exists=True),
    help="Files or folders with configurations: those that need a package with 'update.shared' "
    "get another epoch. May be repeated.",
)
@click.option(
    "--git-credentials",
    type=click.Path(path_type=Path, exists=True),
    help="Logins for Git servers; see 'package updates'.",
)
@signed_option
@change_options
def bump(config: Path, version: str, **options: Any) -> None:
    """Write VERSION into CONFIG.

    A new version has epoch 0, the same one the next epoch. Sources whose address changes with the
    version are fetched for their checksums; checkouts whose tag does get the new commit. All other
    bytes of the file stay as they are.

    With --git the work tree stays as it is: a branch with one commit is made.
    """
    click.echo(asyncio.run(_bump(config, version, options)), err=True)


async def _bump(config: Path, version: str, options: dict[str, Any]) -> str:
    from plimsoll.builder.cli.packageupdates import credentials_of, files  # noqa: PLC0415  (start-up)
    from plimsoll.builder.updates.changes import make_change  # noqa: PLC0415
    from plimsoll.http import Http  # noqa: PLC0415

    credentials = credentials_of(options)
    async with Http() as http:
        branches = None
        if any(options[name] for name in ("use_git", "push", "pull_request")):
            branches = await Branches.open(http, config.parent, credentials, options)

        async def text(path: Path) -> str:
            return await branches.text(path) if branches else await asyncio.to_thread(_read, path)

        change = await make_change(
            config,
            await text(config),
            version,
            http=http,
            credentials=credentials,
            commit=options["expected_commit"] or "",
            policy=await asyncio.to_thread(source_policy, options),
            others={path: await text(path) for path in files(options["dependents"])},
        )
        if branches is not None:
            return await branches.add(change)
        await asyncio.to_thread(write_files, change)
    again = f"; built again: {', '.join(change.dependents)}" if change.dependents else ""
    return " ".join([f"{config} is now at {version}{again}", *change.signed])


def _read(path: Path) -> str:
    return path.read_text()

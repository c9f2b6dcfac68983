"""``plimsoll package updates``."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from plimsoll.builder.cli.packagechanges import change_options
from plimsoll.builder.cli.packageoptions import OptionsError
from plimsoll.builder.cli.packagesources import signed_option
from plimsoll.builder.cli.registry import insecure_option, open_registry
from plimsoll.builder.package.errors import PackageConfigError
from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from plimsoll.builder.git.credentials import GitCredentials
    from plimsoll.builder.updates.check import Places
    from plimsoll.builder.updates.model import Outcome, Request
    from plimsoll.http import Http


class UpdatesFailedError(Error):
    """Upstream of some packages could not be asked."""

    reason = "UpdateFailed"


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--all", "everything", is_flag=True, help="Show packages without news, too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--ignore-schedule", is_flag=True, help="Look although a schedule says that it is too early."
)
@click.option(
    "--state",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File that remembers when it was looked, and answers. Default: in the cache folder.",
)
@click.option(
    "--git-credentials",
    type=click.Path(path_type=Path, exists=True),
    help="Logins for Git servers: a .netrc, a file of Git's store helper, or a folder with one. "
    "Default: $PLIMSOLL_GIT_CREDENTIALS, else your own.",
)
@click.option(
    "--bump",
    is_flag=True,
    help="Write what is new into the configurations, but those whose updates a person makes; "
    "configurations that need a package with 'update.shared' get another epoch.",
)
@signed_option
@change_options
@insecure_option
def updates(paths: tuple[Path, ...], *, everything: bool, as_json: bool, **options: Any) -> None:
    """Look for new versions of the packages in PATHS, files or folders of them.

    What a configuration says under 'update' is asked: release-monitoring.org, GitHub, tags of Git
    repositories, registries. A token for GitHub is taken from GH_TOKEN, GITHUB_TOKEN, the file of
    gh or .netrc; with one, dozens of repositories are asked at once.

    The exit status is 1 if upstream of a package could not be asked; the others are shown all the
    same.
    """
    if not options["bump"] and any(options[n] for n in ("use_git", "push", "pull_request")):
        raise OptionsError("--git, --push and --pull-request are about changes", hint="add --bump")
    requests, broken = read_requests(paths)
    outcomes, changed = asyncio.run(_run(requests, options))
    if as_json:
        click.echo(json.dumps([show(outcome) for outcome in outcomes], indent=2))
    else:
        _table(outcomes, everything=everything)
    for line in changed:
        click.echo(line if isinstance(line, str) else f"error: {line}", err=True)
    for error in broken:
        click.echo(f"error: {error}", err=True)
    unchanged = [one for one in changed if isinstance(one, Error)]
    failed = [one for one in outcomes if one.state.value == "failed"]
    if failed or broken:
        raise UpdatesFailedError(
            f"{len(failed) + len(broken)} of {len(outcomes) + len(broken)} packages could not be "
            "looked at"
        )
    if unchanged:
        raise UpdatesFailedError(f"{len(unchanged)} packages could not be changed")


async def _run(
    requests: Sequence[Request], options: Mapping[str, Any]
) -> tuple[list[Outcome], list[str | Error]]:
    """Ask upstream, and change what the options say."""
    from plimsoll.builder.cli.packageapply import apply_updates  # noqa: PLC0415  (start-up time)
    from plimsoll.http import Http  # noqa: PLC0415

    async with Http() as http:
        outcomes = await look(http, requests, options)
        if not options["bump"]:
            return outcomes, []
        changed = await apply_updates(http, outcomes, credentials_of(options), options)
        return outcomes, changed


def credentials_of(options: Mapping[str, Any]) -> GitCredentials:
    """Logins for Git servers as the options say."""
    from plimsoll.builder.git.credentials import GitCredentials  # noqa: PLC0415  (start-up time)

    given = options["git_credentials"]
    return GitCredentials.read(given) if given else GitCredentials.default()


def read_requests(paths: Iterable[Path]) -> tuple[list[Request], list[Error]]:
    """What the configurations in files and folders want to know, and those that are not valid.

    Raises:
        PackageConfigError: there is no configuration.
    """
    from plimsoll.builder.package.load import load_file  # noqa: PLC0415  (start-up time)
    from plimsoll.builder.updates.plan import plan  # noqa: PLC0415

    requests: list[Request] = []
    broken: list[Error] = []
    for path in files(paths):
        try:
            requests.append(plan(load_file(path), path))
        except Error as error:
            broken.append(error)
    if not requests and not broken:
        raise PackageConfigError(
            f"there is no configuration in {', '.join(map(str, paths))}",
            hint="name files, or folders with *.yaml",
        )
    return requests, broken


def files(paths: Iterable[Path]) -> list[Path]:
    """Files as they are, and the ``*.yaml`` in folders, each once."""
    found: dict[Path, None] = {}
    for path in paths:
        inside = sorted(path.glob("*.yaml")) if path.is_dir() else [path]
        found |= dict.fromkeys(item for item in inside if not item.name.startswith("."))
    return list(found)


async def look(
    http: Http, requests: Sequence[Request], options: Mapping[str, Any]
) -> list[Outcome]:
    """Ask upstream as the options say."""
    from plimsoll.builder.store import default_cache_dir  # noqa: PLC0415  (start-up time)
    from plimsoll.builder.updates.check import check  # noqa: PLC0415
    from plimsoll.builder.updates.memory import Memory  # noqa: PLC0415

    memory = Memory(options["state"] or default_cache_dir().parent / "updates.json")
    outcomes = await check(
        http,
        places(os.environ, credentials_of(options), options["insecure"]),
        requests,
        memory,
        always=options["ignore_schedule"],
    )
    memory.save()
    return outcomes


def places(
    environ: Mapping[str, str], credentials: GitCredentials, insecure: tuple[str, ...]
) -> Places:
    """Where the services are: GitHub's variables name another server of it."""
    from plimsoll.builder.updates.check import Places  # noqa: PLC0415  (start-up time)
    from plimsoll.builder.updates.github import GitHub  # noqa: PLC0415
    from plimsoll.builder.updates.services import RELEASE_MONITOR  # noqa: PLC0415
    from plimsoll.builder.updates.tokens import github_token  # noqa: PLC0415

    usual = GitHub()
    server = environ.get("GITHUB_SERVER_URL", "").rstrip("/") or usual.server
    api = environ.get("GITHUB_API_URL", "").rstrip("/") or usual.api
    hub = GitHub(
        api=api,
        graphql=environ.get("GITHUB_GRAPHQL_URL", "").rstrip("/") or f"{api}/graphql",
        server=server,
        token=github_token(environ, credentials, server, api),
    )

    monitor = environ.get("PLIMSOLL_RELEASE_MONITORING_URL", "").rstrip("/")
    return Places(lambda: open_registry(insecure), hub, monitor or RELEASE_MONITOR, credentials)


def show(outcome: Outcome) -> dict[str, Any]:
    """An outcome as JSON."""
    request = outcome.request
    query = request.query
    return {
        "package": request.package,
        "file": str(request.file),
        "version": request.version,
        "state": outcome.state.value,
        "update": outcome.version,
        "newest": outcome.newest,
        "name": outcome.name,
        "commit": outcome.commit,
        "service": query.service.value if query else "",
        "target": query.target if query else "",
        "manual": request.manual,
        "shared": request.shared,
        "reason": outcome.reason,
    }


def _table(outcomes: Sequence[Outcome], *, everything: bool) -> None:
    rows = [("PACKAGE", "VERSION", "UPDATE", "")]
    rows += [
        (one.request.package, one.request.version, one.version, _note(one))
        for one in outcomes
        if one.state.value in {"new", "failed"} or everything
    ]
    if len(rows) == 1:
        click.echo(f"{len(outcomes)} packages, nothing new")
        return
    widths = [max(len(row[n]) for row in rows) for n in range(3)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        click.echo("  ".join([*cells, row[3]]).rstrip())


def _note(one: Outcome) -> str:
    if one.state.value != "new":
        return one.reason or "up to date"
    notes = []
    if one.newest != one.version:
        notes.append(f"then on to {one.newest}")
    if one.request.manual:
        notes.append("to be made by a person")
    if one.request.shared:
        notes.append("dependents are built again")
    return ", ".join(notes)

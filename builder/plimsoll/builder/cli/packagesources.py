"""Options about sources of packages: logins, signatures, no network; and what they do."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from plimsoll.builder.cli.packageoptions import OptionsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from plimsoll.builder.git.policy import SourcePolicy
    from plimsoll.builder.package.build import BuildSettings
    from plimsoll.builder.package.compile import Compiled
    from plimsoll.builder.package.prefetch import Prefetch
    from plimsoll.http import Http

F = TypeVar("F", bound="Callable[..., Any]")

credentials_option = click.option(
    "--git-credentials",
    type=click.Path(path_type=Path, exists=True),
    help="Logins for Git servers and downloads, by host: a .netrc, a file of Git's store helper, "
    "or a folder with one. Sources are fetched with them before the steps, which never see them.",
)
signed_option = click.option(
    "--signed-sources",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="YAML file that says who must have signed the commits or tags of which repositories.",
)
_OPTIONS = (
    click.option(
        "--offline",
        is_flag=True,
        help="No network at all: packages and sources must be in their caches; see "
        "'package update-cache'.",
    ),
    credentials_option,
    signed_option,
)


def source_options(command: F) -> F:
    """Add the options of builds."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def prefetcher(
    http: Http, folder: Path, options: Mapping[str, Any], say: Callable[[str], None]
) -> Prefetch:
    """How to get sources, as the options say.

    Raises:
        GitError: a file that they name is not what it should be.
    """
    from plimsoll.builder.git.credentials import GitCredentials  # noqa: PLC0415  (start-up time)
    from plimsoll.builder.package.prefetch import Prefetch  # noqa: PLC0415

    logins = options["git_credentials"]
    return Prefetch(
        http,
        folder,
        GitCredentials.read(logins) if logins else GitCredentials(),
        source_policy(options),
        say,
    )


def source_policy(options: Mapping[str, Any]) -> SourcePolicy:
    """Who must have signed what, as the options say.

    Raises:
        GitError: the file is not what it should be.
    """
    from plimsoll.builder.git.policy import SourcePolicy  # noqa: PLC0415  (start-up time)

    rules = options["signed_sources"]
    return SourcePolicy.read(rules) if rules else SourcePolicy()


@asynccontextmanager
async def prepared(
    http: Http, compiled: Compiled, settings: BuildSettings, options: Mapping[str, Any]
) -> AsyncIterator[tuple[Compiled, BuildSettings]]:
    """What is built, and how, once its sources are as the options want them.

    Raises:
        NotSignedError: nobody who may has signed a source.
        Error: a source cannot be had.
    """
    from plimsoll.builder.package.load import CACHE  # noqa: PLC0415  (start-up time)
    from plimsoll.builder.package.prefetch import (  # noqa: PLC0415
        GIT_CONFIG,
        git_configuration,
        offline,
    )

    if options["offline"] and options["network"]:
        raise OptionsError("--offline and --network contradict each other", hint="leave one out")
    if options["offline"] and options["signed_sources"]:
        raise OptionsError(
            "signatures are looked at where sources come from, which --offline does not ask",
            hint="give --signed-sources to 'package update-cache'",
        )
    with tempfile.TemporaryDirectory(prefix="plimsoll-sources-") as name:
        if options["git_credentials"] and settings.cache is None:
            settings = replace(settings, cache=Path(name))
        folder = settings.cache or Path(name)
        get = await asyncio.to_thread(prefetcher, http, folder, options, settings.say)
        compiled = await get.verified(compiled)
        if options["git_credentials"]:
            await get.fetch(compiled.sources)
        if options["offline"]:
            compiled = offline(compiled)
        # On this machine itself the steps find the cache where it is.
        place = CACHE if settings.runner == "bubblewrap" else str(folder)
        if await git_configuration(folder, compiled.sources, place):
            environment = {"GIT_CONFIG_GLOBAL": GIT_CONFIG, **settings.environment}
            settings = replace(settings, environment=environment)
        yield compiled, settings

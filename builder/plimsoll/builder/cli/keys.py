"""``plimsoll install-keys``."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from plimsoll.builder.cli.imagecommand import ImageCommand, examples
from plimsoll.builder.store import storage_errors


@click.command(
    "install-keys",
    cls=ImageCommand,
    epilog=examples("install-keys --root rootfs --arch arm64"),
)
@click.option(
    "--root",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("/"),
    show_default=True,
    help="The file tree whose repositories are read and that gets the keys.",
)
@click.option("--arch", default="host", show_default=True, help="Architecture.")
def install_keys(root: Path, arch: str) -> None:
    """Find the keys of all repositories in /etc/apk/repositories and install them.

    The paths of the installed keys are printed.
    """
    from plimsoll.arch import Arch  # noqa: PLC0415  (start-up time)
    from plimsoll.builder.discovery import DiscoveryError, discover_keys  # noqa: PLC0415
    from plimsoll.builder.logins import Logins  # noqa: PLC0415
    from plimsoll.builder.repository import is_url, parse_repository  # noqa: PLC0415
    from plimsoll.builder.transport import Transport  # noqa: PLC0415

    chosen = Arch.parse(arch)
    listing = root / "etc/apk/repositories"
    with storage_errors(f"reading {listing}"):
        lines = [line.strip() for line in listing.read_text().splitlines()]
    logins = Logins()
    urls = [parse_repository(logins.strip(line))[0] for line in lines if line and line[0] != "#"]

    async def run() -> dict[str, str]:
        found: dict[str, str] = {}
        async with Transport(logins) as http:

            async def fetch(url: str, max_size: int) -> bytes:
                return await http.get_bytes(url, max_size=max_size, headers=logins.headers(url))

            for url in filter(is_url, urls):
                found |= await discover_keys(fetch, url, chosen)
        return found

    found = asyncio.run(run())
    if not found:
        raise DiscoveryError(
            f"none of the repositories in {listing} announces its keys",
            hint="put their public keys into /etc/apk/keys yourself",
        )
    folder = root / "etc/apk/keys"
    for name, pem in sorted(found.items()):
        with storage_errors(f"writing to {folder}"):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(pem)
        click.echo(str(folder / name))

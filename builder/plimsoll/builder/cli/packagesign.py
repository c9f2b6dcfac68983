"""``plimsoll package keygen``, ``sign``, ``sign-index`` and ``index``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from plimsoll.builder.store import storage_errors

if TYPE_CHECKING:
    from plimsoll.apk.keys import SigningKey

_KEY_HINT = "make one with 'plimsoll package keygen', and name it with --signing-key"

_FILE = click.Path(path_type=Path, dir_okay=False)
_EXISTING = click.Path(path_type=Path, exists=True, dir_okay=False)


def read_key(path: Path) -> SigningKey:
    """A private key; its password, if it has one, is in ``PLIMSOLL_KEY_PASSWORD``.

    Raises:
        KeyFormatError: it is none.
        click.UsageError: there is no such file.
    """
    from plimsoll.apk.keys import SigningKey  # noqa: PLC0415  (start-up time)

    if not path.is_file():
        raise click.UsageError(f"there is no signing key {path}: {_KEY_HINT}")
    password = os.environ.get("PLIMSOLL_KEY_PASSWORD")
    return SigningKey.from_file(path, password.encode() if password else None)


@click.command()
@click.argument("key", type=_FILE, default=Path("melange.rsa"))
@click.option("--key-size", default=4096, show_default=True, help="Bits; at least 2048.")
def keygen(key: Path, key_size: int) -> None:
    """Make a key pair: KEY, and KEY.pub beside it.

    Packages and indexes name the key by this file name, so choose one that tells whose it is.
    """
    from plimsoll.apk.keys import MIN_BITS, SigningKey  # noqa: PLC0415  (start-up time)

    if not MIN_BITS <= key_size <= 16384:
        raise click.BadParameter(
            f"{key_size} is not between {MIN_BITS} and 16384", param_hint="--key-size"
        )
    if key.suffix != ".rsa":
        raise click.BadParameter(
            f"{key} does not end in .rsa; apk takes keys from files *.rsa.pub only",
            param_hint="KEY",
        )
    public = key.with_name(f"{key.name}.pub")
    made = SigningKey.generate(public.name, key_size)
    with storage_errors(f"writing {key}"):
        # Both must be new: to write over a key is to lose it.
        _write_new(key, made.private_pem(), 0o600)
        _write_new(public, made.public_pem(), 0o644)
    click.echo(f"wrote {key} (keep it secret) and {public}", err=True)


def _write_new(path: Path, data: bytes, mode: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise click.UsageError(
            f"{path} exists already; remove it first, if it is not needed"
        ) from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


@click.command()
@click.argument("packages", nargs=-1, required=True, type=_EXISTING)
@click.option(
    "-k",
    "--signing-key",
    type=_FILE,
    default=Path("local-melange.rsa"),
    show_default=True,
    help="Private key.",
)
def sign(packages: tuple[Path, ...], signing_key: Path) -> None:
    """Sign PACKAGES in place; a signature that is there is replaced."""
    from plimsoll.builder.package.repository import sign_package  # noqa: PLC0415  (start-up time)

    key = read_key(signing_key)
    for path in packages:
        sign_package(path, key)
        click.echo(f"signed {path}", err=True)


@click.command("sign-index")
@click.argument("index", type=_EXISTING)
@click.option(
    "--signing-key",
    type=_FILE,
    default=Path("melange.rsa"),
    show_default=True,
    help="Private key.",
)
@click.option("--force", is_flag=True, help="Replace a signature that is there.")
def sign_index(index: Path, signing_key: Path, *, force: bool) -> None:
    """Sign the INDEX in place."""
    from plimsoll.builder.package.repository import sign_index_file  # noqa: PLC0415  (as above)

    sign_index_file(index, read_key(signing_key), replace=force)
    click.echo(f"signed {index}", err=True)


@click.command()
@click.argument("packages", nargs=-1, type=_EXISTING)
@click.option(
    "-o",
    "--output",
    type=_FILE,
    default=Path("APKINDEX.tar.gz"),
    show_default=True,
    help="Where to write the index.",
)
@click.option("-s", "--source", type=_EXISTING, help="Index to begin with; it must be readable.")
@click.option("--merge", is_flag=True, help="Begin with what --output holds already.")
@click.option("-a", "--arch", default="", help="Take only packages of this architecture.")
@click.option("-d", "--description", default="", help="What the index says about itself.")
@click.option("--signing-key", type=_FILE, help="Sign the index with this private key.")
def index(packages: tuple[Path, ...], output: Path, **options: object) -> None:
    """Write the index of PACKAGES.

    Every package is verified as far as its own hashes go before it is listed.
    """
    from plimsoll.arch import Arch  # noqa: PLC0415  (start-up time)
    from plimsoll.builder.package.repository import update_index  # noqa: PLC0415

    source = options["source"]
    if not source and options["merge"] and output.is_file():
        source = output
    key = options["signing_key"]
    arch = str(options["arch"])
    count = update_index(
        output,
        packages,
        source=source if isinstance(source, Path) else None,
        arch=Arch.parse(arch) if arch else None,
        description=str(options["description"]),
        key=read_key(key) if isinstance(key, Path) else None,
    )
    click.echo(f"wrote {output} with {count} packages", err=True)

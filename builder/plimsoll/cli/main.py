"""The ``plimsoll`` command: a table of sub-commands, each imported only when it is asked for."""

from __future__ import annotations

import io
import os
import sys
from typing import Any

import click

from plimsoll.builder.cli.imagecommand import log_level_option, workdir_option
from plimsoll.errors import Error
from plimsoll.lazygroup import LazyGroup

#: Command name → (``module:attribute``, one-line help). The help stands here too so that
#: ``plimsoll --help`` imports no command.
COMMANDS: dict[str, tuple[str, str]] = {
    "attest": ("plimsoll.cli.sign:attest", "Attest something about an image."),
    "build": ("plimsoll.builder.cli.build:build", "Build an image into a file or a directory."),
    "build-cpio": (
        "plimsoll.builder.cli.rootfs:build_cpio",
        "Build a file tree into a cpio archive.",
    ),
    "build-minirootfs": (
        "plimsoll.builder.cli.rootfs:build_minirootfs",
        "Build a file tree into a tar file.",
    ),
    "cache": ("plimsoll.builder.cli.cache:cache", "Look after the package cache."),
    "clean": ("plimsoll.builder.cli.cache:clean", "Remove the whole package cache."),
    "diff": ("plimsoll.builder.cli.diff:diff", "Show what differs between images, locks or SBOMs."),
    "dot": ("plimsoll.builder.cli.dot:dot", "Draw why each package is there."),
    "install-keys": (
        "plimsoll.builder.cli.keys:install_keys",
        "Find keys of repositories and install them.",
    ),
    "lock": ("plimsoll.builder.cli.lock:lock", "Write down exactly which packages are meant."),
    "login": ("plimsoll.builder.cli.login:login", "Keep a login for a registry."),
    "operator": ("plimsoll.operator.cli:operator", "Run the Kubernetes operator."),
    "package": ("plimsoll.builder.cli.package:package", "Build packages."),
    "policy": ("plimsoll.webhook.policycli:policy", "Check policies, and try them on images."),
    "publish": ("plimsoll.builder.cli.build:publish", "Build an image and push it."),
    "repo": ("plimsoll.builder.cli.repo:repo", "Show a package repository to apk clients."),
    "sbom": ("plimsoll.builder.cli.sbom:sbom", "Write the bill of materials of an image."),
    "scan": (
        "plimsoll.builder.cli.imagescan:scan_command",
        "Look up the known vulnerabilities of an image, an SBOM or a lock.",
    ),
    "show-config": (
        "plimsoll.builder.cli.lock:show_config",
        "Show a configuration with its includes.",
    ),
    "show-packages": (
        "plimsoll.builder.cli.lock:show_packages",
        "Show which packages a configuration means.",
    ),
    "sign": ("plimsoll.cli.sign:sign", "Sign an image."),
    "step": ("plimsoll.builder.cli.step:step", "Run one step of a build inside a Job."),
    "verify": ("plimsoll.cli.verify:verify", "Say who signed or attested an image."),
    "verify-image-reproducible": (
        "plimsoll.builder.cli.reproducible:verify_image_reproducible",
        "Build an image twice and compare every byte.",
    ),
    "verify-bundle": (
        "plimsoll.cli.verifybundle:verify_bundle",
        "Verify a sigstore bundle offline.",
    ),
    "version": ("plimsoll.builder.cli.version:version", "Say which version this is."),
    "webhook": ("plimsoll.webhook.cli:webhook", "Run the admission webhook."),
}


class InterruptedByUserError(Exception):
    """Ctrl-C."""


class Root(LazyGroup):
    """All commands."""

    def invoke(self, ctx: click.Context) -> Any:
        """See ``click.Group.invoke``, which would make exit status 1 of Ctrl-C.

        Raises:
            InterruptedByUserError: instead of ``KeyboardInterrupt``.
        """
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, click.Abort):
            raise InterruptedByUserError from None


@click.group(cls=Root, table=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="plimsoll")
@workdir_option
@log_level_option
def cli() -> None:
    """Minimal, signed, reproducible container images, and a cluster that runs only those."""


def main() -> None:
    """Run the command line.

    An error becomes one readable line and exit status 1, Ctrl-C exit status 130.
    """
    _prepare_streams()
    # https://no-color.org
    color = False if os.environ.get("NO_COLOR") else None
    try:
        cli(standalone_mode=True, color=color)
    except InterruptedByUserError:
        click.echo("\ninterrupted", err=True)
        # Everything is put away; after a second Ctrl-C nothing waits for threads that still work.
        os._exit(130)
    except Error as error:
        click.secho(f"error: {error.message}", fg="red", err=True, color=color)
        hint = error.hint or ("try again: this may pass by itself" if error.retryable else None)
        if hint:
            click.echo(f"  hint: {hint}", err=True)
        sys.exit(1)
    except OSError as error:
        place = f" {error.filename}:" if error.filename else ""
        text = f"error: cannot go on:{place} {error.strerror or error}"
        click.secho(text, fg="red", err=True, color=color)
        sys.exit(1)


def _prepare_streams() -> None:
    # A program that was started without them has streams all the same.
    if sys.stdout is None or sys.stderr is None:
        nowhere = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115  (to the end)
        sys.stdout, sys.stderr = sys.stdout or nowhere, sys.stderr or nowhere
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # What a terminal's character set lacks ends no program.
            stream.reconfigure(errors="backslashreplace")

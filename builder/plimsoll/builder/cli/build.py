"""``plimsoll build`` and ``plimsoll publish``.

Only what an unchanged build needs is imported here; the rest is in ``building``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from plimsoll.builder import unchanged
from plimsoll.builder.cli.imagecommand import ImageCommand, examples
from plimsoll.builder.cli.options import build_options, config_options, source_of
from plimsoll.builder.cli.registry import insecure_option
from plimsoll.builder.cli.target import Target
from plimsoll.builder.store import CorruptEntryError, Store, default_cache_dir
from plimsoll.oci.reference import Reference


@click.command(
    cls=ImageCommand,
    epilog=examples(
        "build app.yaml registry.example/app:1 app.tar",
        "build app.yaml registry.example/app:1 layout/ --arch amd64,arm64",
        "build app.yaml registry.example/app:1 app.tar --lockfile app.lock.json",
    ),
)
@click.argument("config", type=click.Path(path_type=Path))
@click.argument("image")
@click.argument("output", type=click.Path())
@build_options
@config_options
def build(config: Path, image: str, output: str, **options: Any) -> None:
    """Build the image that CONFIG describes, name it IMAGE, and write it to OUTPUT.

    OUTPUT is a .tar file, which 'docker load' and OCI tools read, or a directory, which becomes an
    OCI layout: one that exists, or a name that ends in a slash. The digest of the image is printed
    on standard output.
    """
    options["vcs"] = source_of(config, options["vcs"])
    target = Target.of(_new_name(image), output, options)
    target.check()
    key = unchanged.build_key(config, target.name, options)
    if _again(target, key, options):
        return
    from plimsoll.builder.cli.building import build_to  # noqa: PLC0415  (start-up time)

    build_to(target, config, options, key)


def _again(target: Target, key: str, options: dict[str, Any]) -> bool:
    """Write what an earlier build made of the very same inputs, if there is such a build."""
    with Store(options["cache_dir"] or default_cache_dir()) as store:
        found = unchanged.find(store, key)
        if found is None:
            return False
        try:
            target.write(found, store)
        except CorruptEntryError:
            # The build that follows says so, and heals the cache.
            return False
    target.report.say("nothing changed since the last build")
    target.finish(found)
    return True


@click.command(
    cls=ImageCommand,
    epilog=examples(
        "publish app.yaml registry.example/app:1.2 registry.example/app:latest",
        "publish app.yaml registry.example/app:1 --image-refs pushed.txt",
        "publish app.yaml app:dev --local",
    ),
)
@click.argument("config", type=click.Path(path_type=Path))
@click.argument("tags", nargs=-1, required=True)
@click.option(
    "--image-refs",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the references to this file, with digests: of every image, then of the index.",
)
@click.option(
    "--local",
    is_flag=True,
    help="Hand the image to the Docker daemon of this machine ($DOCKER_HOST) and push nothing.",
)
@insecure_option
@build_options
@config_options
def publish(config: Path, tags: tuple[str, ...], **options: Any) -> None:
    """Build the image that CONFIG describes and push it to every one of TAGS.

    Logins are taken from docker's configuration. The reference with digest is printed on
    standard output; with --local, each tag that the daemon has now.
    """
    if options["local"]:
        from plimsoll.builder.cli.loading import load_to  # noqa: PLC0415  (start-up time)

        load_to([_new_name(tag) for tag in tags], config, options)
        return
    from plimsoll.builder.cli.building import publish_to  # noqa: PLC0415  (start-up time)

    publish_to([_new_name(tag) for tag in tags], config, options)


def _new_name(text: str) -> Reference:
    """What a new image is to be called."""
    reference = Reference.parse(text)
    if reference.digest:
        raise click.UsageError(f"{text} names an image that exists: give a tag, no digest")
    return reference

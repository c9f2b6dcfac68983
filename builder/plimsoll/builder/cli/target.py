"""Where ``plimsoll build`` writes, and what it says."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import click

from plimsoll.builder.cli.report import Report, summary
from plimsoll.builder.output import write_layout, write_tar
from plimsoll.builder.sbomfiles import write_sboms
from plimsoll.oci.digest import digest_of
from plimsoll.oci.errors import LayoutError
from plimsoll.oci.layout import Layout

if TYPE_CHECKING:
    from plimsoll.builder.store import Store
    from plimsoll.builder.unchanged import Result
    from plimsoll.oci.reference import Reference


@dataclass(frozen=True, slots=True)
class Target:
    """Where an image goes.

    Attributes:
        name: its repository.
        tag: its tag.
        output: a folder for an OCI layout, else a file.
        is_folder: which of them.
        sbom_path: folder of SBOM files, ``None`` for none.
        formats: of SBOM files.
        as_json: print the result as JSON.
    """

    name: str
    tag: str
    output: Path
    is_folder: bool
    sbom_path: Path | None
    formats: tuple[str, ...]
    as_json: bool
    report: Report

    @classmethod
    def of(cls, reference: Reference, name: str, options: dict[str, Any]) -> Self:
        """What the command line says; ``name`` is that of a file or a directory."""
        output = Path(name)
        is_folder = output.is_dir() or name.endswith(os.sep)
        folder: Path | None = output if is_folder else output.parent
        if not is_folder and output.exists() and not output.is_file():
            # Beside a device or a pipe is no place for files.
            folder = None
        return cls(
            name=f"{reference.registry}/{reference.repository}",
            tag=reference.tag or "latest",
            output=output,
            is_folder=is_folder,
            sbom_path=(options["sbom_path"] or folder) if options["sbom"] else None,
            formats=options["sbom_formats"],
            as_json=options["as_json"],
            report=Report(options["progress"]),
        )

    def check(self) -> None:
        """Say before a long build what would only end it. Blocks.

        Raises:
            LayoutError: there is no place to write to.
        """
        if self.is_folder:
            Layout.check_place(self.output)
        elif not self.output.parent.is_dir():
            raise LayoutError(
                f"cannot write {self.output}: there is no directory {self.output.parent}",
                hint="make the directory first, or choose another",
            )

    def write(self, made: Result, store: Store) -> None:
        """Write the image. Blocks.

        Raises:
            LayoutError, StorageError: it cannot be written.
            CorruptEntryError: the cache was damaged; build again.
        """
        if self.is_folder:
            write_layout(self.output, made.images, made.index, self.tag)
        else:
            names = [f"{self.name}:{self.tag}"]
            write_tar(self.output, made.images, made.index, names, store)

    def finish(self, made: Result) -> None:
        """Write the SBOM files, and say what was built.

        Raises:
            StorageError: they cannot be written.
        """
        self.report.built(made.images)
        if self.sbom_path is not None:
            write_sboms(self.sbom_path, made.images, made.document, self.formats)
        self.report.say(f"wrote {self.output} in {self.report.seconds:.1f} s")
        digest = digest_of(made.index)
        click.echo(json.dumps(summary(made.images, digest)) if self.as_json else digest)

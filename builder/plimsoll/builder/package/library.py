"""Pipelines by name: those of given directories, then the built-in ones."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from plimsoll import yaml12
from plimsoll.builder.configerrors import explain
from plimsoll.builder.package.errors import PackageConfigError
from plimsoll.builder.package.stepmodel import PipelineFile

if TYPE_CHECKING:
    from collections.abc import Sequence

BUILTIN = Path(__file__).parent / "pipelines"
#: Built-in pipelines that fetch sources by digest or commit, and so may use the network.
FETCHING = frozenset({"fetch", "git-checkout"})

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.+-]*)*")
_MAX_FILE = 1 << 20


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A pipeline as it was found.

    Attributes:
        name: what ``uses`` calls it.
        steps: the file's content.
        document: the file, for places.
        builtin: whether it is one of ours.
    """

    name: str
    steps: PipelineFile
    document: yaml12.Document
    builtin: bool

    @property
    def fetches(self) -> bool:
        """Whether its steps may use the network without being asked."""
        return self.builtin and self.name in FETCHING


class Library:
    """Finds pipelines.

    Args:
        directories: looked in first, in order.
    """

    def __init__(self, directories: Sequence[Path] = ()) -> None:
        self._directories = list(directories)
        self._known: dict[str, Pipeline] = {}

    def find(self, name: str) -> Pipeline:
        """The pipeline of this name.

        Raises:
            PackageConfigError: there is none, or it is not valid.
        """
        if name not in self._known:
            self._known[name] = self._read(name)
        return self._known[name]

    def names(self) -> list[str]:
        """Names of all pipelines."""
        found = {
            str(path.relative_to(folder).with_suffix(""))
            for folder in (*self._directories, BUILTIN)
            for path in folder.rglob("*.yaml")
        }
        return sorted(found)

    def _read(self, name: str) -> Pipeline:
        if not _NAME.fullmatch(name):
            raise PackageConfigError(
                f"{name!r} cannot be the name of a pipeline",
                hint="a name is relative and without '..', for example go/build",
            )
        for folder in (*self._directories, BUILTIN):
            path = folder / f"{name}.yaml"
            if not path.is_file():
                continue
            if not path.resolve().is_relative_to(folder.resolve()):
                raise PackageConfigError(
                    f"the pipeline {name!r} is a link that leads out of {folder}",
                    hint="put the file itself there",
                )
            return _parse(name, path, builtin=folder is BUILTIN)
        names = self.names()
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
        places = ", ".join(map(str, self._directories)) or "no directory (--pipeline-dir)"
        raise PackageConfigError(
            f"there is no pipeline {name!r}",
            hint=f"did you mean {', '.join(near)}?"
            if near
            else f"looked in {places} and among the built-in pipelines",
        )


def _parse(name: str, path: Path, *, builtin: bool) -> Pipeline:
    with path.open("rb") as file:
        data = file.read(_MAX_FILE + 1)
    shown = f"(built-in) {name}.yaml" if builtin else str(path)
    if len(data) > _MAX_FILE:
        raise PackageConfigError(f"{shown} is larger than {_MAX_FILE} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise PackageConfigError(f"{shown} is not UTF-8 text", hint="save it as UTF-8") from None
    document = yaml12.load(text, shown)
    value = {} if document.value is None else document.value
    if not isinstance(value, dict):
        raise PackageConfigError(f"{document.place(())}: a pipeline is a mapping")
    try:
        steps = PipelineFile.model_validate(value, by_alias=True, by_name=False)
    except ValidationError as error:
        raise explain(error, document, PipelineFile) from None
    return Pipeline(name, steps, document, builtin)

"""Reading image configurations: strict, with places in every error, with includes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from plimsoll import yaml12
from plimsoll.api.image import ImageConfiguration
from plimsoll.api.imagemerge import merge
from plimsoll.builder.configerrors import ConfigError, explain, told
from plimsoll.builder.configvalues import mistakes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_FILE = 4 << 20
MAX_INCLUDES = 32


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A configuration with what it was read from.

    Attributes:
        name: base name of the file, as a lock records it.
        checksum: ``sha256-<base64>`` over the raw bytes of the file and its includes.
    """

    config: ImageConfiguration
    name: str
    checksum: str
    files: list[Path] = field(default_factory=list)


def load_config(path: Path, *, include_paths: Iterable[Path] = ()) -> LoadedConfig:
    """Read a configuration file and everything it includes.

    Args:
        path: the file; looked for in ``include_paths`` too if it is relative.
        include_paths: folders to look in for the file and its includes.

    Raises:
        ConfigError, YamlError: with file, line and column.
    """
    import base64  # noqa: PLC0415  (start-up time of the command line)

    places = [Path(), *include_paths]
    digest = hashlib.sha256()
    files: list[Path] = []
    parts: list[tuple[ImageConfiguration, yaml12.Document]] = []
    found: Path | None = _find(path, places, "")
    while found is not None:
        by = str(parts[-1][1].place(("include",))) if parts else ""
        _check_chain(found, files, by)
        text = _read(found, digest)
        files.append(found)
        config, document = _parse(text, str(found))
        parts.append((config, document))
        by = str(document.place(("include",)))
        below = Path(config.include) if config.include else None
        found = below and _find(below, [*places, found.parent], by)
    config = parts[-1][0]
    for over, _ in reversed(parts[:-1]):
        config = merge(config, over)
    _check_whole(config, [document for _, document in parts])
    checksum = f"sha256-{base64.b64encode(digest.digest()).decode()}"
    return LoadedConfig(config, files[0].name, checksum, files)


def parse_config(text: str, file: str) -> ImageConfiguration:
    """Read a configuration without resolving its include.

    Raises:
        ConfigError, YamlError: with file, line and column.
    """
    return _parse(text, file)[0]


def _parse(text: str, file: str) -> tuple[ImageConfiguration, yaml12.Document]:
    document = yaml12.load(text, file)
    value = {} if document.value is None else document.value
    if not isinstance(value, dict):
        raise ConfigError(
            f"{document.place(())}: an image configuration is a mapping, this is "
            f"{'a list' if isinstance(value, list) else 'one value'}",
            hint="start with 'contents:'",
        )
    try:
        config = ImageConfiguration.model_validate(value, by_alias=True, by_name=False)
    except ValidationError as error:
        raise explain(error, document, ImageConfiguration) from None
    if found := list(mistakes(config)):
        texts = [
            (document.place(loc), f"{'.'.join(map(str, loc))}: {error.message}")
            for loc, error in found
        ]
        raise told(texts, found[0][1].hint)
    return config, document


def _check_chain(path: Path, files: Sequence[Path], by: str) -> None:
    if any(path.samefile(known) for known in files):
        raise ConfigError(
            f"{by}: {path} includes itself: {' → '.join(str(f) for f in (*files, path))}",
            hint="remove one of the includes",
        )
    if len(files) >= MAX_INCLUDES:
        raise ConfigError(
            f"{by}: more than {MAX_INCLUDES} files include each other",
            hint="join some of them",
        )


def _check_whole(config: ImageConfiguration, documents: Sequence[yaml12.Document]) -> None:
    """What only shows when the files are joined: a base image here, what it forbids there."""
    if not (wrong := config.refused_on_base()):
        return

    def place(*loc: str) -> yaml12.Mark:
        return next((d.places[loc] for d in documents if loc in d.places), documents[0].place(()))

    raise ConfigError(
        f"{place(wrong[0])}: {' and '.join(wrong)} cannot be set on the base image of "
        f"{place('contents', 'baseimage')}",
        hint="what a container runs, as whom and with which environment, stays as in its base",
    )


def _read(path: Path, digest: hashlib._Hash) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}", hint="check the path and its permissions"
        ) from None
    if len(data) > MAX_FILE:
        raise ConfigError(
            f"{path} is larger than {MAX_FILE} bytes", hint="this is no configuration"
        )
    digest.update(data)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text", hint="save it as UTF-8") from None


def _find(path: Path, places: Sequence[Path], by: str) -> Path:
    candidates = [path] if path.is_absolute() else [place / path for place in places]
    for candidate in candidates:
        # A pipe is as good: <(…) of a shell, /dev/stdin.
        if candidate.exists() and not candidate.is_dir():
            return candidate
    looked = ", ".join(dict.fromkeys(str(c) for c in candidates))
    raise ConfigError(
        f"{by}: there is no file {path} to include" if by else f"no configuration file {path}",
        hint=f"looked for {looked}",
    )

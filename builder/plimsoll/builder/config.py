"""Reading image configurations: strict, with places in every error, with includes."""

from __future__ import annotations

import difflib
import hashlib
import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from plimsoll import yaml12
from plimsoll.api.image import ImageConfiguration
from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pydantic_core import ErrorDetails

MAX_FILE = 4 << 20
MAX_INCLUDES = 32


class ConfigError(Error):
    """A configuration that is not valid; the message has one line per mistake."""

    reason = "InvalidConfiguration"


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
    found = _find(path, places, None)
    files: list[Path] = []
    digest = hashlib.sha256()
    config = _load(found, places, files, digest)
    checksum = f"sha256-{base64.b64encode(digest.digest()).decode()}"
    return LoadedConfig(config, found.name, checksum, files)


def parse_config(text: str, file: str) -> ImageConfiguration:
    """Read a configuration without resolving its include.

    Raises:
        ConfigError, YamlError: with file, line and column.
    """
    document = yaml12.load(text, file)
    value = {} if document.value is None else document.value
    if not isinstance(value, dict):
        raise ConfigError(
            f"{document.place(())}: an image configuration is a mapping, this is a "
            f"{type(value).__name__}",
            hint="start with 'contents:'",
        )
    try:
        return ImageConfiguration.model_validate(value, by_alias=True, by_name=False)
    except ValidationError as error:
        raise explain(error, document, ImageConfiguration) from None


def explain(
    error: ValidationError, document: yaml12.Document, model: type[BaseModel]
) -> ConfigError:
    """Say where in the file each mistake is, and which name may have been meant."""
    lines = []
    hint = None
    for detail in error.errors(include_url=False, include_context=False):
        place = document.place(detail["loc"])
        text, near = _describe(detail, model)
        hint = hint or near
        lines.append(f"{place}: {text}")
    return ConfigError("\n".join(lines), hint=hint)


def _describe(detail: ErrorDetails, model: type[BaseModel]) -> tuple[str, str | None]:
    loc = detail["loc"]
    where = ".".join(str(part) for part in loc)
    if detail["type"] == "extra_forbidden":
        valid = _fields_at(model, loc[:-1])
        name = str(loc[-1])
        parent = ".".join(str(part) for part in loc[:-1])
        near = difflib.get_close_matches(name, valid, n=1, cutoff=0.5)
        near = near or [v for v in valid if v.replace("-", "_") == name.replace("-", "_")]
        text = f"unknown field {name!r}" + (f" in {parent}" if parent else "")
        if near:
            return f"{text}: did you mean {near[0]!r}?", f"write {near[0]!r} instead of {name!r}"
        return text, f"valid here: {', '.join(valid)}" if valid else None
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "missing":
        return f"{where} is missing", None
    shown = repr(detail["input"])
    given = "" if detail["type"] == "value_error" or len(shown) > 80 else f", not {shown}"
    return f"{where}: {message[:1].lower()}{message[1:]}{given}" if where else message, None


def _fields_at(model: type[BaseModel], loc: Sequence[str | int]) -> list[str]:
    """Names of the keys that the mapping at ``loc`` may have."""
    current: Any = model
    for part in loc:
        if isinstance(current, type) and issubclass(current, BaseModel):
            names = {f.alias or n: f.annotation for n, f in current.model_fields.items()}
            current = names.get(str(part))
        elif get_origin(current) in {list, dict}:
            current = get_args(current)[-1]
        if get_origin(current) in {Union, types.UnionType}:
            current = next((a for a in get_args(current) if a is not type(None)), None)
    if isinstance(current, type) and issubclass(current, BaseModel):
        return [f.alias or n for n, f in current.model_fields.items()]
    return []


def _load(
    path: Path, places: Sequence[Path], files: list[Path], digest: hashlib._Hash
) -> ImageConfiguration:
    if any(path.samefile(known) for known in files):
        raise ConfigError(
            f"{path} includes itself: {' → '.join(str(f) for f in (*files, path))}",
            hint="remove one of the includes",
        )
    if len(files) >= MAX_INCLUDES:
        raise ConfigError(f"{path}: more than {MAX_INCLUDES} files include each other")
    data = path.read_bytes() if path.stat().st_size <= MAX_FILE else None
    if data is None:
        raise ConfigError(
            f"{path} is larger than {MAX_FILE} bytes", hint="this is no configuration"
        )
    files.append(path)
    digest.update(data)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text", hint="save it as UTF-8") from None
    config = parse_config(text, str(path))
    if not config.include:
        return config
    below = _find(Path(config.include), [*places, path.parent], path)
    return merge(_load(below, places, files, digest), config)


def _find(path: Path, places: Sequence[Path], included_by: Path | None) -> Path:
    candidates = [path] if path.is_absolute() else [place / path for place in places]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    by = f" (included by {included_by})" if included_by else ""
    raise ConfigError(
        f"no configuration file {path}{by}",
        hint=f"looked for {', '.join(str(c) for c in candidates)}",
    )


def merge(base: ImageConfiguration, over: ImageConfiguration) -> ImageConfiguration:
    """What ``over`` says when it includes ``base``.

    Scalars, entrypoint, layering, compression, certificates and archs of the includer win where it
    sets them; maps are joined key by key; lists are the included one and then the includer's.
    ``vcs-url`` is never taken over.
    """
    contents = {
        name: [*getattr(base.contents, name), *getattr(over.contents, name)]
        for name in type(over.contents).model_fields
        if name != "baseimage"
    }
    accounts = over.accounts.model_copy(
        update={
            "run_as": over.accounts.run_as or base.accounts.run_as,
            "users": [*base.accounts.users, *over.accounts.users],
            "groups": [*base.accounts.groups, *over.accounts.groups],
        }
    )
    update: dict[str, Any] = {
        "include": "",
        "contents": over.contents.model_copy(
            update={**contents, "baseimage": over.contents.baseimage or base.contents.baseimage}
        ),
        "accounts": accounts,
        "environment": {**base.environment, **over.environment},
        "annotations": {**base.annotations, **over.annotations},
        "paths": [*base.paths, *over.paths],
        "volumes": [*base.volumes, *over.volumes],
    }
    for name in (
        "entrypoint",
        "cmd",
        "healthcheck",
        "stop_signal",
        "work_dir",
        "archs",
        "layering",
        "certificates",
        "compression",
    ):
        if name not in over.model_fields_set or not getattr(over, name):
            update[name] = getattr(base, name)
    return over.model_copy(update=update)

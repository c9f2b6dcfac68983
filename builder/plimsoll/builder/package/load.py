"""Reading package configurations: strict, ranges expanded, with places in every error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from plimsoll import yaml12
from plimsoll.api.accounts import Accounts, Group, User
from plimsoll.builder.configerrors import explain
from plimsoll.builder.package.condition import bind
from plimsoll.builder.package.errors import PackageConfigError
from plimsoll.builder.package.model import PackageConfiguration
from plimsoll.builder.package.substitute import walk
from plimsoll.builder.package.variables import as_text, resolve

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from plimsoll.api.image import ImageConfiguration

MAX_FILE = 4 << 20
MAX_SUBPACKAGES = 5000

BUILD_USER = "build"
BUILD_ID = 1000
HOME = "/home/build"
CACHE = "/var/cache/melange"
DEFAULT_ENVIRONMENT = {
    "HOME": HOME,
    "GOPATH": f"{HOME}/.cache/go",
    "GOMODCACHE": f"{CACHE}/gomodcache",
    "UV_CACHE_DIR": f"{CACHE}/uv",
    "PIP_CACHE_DIR": f"{CACHE}/pip",
    "COMPOSER_CACHE_DIR": f"{CACHE}/composer",
    "npm_config_cache": f"{CACHE}/npm",
}
#: Sections that are not texts to be shown but rules for making them, and conditions.
_LITERAL = frozenset({"vars", "var-transforms", "data", "if", "options"})


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration, what its variables are, and where everything stands.

    Attributes:
        config: ranges expanded, variables of the first phase replaced; ``vars`` holds all
            variables with their values.
        variables: name → value of the first phase: ``package.…``, ``vars.…``.
        document: what was read; ``place`` of a path in ``config`` is a place in the file.
        text: the file.
    """

    config: PackageConfiguration
    variables: dict[str, str]
    document: _Expanded
    text: str


@dataclass(frozen=True, slots=True)
class _Expanded(yaml12.Document):
    """A document whose subpackages were multiplied by ranges."""

    origins: tuple[int, ...] = ()

    def place(self, path: yaml12.Path) -> yaml12.Mark:
        if len(path) > 1 and path[0] == "subpackages" and isinstance(path[1], int):
            path = (path[0], self.origins[path[1]], *path[2:])
        return yaml12.Document.place(self, path)


def load_file(
    path: Path, *, variables: Mapping[str, str] | None = None, options: Iterable[str] = ()
) -> Loaded:
    """Read a configuration file.

    Args:
        path: the file.
        variables: go before those of the configuration.
        options: names of build options to turn on.

    Raises:
        PackageConfigError, ConfigError, YamlError: with file, line and column.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        raise PackageConfigError(
            f"{path} cannot be read: {error.strerror}", hint="check the path"
        ) from None
    if len(data) > MAX_FILE:
        raise PackageConfigError(
            f"{path} is larger than {MAX_FILE} bytes", hint="this is no configuration"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise PackageConfigError(f"{path} is not UTF-8 text", hint="save it as UTF-8") from None
    return load_text(text, str(path), variables=variables, options=options)


def load_text(
    text: str,
    file: str,
    *,
    variables: Mapping[str, str] | None = None,
    options: Iterable[str] = (),
) -> Loaded:
    """Read a configuration; see ``load_file``.

    Raises:
        PackageConfigError, ConfigError, YamlError: with file, line and column.
    """
    document = yaml12.load(text, file)
    raw = {} if document.value is None else document.value
    if not isinstance(raw, dict):
        raise PackageConfigError(
            f"{document.place(())}: a package configuration is a mapping, this is a "
            f"{type(raw).__name__}",
            hint="start with 'package:'",
        )
    chosen = _option_variables(raw, document, options)
    known = resolve(document, {**chosen, **(variables or {})})
    subpackages, origins = _expand(raw, document, known)
    if subpackages is not None:
        raw = {**raw, "subpackages": subpackages}
    expanded = _Expanded(document.value, document.places, document.file, origins)
    value = walk(raw, known, _LITERAL)
    try:
        config = PackageConfiguration.model_validate(value, by_alias=True, by_name=False)
    except ValidationError as error:
        raise explain(error, expanded, PackageConfiguration) from None
    _check_names(config, expanded)
    values = {n.removeprefix("vars."): v for n, v in known.items() if n.startswith("vars.")}
    config = config.model_copy(update={"vars": values})
    environment = with_defaults(_with_options(config, options))
    config = config.model_copy(update={"environment": environment})
    return Loaded(config, known, expanded, text)


def _check_names(config: PackageConfiguration, document: _Expanded) -> None:
    """No two packages of one configuration share a name, unless conditions choose among them."""
    taken = {config.package.name: document.place(("package", "name"))}
    for number, subpackage in enumerate(config.subpackages):
        place = document.place(("subpackages", number, "name"))
        if subpackage.name in taken and not subpackage.if_:
            raise PackageConfigError(
                f"{place}: the name {subpackage.name!r} is taken by the package at "
                f"{taken[subpackage.name]}",
                hint="give the subpackage a name of its own",
            )
        taken.setdefault(subpackage.name, place)


def with_defaults(environment: ImageConfiguration) -> ImageConfiguration:
    """A guest's configuration with the build user and the variables that caches are found by."""
    accounts = environment.accounts
    users, groups = list(accounts.users), list(accounts.groups)
    if all(user.username != BUILD_USER for user in users):
        users.append(User(username=BUILD_USER, uid=BUILD_ID, gid=BUILD_ID, homedir=HOME))
    if all(group.groupname != BUILD_USER for group in groups):
        groups.append(Group(groupname=BUILD_USER, gid=BUILD_ID, members=[BUILD_USER]))
    return environment.model_copy(
        update={
            "accounts": Accounts(**{"run-as": accounts.run_as}, users=users, groups=groups),
            "environment": {**DEFAULT_ENVIRONMENT, **environment.environment},
        }
    )


def _option_variables(
    raw: dict[str, Any], document: yaml12.Document, options: Iterable[str]
) -> dict[str, str]:
    """Variables that the chosen build options set."""
    defined = raw.get("options")
    defined = defined if isinstance(defined, dict) else {}
    result: dict[str, str] = {}
    for name in options:
        if name not in defined:
            raise PackageConfigError(
                f"{document.file} has no build option {name!r}",
                hint=f"it has {', '.join(sorted(defined)) or 'none'}",
            )
        values = (defined[name] or {}).get("vars") if isinstance(defined[name], dict) else None
        if isinstance(values, dict):
            result |= {key: as_text(value) for key, value in values.items()}
    return result


def _with_options(config: PackageConfiguration, options: Iterable[str]) -> ImageConfiguration:
    """The guest with the changes of the chosen build options."""
    environment = config.environment
    packages = list(environment.contents.packages)
    for name in options:
        change = config.options[name].environment.contents.packages
        packages = [item for item in packages if item not in change.remove]
        packages += [item for item in change.add if item not in packages]
    contents = environment.contents.model_copy(update={"packages": packages})
    return environment.model_copy(update={"contents": contents})


def _expand(
    raw: dict[str, Any], document: yaml12.Document, known: Mapping[str, str]
) -> tuple[list[Any] | None, tuple[int, ...]]:
    """Subpackages with one entry for each item of a range, and which entry each came from."""
    subpackages = raw.get("subpackages")
    if not isinstance(subpackages, list):
        return None, ()
    ranges = _ranges(raw.get("data"), document)
    result: list[Any] = []
    origins: list[int] = []
    for number, item in enumerate(subpackages):
        entries = [item]
        if isinstance(item, dict) and item.get("range"):
            name = as_text(item["range"])
            if name not in ranges:
                place = document.place(("subpackages", number, "range"))
                raise PackageConfigError(
                    f"{place}: there is no data named {name!r}",
                    hint=f"'data' has {', '.join(sorted(ranges)) or 'nothing'}",
                )
            entries = [_ranged(item, *pair, known) for pair in sorted(ranges[name].items())]
        result += entries
        origins += [number] * len(entries)
        if len(result) > MAX_SUBPACKAGES:
            place = document.place(("subpackages", number))
            raise PackageConfigError(f"{place}: more than {MAX_SUBPACKAGES} subpackages")
    return result, tuple(origins)


def _ranges(data: Any, document: yaml12.Document) -> dict[str, dict[str, str]]:
    result: dict[str, dict[str, str]] = {}
    for number, item in enumerate(data if isinstance(data, list) else []):
        if not isinstance(item, dict):
            continue
        name, items = as_text(item.get("name")), item.get("items")
        if name in result:
            place = document.place(("data", number))
            raise PackageConfigError(
                f"{place}: there are two data named {name!r}", hint="give one another name"
            )
        result[name] = (
            {key: as_text(value) for key, value in items.items()} if isinstance(items, dict) else {}
        )
    return result


def _ranged(item: dict[str, Any], key: str, value: str, known: Mapping[str, str]) -> Any:
    """One subpackage of a range."""
    names = {"range.key": walk(key, known), "range.value": walk(value, known)}

    def bound(part: Any) -> Any:
        if isinstance(part, dict):
            return {
                k: bind(v, names) if k == "if" and isinstance(v, str) else bound(v)
                for k, v in part.items()
            }
        if isinstance(part, list):
            return [bound(p) for p in part]
        return walk(part, names)

    return {**bound({k: v for k, v in item.items() if k != "range"})}

"""Where the registry of an ecosystem is, as its own client was told on this machine."""

from __future__ import annotations

import configparser
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from plimsoll.builder.convert.draft import ConvertError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_MAX_FILE = 1 << 20


@dataclass(frozen=True, slots=True)
class Machine:
    """What is set on a machine.

    Attributes:
        environment: variables.
        home: the user's folder.
        system: ``/etc``.
    """

    environment: Mapping[str, str]
    home: Path
    system: Path = field(default_factory=lambda: Path("/etc"))

    def first(self, *names: str) -> str:
        """The first of some variables that is set."""
        return next((self.environment[n] for n in names if self.environment.get(n)), "")

    def config_home(self) -> Path:
        """Where programs keep their settings."""
        return Path(self.environment.get("XDG_CONFIG_HOME") or self.home / ".config")


def find_index(kind: str, given: str, machine: Machine) -> str:
    """The address of a registry, without a slash at its end.

    Args:
        kind: ``python``, ``npm``, ``gem``, ``go`` or ``crate``.
        given: what the command line says; goes before everything.
        machine: where clients were told.

    Raises:
        ConvertError: nobody was told.
    """
    finder, told = _FINDERS[kind]
    url = given or finder(machine)
    if not url.startswith(("http://", "https://", "sparse+http")):
        raise ConvertError(
            f"it is not known which registry to ask for a project of the kind {kind!r}"
            + (f": {url!r} is no address" if url else ""),
            hint=f"give --index-url, or set {told}",
        )
    return url.removeprefix("sparse+").rstrip("/")


def _pip(machine: Machine) -> str:
    if url := machine.first("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        return url
    files = [
        Path(machine.environment.get("PIP_CONFIG_FILE", "")),
        machine.config_home() / "pip/pip.conf",
        machine.home / ".pip/pip.conf",
        machine.system / "pip.conf",
    ]
    for text in _texts(files):
        parser = configparser.RawConfigParser(strict=False)
        try:
            parser.read_string(text)
        except configparser.Error:
            continue
        if url := parser.get("global", "index-url", fallback=""):
            return url.strip()
    return ""


def _npm(machine: Machine) -> str:
    if url := machine.first("npm_config_registry", "NPM_CONFIG_REGISTRY"):
        return url
    own = machine.first("npm_config_userconfig", "NPM_CONFIG_USERCONFIG")
    for text in _texts([Path(own or machine.home / ".npmrc"), machine.system / "npmrc"]):
        for line in text.splitlines():
            name, equals, value = line.partition("=")
            if equals and name.strip() == "registry":
                return value.strip().strip("\"'")
    return ""


def _gem(machine: Machine) -> str:
    if url := machine.first("RUBYGEMS_HOST"):
        return url
    files = [machine.home / ".gemrc", machine.config_home() / "gem/gemrc", machine.system / "gemrc"]
    for text in _texts(files):
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            continue
        if not isinstance(value, dict):
            continue
        # Ruby writes the key as a symbol.
        sources = value.get(":sources") or value.get("sources") or []
        if isinstance(sources, list) and sources:
            return str(sources[0])
    return ""


def _go(machine: Machine) -> str:
    value = machine.first("GOPROXY")
    if not value:
        file = machine.environment.get("GOENV") or machine.config_home() / "go/env"
        for text in _texts([Path(file)]):
            for line in text.splitlines():
                if line.startswith("GOPROXY="):
                    value = line.partition("=")[2].strip()
    choices = value.replace("|", ",").split(",")
    return next((item for item in choices if item.startswith("http")), "")


def _cargo(machine: Machine) -> str:
    home = Path(machine.environment.get("CARGO_HOME") or machine.home / ".cargo")
    for text in _texts([home / "config.toml", home / "config"]):
        try:
            value = tomllib.loads(text)
        except tomllib.TOMLDecodeError:
            continue
        name, sources = "crates-io", _table(value, "source")
        for _ in range(len(sources) + 1):
            source = _table(sources, name)
            if registry := source.get("registry"):
                return str(registry)
            if "replace-with" not in source:
                break
            name = str(source["replace-with"])
        registries = _table(value, "registries")
        chosen = str(_table(value, "registry").get("default") or name)
        if index := _table(registries, chosen).get("index"):
            return str(index)
    return ""


def _table(value: dict[str, Any], name: str) -> dict[str, Any]:
    found = value.get(name)
    return found if isinstance(found, dict) else {}


def _texts(paths: Iterable[Path]) -> Iterable[str]:
    for path in paths:
        try:
            with path.open("rb") as file:
                yield file.read(_MAX_FILE).decode(errors="replace")
        except OSError:
            continue


_FINDERS: dict[str, tuple[Callable[[Machine], str], str]] = {
    "python": (_pip, "PIP_INDEX_URL (or index-url in pip.conf)"),
    "npm": (_npm, "npm_config_registry (or registry in .npmrc)"),
    "gem": (_gem, "RUBYGEMS_HOST (or :sources: in .gemrc)"),
    "go": (_go, "GOPROXY"),
    "crate": (_cargo, "a sparse registry in .cargo/config.toml"),
}
KINDS = tuple(_FINDERS)

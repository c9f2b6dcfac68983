"""The configuration that a package carries along (``.melange.yaml`` in its control section)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from plimsoll.apk.gz import inflate_member
from plimsoll.apk.tarfmt import TarReader
from plimsoll.builder.sca.model import Options
from plimsoll.yaml12 import YamlError, load

if TYPE_CHECKING:
    from pathlib import Path

    from plimsoll.apk.package import Package

_NAME = ".melange.yaml"


@dataclass(frozen=True, slots=True)
class Embedded:
    """What a configuration says of one of its packages.

    Attributes:
        options: what the dependency scan leaves out.
        runtime: declared dependencies.
        provides: declared further names.
        disabled: linters that do not count.
        test_uses: pipelines that its test uses.
    """

    options: Options = field(default_factory=Options)
    runtime: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()
    disabled: frozenset[str] = frozenset()
    test_uses: frozenset[str] = frozenset()


def read_embedded(path: Path, package: Package) -> Embedded | None:
    """The part of the embedded configuration that is about the package itself.

    Returns:
        ``None`` if the package carries none, or one that says nothing of it.

    Raises:
        OSError: the file cannot be read.
    """
    if _NAME not in package.control_files:
        return None
    with path.open("rb") as file:
        file.seek(package.control.start)
        packed = file.read(package.control.end - package.control.start)
    what = f"the control section of {path}"
    content, _ = inflate_member(memoryview(packed), what, package.limits.control)
    for entry in TarReader([content], what):
        if entry.header.name == _NAME:
            return _about(_load(bytes(entry.read())), package.info.name)
    return None


def _load(text: bytes) -> Any:
    # It was written by whatever built the package, so nothing in it is taken for granted.
    try:
        return load(text.decode(errors="replace"), _NAME).value
    except YamlError:
        return None


def _about(configuration: Any, name: str) -> Embedded | None:
    package = _mapping(configuration, "package")
    if package.get("name") == name:
        section, test = package, _mapping(configuration, "test")
    else:
        others = _items(configuration, "subpackages")
        section = next((s for s in others if s.get("name") == name), {})
        test = _mapping(section, "test")
    if not section:
        return None
    options, dependencies = _mapping(section, "options"), _mapping(section, "dependencies")
    return Embedded(
        options=Options(
            no_provides=options.get("no-provides") is True,
            no_depends=options.get("no-depends") is True,
            no_commands=options.get("no-commands") is True,
            no_versioned_shlib_deps=options.get("no-versioned-shlib-deps") is True,
        ),
        runtime=_texts(dependencies, "runtime"),
        provides=_texts(dependencies, "provides"),
        disabled=frozenset(_texts(_mapping(section, "checks"), "disabled")),
        test_uses=frozenset(
            step["uses"] for step in _items(test, "pipeline") if isinstance(step.get("uses"), str)
        ),
    )


def _get(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def _mapping(value: Any, key: str) -> dict[Any, Any]:
    found = _get(value, key)
    return found if isinstance(found, dict) else {}


def _items(value: Any, key: str) -> list[dict[Any, Any]]:
    found = _get(value, key)
    return [i for i in found if isinstance(i, dict)] if isinstance(found, list) else []


def _texts(value: Any, key: str) -> tuple[str, ...]:
    found = _get(value, key)
    return tuple(i for i in found if isinstance(i, str)) if isinstance(found, list) else ()

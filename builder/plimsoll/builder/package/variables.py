"""Variables of a configuration, each resolved after those it uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plimsoll.builder.package.errors import PackageConfigError
from plimsoll.builder.package.regex import replace
from plimsoll.builder.package.substitute import references, replace_known

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from plimsoll.yaml12 import Document

    Rule = tuple[str, Callable[[str], str]]

_FIELDS = ("name", "version", "description", "epoch")


def as_text(value: Any) -> str:
    """A scalar as it was written; nothing is the empty text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return str(getattr(value, "raw", value))


def resolve(document: Document, overrides: Mapping[str, str] | None = None) -> dict[str, str]:
    """Every variable that is known before a build: ``package.…`` and ``vars.…``.

    Args:
        document: the configuration as it was parsed.
        overrides: variables that go before those of the configuration.

    Raises:
        PackageConfigError: variables use each other in a circle, or a transform is not valid.
    """
    return _Resolver(document, overrides or {}).all()


class _Resolver:
    def __init__(self, document: Document, overrides: Mapping[str, str]) -> None:
        self._document = document
        self._texts: dict[str, str] = {}
        self._paths: dict[str, tuple[str | int, ...]] = {}
        self._transforms: dict[str, tuple[str, str]] = {}
        self._done: dict[str, str] = {}
        raw = document.value if isinstance(document.value, dict) else {}
        package = raw.get("package")
        package = package if isinstance(package, dict) else {}
        for field in _FIELDS:
            default = 0 if field == "epoch" else ""
            self._define(f"package.{field}", package.get(field, default), ("package", field))
        self._define("package.full-version", "${{package.version}}-r${{package.epoch}}", ())
        values = raw.get("vars")
        for name, value in (values if isinstance(values, dict) else {}).items():
            self._define(f"vars.{name}", value, ("vars", name))
        self._read_transforms(raw.get("var-transforms"))
        for name, value in overrides.items():
            self._transforms.pop(f"vars.{name}", None)
            self._define(f"vars.{name}", value, ("vars", name))

    def all(self) -> dict[str, str]:
        for name in self._texts:
            self._resolve(name, [])
        return self._done

    def _define(self, name: str, value: Any, path: tuple[str | int, ...]) -> None:
        if isinstance(value, dict | list):
            return
        self._texts[name] = as_text(value)
        self._paths[name] = path

    def _read_transforms(self, items: Any) -> None:
        for number, item in enumerate(items if isinstance(items, list) else []):
            if not isinstance(item, dict) or not isinstance(item.get("to"), str):
                continue
            name = f"vars.{item['to']}"
            self._define(name, item.get("from"), ("var-transforms", number))
            self._transforms[name] = (as_text(item.get("match")), as_text(item.get("replace")))

    def _resolve(self, name: str, users: list[str]) -> str:
        if name in self._done:
            return self._done[name]
        if name in users:
            circle = " → ".join((*users[users.index(name) :], name))
            raise PackageConfigError(
                f"{self._place(name)}: variables use each other in a circle: {circle}",
                hint="give one of them a value of its own",
            )
        text = self._texts[name]
        for used in references(text):
            if used in self._texts:
                self._resolve(used, [*users, name])
        try:
            value = replace_known(text, self._done)
            if name in self._transforms:
                value = replace(*self._transforms[name], value)
        except PackageConfigError as error:
            raise PackageConfigError(
                f"{self._place(name)}: {error.message}", hint=error.hint
            ) from None
        self._done[name] = value
        return value

    def _place(self, name: str) -> str:
        return str(self._document.place(self._paths[name]))

"""Readers of package configurations, and of what other ecosystems write about themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.arch import Arch
from plimsoll.builder.convert import apkbuild
from plimsoll.builder.convert.draft import write
from plimsoll.builder.convert.python import listed_files
from plimsoll.builder.package.compile import compile_package
from plimsoll.builder.package.library import Library
from plimsoll.builder.package.load import load_text
from plimsoll.builder.package.show import to_yaml
from plimsoll.builder.vendored.specifications import composer, gem

if TYPE_CHECKING:
    from collections.abc import Callable

_LIBRARY = Library()


def package_configuration(data: bytes) -> None:
    """A package configuration; what it compiles to is one too."""
    compiled = compile_package(load_text(_text(data), "x.yaml"), _LIBRARY, Arch.AMD64)
    load_text(to_yaml(compiled.config), "compiled.yaml")


def apkbuild_file(data: bytes) -> None:
    """An APKBUILD; what is made of it is a package configuration."""
    load_text(write(apkbuild.convert(_text(data)), "x"), "x.yaml")


def specifications(data: bytes) -> None:
    """What gems and Composer leave behind."""
    text = _text(data)
    gem(text)
    list(composer(text))


def python_index(data: bytes) -> None:
    """A project's page of a Python package index."""
    for item in listed_files(data, "https://example.org/simple/x/"):
        assert isinstance(item, dict)


def _text(data: bytes) -> str:
    return data.decode(errors="replace")


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__.replace("_", "-"): target
    for target in (package_configuration, apkbuild_file, specifications, python_index)
}

"""A configuration as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from plimsoll.builder.package.model import PackageConfiguration


class _Dumper(yaml.CSafeDumper):
    """Keeps several lines as a block that a person can read."""

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


def _represent_text(dumper: yaml.CSafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def to_plain(config: PackageConfiguration) -> dict[str, Any]:
    """The configuration as dicts and lists, without what is default."""
    value: dict[str, Any] = config.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return value


def to_yaml(config: PackageConfiguration) -> str:
    """The configuration as YAML that can be read again."""
    plain = to_plain(config)
    text: str = yaml.dump(plain, Dumper=_Dumper, sort_keys=False, width=4096, allow_unicode=True)
    return text


def record(config: PackageConfiguration) -> str:
    """A configuration as its packages carry it: without what only this machine can read.

    Repositories and keys that are files of this machine are left out; packages would differ from
    one place to the other, and tell about it.
    """
    contents = config.environment.contents
    names = ("keyring", "repositories", "build_repositories")
    kept = {name: [item for item in getattr(contents, name) if "://" in item] for name in names}
    contents = contents.model_copy(update=kept)
    environment = config.environment.model_copy(update={"contents": contents})
    return to_yaml(config.model_copy(update={"environment": environment}))

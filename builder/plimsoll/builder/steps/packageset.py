"""Configurations: from their sources to something that every later step can build from."""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from plimsoll.apk.version import Constraint, Version
from plimsoll.builder.package.compile import compile_package
from plimsoll.builder.package.edit import Editor
from plimsoll.builder.package.errors import PackageConfigError
from plimsoll.builder.package.library import Library
from plimsoll.builder.package.load import load_text
from plimsoll.builder.package.show import to_yaml
from plimsoll.builder.package.targets import architectures
from plimsoll.builder.steps.packagedecide import Item
from plimsoll.builder.steps.packagefiles import Files, SourceTreeError, fingerprint, write_folder
from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plimsoll.api.packagerequest import PackageRequest
    from plimsoll.arch import Arch
    from plimsoll.builder.package.compile import Compiled
    from plimsoll.builder.package.load import Loaded
    from plimsoll.builder.package.model import Subpackage
    from plimsoll.builder.package.packagemodel import Package

#: Part of every inputs hash: what is made of the same configuration changes with it.
FORMAT = 1
MAX_CONFIGURATIONS = 5000
_SUFFIX = ".yaml"


@dataclass(frozen=True, slots=True)
class Configuration:
    """One package configuration with everything that belongs to it.

    Attributes:
        path: its file, relative to the source.
        text: as it is written.
        files: what its steps find in their workspace.
        pipelines: ``A/B.yaml`` → file; go before the built-in ones.
        repository: URL of the Git repository that it comes from, or empty.
        commit: its commit there.
        signer: who signed that, if somebody had to.
    """

    path: str
    text: str
    files: Files = field(default_factory=dict)
    pipelines: Files = field(default_factory=dict)
    repository: str = ""
    commit: str = ""
    signer: dict[str, str] | None = None

    def with_epoch(self, epoch: int, written: int) -> Configuration:
        """The configuration with another epoch than the written one; every other byte stays.

        Raises:
            PackageConfigError: it has no place for one.
        """
        if epoch == written:
            return self
        editor = Editor(self.text, self.path)
        try:
            editor.set(("package", "epoch"), str(epoch))
        except PackageConfigError as error:
            raise PackageConfigError(
                f"{error.message}, which must become {epoch}",
                hint="write 'epoch: 0' under 'package:', on a line of its own",
            ) from None
        return replace(self, text=editor.result())


def flat(files: Files, what: str) -> list[Configuration]:
    """Configurations of a flat set of files, as a ConfigMap is one.

    Raises:
        SourceTreeError: it has none.
    """
    pipelines: Files = {}
    texts: dict[str, str] = {}
    others: Files = {}
    for name, item in files.items():
        if name.startswith("pipelines.") and name.endswith(_SUFFIX):
            inner = name.removeprefix("pipelines.").removesuffix(_SUFFIX)
            pipelines[f"{inner.replace('.', '/')}{_SUFFIX}"] = item
        elif name.endswith(_SUFFIX):
            texts[name] = _text(item.content, f"{what}: {name}")
        else:
            others[name] = item
    _require(texts, what)
    return [Configuration(name, text, others, pipelines) for name, text in texts.items()]


def tree(
    files: Files,
    what: str,
    *,
    repository: str = "",
    commit: str = "",
    signer: dict[str, str] | None = None,
) -> list[Configuration]:
    """Configurations of a tree, whose top has ``*.yaml`` and ``pipelines/``.

    A folder of the name of a configuration holds its files.

    Raises:
        SourceTreeError: it has none.
    """
    pipelines = _below(files, "pipelines")
    found = [
        Configuration(
            name,
            _text(item.content, f"{what}: {name}"),
            _below(files, name.removesuffix(_SUFFIX)),
            pipelines,
            repository,
            commit,
            signer,
        )
        for name, item in files.items()
        if "/" not in name and name.endswith(_SUFFIX) and not name.startswith(".")
        if not item.target
    ]
    _require(found, what)
    return found


def _below(files: Files, folder: str) -> Files:
    prefix = f"{folder}/"
    return {
        name.removeprefix(prefix): item for name, item in files.items() if name.startswith(prefix)
    }


def _require(found: Any, what: str) -> None:
    if not found:
        raise SourceTreeError(
            f"{what} has no package configuration", hint="configurations end in .yaml"
        )


def _text(content: bytes, what: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SourceTreeError(f"{what} is not UTF-8 text", hint="save it as UTF-8") from None


class Libraries:
    """The pipelines of configurations, written and read once for all that share them."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._known: dict[int, tuple[Files, Library]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def of(self, configuration: Configuration) -> Library:
        """The pipelines that a configuration may use."""
        files = configuration.pipelines
        # Configurations of one source share the very object, which is kept here so that its
        # identity is not given to another one.
        known = self._known.get(id(files))
        if known is not None:
            return known[1]
        library = Library()
        if files:
            folder = tempfile.TemporaryDirectory(prefix="plimsoll-pipelines-")
            place = Path(self._stack.enter_context(folder))
            write_folder(files, place)
            library = Library([place])
        self._known[id(files)] = files, library
        return library


def compiled_for(
    configuration: Configuration,
    request: PackageRequest,
    arch: Arch,
    libraries: Libraries | None = None,
) -> Compiled:
    """Compile a configuration for one architecture.

    Raises:
        PackageConfigError: with file, line and column.
    """
    loaded = _load(configuration, request)
    with contextlib.ExitStack() as stack:
        pipelines = libraries or stack.enter_context(Libraries())
        library = pipelines.of(configuration)
        return compile_package(loaded, library, arch, options=_options(loaded, request))


def _load(configuration: Configuration, request: PackageRequest) -> Loaded:
    """Build options that a configuration does not have are passed over: they are for others."""
    plain = load_text(configuration.text, configuration.path)
    options = _options(plain, request)
    return load_text(configuration.text, configuration.path, options=options) if options else plain


def _options(loaded: Loaded, request: PackageRequest) -> list[str]:
    return [name for name in request.build_options if name in loaded.config.options]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is wanted of one architecture: item and configuration by origin."""

    items: dict[str, Item]
    configurations: dict[str, Configuration]


def wanted(
    configurations: Sequence[Configuration], request: PackageRequest, archs: Sequence[Arch]
) -> dict[Arch, Wanted]:
    """Compile everything.

    Raises:
        PackageConfigError: a configuration is not valid, or two make the same package.
    """
    if len(configurations) > MAX_CONFIGURATIONS:
        raise SourceTreeError(f"there are more than {MAX_CONFIGURATIONS} configurations")
    result = {arch: Wanted({}, {}) for arch in archs}
    makers: dict[tuple[Arch, str], Configuration] = {}
    with Libraries() as libraries:
        for configuration in configurations:
            config = load_text(configuration.text, configuration.path).config
            written = config.package
            Version.parse(written.full_version)
            base = configuration.with_epoch(0, written.epoch)
            hashed = _common(configuration, request)
            for arch in architectures(config, [a.apk for a in archs]):
                compiled = compiled_for(base, request, arch, libraries)
                for name in compiled.scripts:
                    other = makers.setdefault((arch, name), configuration)
                    if other is not configuration:
                        raise PackageConfigError(
                            f"{other.path} and {configuration.path} both make the package {name}",
                            hint="a package belongs to one configuration",
                        )
                one = result[arch]
                one.items[written.name] = _item(compiled, written.epoch, hashed)
                one.configurations[written.name] = configuration
    return result


def _common(configuration: Configuration, request: PackageRequest) -> list[Any]:
    return [
        FORMAT,
        fingerprint(configuration.files),
        configuration.path,
        request.distribution,
        request.source_date_epoch,
    ]


def _item(compiled: Compiled, epoch: int, common: list[Any]) -> Item:
    main = compiled.config.package
    text = json.dumps([*common, compiled.arch.apk, to_yaml(compiled.config)])
    parts: list[Package | Subpackage] = [main, *compiled.config.subpackages]
    return Item(
        name=main.name,
        version=main.version,
        epoch=epoch,
        inputs=hashlib.sha256(text.encode()).hexdigest(),
        offers=names([*compiled.scripts, *(p for x in parts for p in x.dependencies.provides)]),
        needs=names(compiled.guest.contents.packages),
        wants=names(
            [
                *(p for x in parts for p in x.dependencies.runtime),
                *(p for t in compiled.tests.values() for p in t.environment.contents.packages),
            ]
        ),
    )


def names(constraints: Sequence[str]) -> frozenset[str]:
    """The names that constraints are about; what is no constraint is left to the solver."""
    found = set()
    for text in constraints:
        with contextlib.suppress(Error):
            constraint = Constraint.read(text)
            if not constraint.negated:
                found.add(constraint.name)
    return frozenset(found)

"""From the files that a build left to a package."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from plimsoll.apk.packageinfo import PackageInfo
from plimsoll.apk.tarfmt import Type
from plimsoll.apk.writer import PackageFile, write_package
from plimsoll.builder.licence_check import declared_expression
from plimsoll.builder.linters.lint import Checks, lint
from plimsoll.builder.linters.model import LintFacts, Severity
from plimsoll.builder.package import filecaps
from plimsoll.builder.package.errors import PackageConfigError
from plimsoll.builder.package.sbom import Described, package_sbom
from plimsoll.builder.sca.model import Facts, Options
from plimsoll.builder.sca.scan import scan
from plimsoll.builder.vendored.inventory import inventory
from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from plimsoll.apk.index import IndexEntry
    from plimsoll.apk.keys import SigningKey
    from plimsoll.builder.linters.model import Finding
    from plimsoll.builder.package.compile import Compiled
    from plimsoll.builder.package.model import Subpackage
    from plimsoll.builder.package.packagemodel import Package, Scriptlets
    from plimsoll.builder.package.sbom import Origin
    from plimsoll.builder.sca.tree import Entry, Tree

SBOM_FOLDER = "var/lib/db/sbom"


class LintError(Error):
    """A package that must not be published as it is."""

    reason = "LintFailed"


@dataclass(frozen=True, slots=True)
class Emission:
    """What is the same for all packages of a build.

    Attributes:
        compiled: the configuration.
        origin: where it comes from.
        configuration: its text for ``.melange.yaml``.
        epoch: date of the packages, seconds since the epoch.
        namespace: the distribution; names the maintainer and stands in package URLs.
        commit: of the configuration.
        key: signs packages.
        library_versions: soname → version of the package it was linked from.
        require: linters whose findings are errors; ``None`` for the usual ones.
        warn: linters whose findings are warnings.
        say: gets notes and warnings.
        found: gets the name of the package and each finding of its linters.
        strip_origin: packages do not say what they are subpackages of.
    """

    compiled: Compiled
    origin: Origin
    configuration: str
    epoch: int = 0
    namespace: str = ""
    commit: str = ""
    key: SigningKey | None = None
    library_versions: Mapping[str, str] | None = None
    require: Sequence[str] | None = None
    warn: Sequence[str] | None = None
    say: Callable[[str], None] = print
    found: Callable[[str, Finding], None] = lambda _name, _finding: None
    strip_origin: bool = False


def emit(
    emission: Emission,
    part: Package | Subpackage,
    trees: Mapping[str, Tree],
    folder: Path,
) -> IndexEntry:
    """Lint, scan and write one package.

    Args:
        emission: what is the same for all packages of the build.
        part: the package or subpackage.
        trees: name → files of every package of the build.
        folder: where the package is written.

    Returns:
        Its entry for an index.

    Raises:
        LintError: a linter that must pass does not.
        PackageConfigError: a capability is not valid, or its file is not there.
    """
    main = emission.compiled.config.package
    tree = trees[part.name]
    _lint(emission, part, tree)
    options = part.options
    facts = Facts(
        part.name,
        main.full_version,
        tuple(part.dependencies.runtime),
        Options(
            options.no_provides,
            options.no_depends,
            options.no_commands,
            options.no_versioned_shlib_deps,
        ),
        emission.library_versions or {},
    )
    relatives = [other for name, other in trees.items() if name != part.name]
    found = scan(tree, facts, relatives)
    for note in found.notes:
        emission.say(f"{part.name}: {note}")
    found = found.settled(part.dependencies.runtime, part.dependencies.provides)
    licence = declared_expression(item.license for item in main.copyright)
    info = PackageInfo(
        name=part.name,
        version=main.full_version,
        arch=emission.compiled.arch.apk,
        origin="" if emission.strip_origin else main.name,
        description=" ".join(part.description.split()),
        url=part.url or main.url,
        commit=part.commit or main.commit or emission.commit,
        maintainer=emission.namespace,
        licenses=(licence,) if licence else (),
        depends=found.runtime,
        provides=found.provides,
        replaces=tuple(sorted(set(part.dependencies.replaces))),
        vendored=found.vendored,
        provider_priority=part.dependencies.provider_priority,
        replaces_priority=part.dependencies.replaces_priority,
        triggers=tuple(part.scriptlets.trigger.paths),
    )
    sbom = package_sbom(
        _described(emission, part, licence),
        emission.origin,
        emission.compiled.sources,
        inventory(tree),
        epoch=emission.epoch,
    )
    path = f"{SBOM_FOLDER}/{part.name}-{main.full_version}.spdx.json"
    files = [*_files(tree, _capabilities(part, tree)), PackageFile(path, content=sbom, mtime=None)]
    return write_package(
        folder / f"{part.name}-{main.full_version}.apk",
        info,
        files,
        scripts=_scripts(part.scriptlets),
        control_files={".melange.yaml": emission.configuration.encode()},
        key=emission.key,
        source_date_epoch=emission.epoch,
    )


def _described(emission: Emission, part: Package | Subpackage, licence: str) -> Described:
    main = emission.compiled.config.package
    return Described(
        name=part.name,
        version=main.full_version,
        upstream=main.version,
        arch=emission.compiled.arch.apk,
        license=licence,
        cpe=main.cpe.bind(main.version),
        namespace=emission.namespace or "unknown",
    )


def _lint(emission: Emission, part: Package | Subpackage, tree: Tree) -> None:
    config = emission.compiled.config
    test = config.test if part is config.package else getattr(part, "test", None)
    facts = LintFacts(
        name=part.name,
        version=config.package.full_version,
        arch=emission.compiled.arch,
        no_provides=part.options.no_provides,
        test_uses=frozenset(step.uses for step in test.pipeline if step.uses)
        if test
        else frozenset(),
    )
    checks = Checks.choose(emission.require, emission.warn, part.checks.disabled)
    findings = lint(tree, facts, checks)
    for finding in findings:
        emission.say(f"{part.name}: {_shown(finding)}")
        emission.found(part.name, finding)
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    if errors:
        lines = "\n".join(f"  {_shown(finding)}" for finding in errors[:20])
        raise LintError(
            f"{part.name} must not be published as it is:\n{lines}",
            hint="correct the build, or name the linter under 'checks: disabled:'",
        )


def _shown(finding: Finding) -> str:
    place = f" {finding.path}" if finding.path else ""
    return f"{finding.linter} ({finding.severity.value}):{place} {finding.message}"


def _files(tree: Tree, capabilities: Mapping[str, bytes]) -> Iterator[PackageFile]:
    first: dict[tuple[int, int], str] = {}
    for entry in tree:
        yield _file(tree, entry, first, capabilities.get(entry.path))


def _file(
    tree: Tree, entry: Entry, first: dict[tuple[int, int], str], capability: bytes | None
) -> PackageFile:
    kind, link = entry.type, entry.linkname
    if kind is Type.FILE:
        original = first.setdefault(entry.identity, entry.path)
        if original != entry.path:
            kind, link = Type.HARDLINK, original
    # A build has one owner, who is root in the package; times are those of the sources.
    xattrs = {k: v for k, v in entry.xattrs.items() if k.startswith("user.")}
    if capability is not None:
        xattrs[filecaps.ATTRIBUTE] = capability
    return PackageFile(
        path=entry.path,
        type=kind,
        mode=entry.mode,
        content=_content(tree, entry) if kind is Type.FILE else b"",
        linkname=link,
        mtime=None,
        xattrs=xattrs,
    )


def _content(tree: Tree, entry: Entry) -> bytes | Path:
    root = getattr(tree, "root", None)
    if root is not None:
        path: Path = root / entry.path
        return path
    with entry.open() as source:
        return source.read()


def _capabilities(part: Package | Subpackage, tree: Tree) -> dict[str, bytes]:
    result = {}
    for item in part.setcap:
        path = item.path.strip("/")
        entry = tree.get(path)
        if entry is None or entry.type is not Type.FILE:
            raise PackageConfigError(
                f"setcap of {part.name}: there is no file {item.path}",
                hint="the path is that in the package",
            )
        result[path] = filecaps.encode(item.add)
    return result


def _scripts(scriptlets: Scriptlets) -> dict[str, bytes]:
    names = {
        ".pre-install": scriptlets.pre_install,
        ".post-install": scriptlets.post_install,
        ".pre-deinstall": scriptlets.pre_deinstall,
        ".post-deinstall": scriptlets.post_deinstall,
        ".pre-upgrade": scriptlets.pre_upgrade,
        ".post-upgrade": scriptlets.post_upgrade,
        ".trigger": scriptlets.trigger.script,
    }
    return {name: text.encode() for name, text in names.items() if text}

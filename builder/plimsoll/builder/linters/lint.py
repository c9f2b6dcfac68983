"""Running the linters."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from plimsoll.builder.linters import content, paths
from plimsoll.builder.linters.model import Finding, Linter, LintFacts, Severity
from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import Iterable

    from plimsoll.builder.sca.tree import Tree

_COMPAT = ("-compat",)
_TO_COMPAT = "Move it, or make this a -compat package."
_TO_DOC = "Move it to a -doc package (split/manpages, split/alldocs), or remove it."
_ALL = (
    Linter(
        "binaryarch", Severity.WARNING,
        "Remove programs for other processors than amd64, arm64 and the package's own.",
        content.binaryarch,
    ),
    Linter(
        "cudaruntimelib", Severity.WARNING,
        "The host brings the driver's libraries into the container, and a copy in the image hides "
        "them. To link or check against one, use a package with a stub.",
        paths.cuda,
    ),
    Linter(
        "dev", Severity.ERROR,
        "Nothing in /dev survives the start of a container. Remove it, or let udev make the node.",
        paths.below("dev"),
    ),
    Linter("dll", Severity.WARNING, "Remove libraries of Windows.",
           paths.ending(".dll", "a Windows library")),
    Linter("documentation", Severity.IGNORED, _TO_DOC, paths.documentation),
    Linter("duplicate", Severity.WARNING, "Make all but one of them links.", content.duplicate),
    Linter("dylib", Severity.WARNING, "Remove libraries of macOS.", paths.dylib),
    Linter(
        "empty", Severity.IGNORED,
        "Look why the build makes no files; if that is right, set no-provides.", paths.empty,
    ),
    Linter("infodir", Severity.ERROR, "Remove it (split/infodir).", paths.infodir),
    Linter("lddcheck", Severity.WARNING, "Add test/ldd-check to the package's test.",
           paths.lddcheck),
    Linter(
        "libtool/la-files", Severity.ERROR,
        "Remove libtool archives; if something needs them, disable this linter.",
        paths.ending(".la", "a libtool archive"),
    ),
    Linter("maninfo", Severity.WARNING, _TO_DOC, paths.maninfo),
    Linter("nonlinux", Severity.WARNING, "Remove what is for other systems.", paths.nonlinux),
    Linter("object", Severity.WARNING, "Remove what the compiler left behind.",
           paths.ending(".o", "an object file")),
    Linter("opt", Severity.WARNING, _TO_COMPAT, paths.below("opt", exempt=_COMPAT)),
    Linter("pkgconf", Severity.WARNING, "Add test/pkgconf to the package's test.", paths.pkgconf),
    Linter("python/docs", Severity.WARNING,
           "Remove it: it has the name of a module that any package could bring.",
           content.python_docs),
    Linter(
        "python/multiple", Severity.WARNING,
        "Make a package of each module; pip install may have brought dependencies along.",
        content.python_multiple,
    ),
    Linter("python/test", Severity.WARNING,
           "Remove it: it has the name of a module that any package could bring.",
           content.python_test),
    Linter("sbom", Severity.WARNING, "Remove it: the build writes the package's SBOM.", paths.sbom),
    Linter(
        "setuidgid", Severity.ERROR,
        "Take the bit away (chmod), or disable this linter if the program needs it.",
        paths.setuidgid,
    ),
    Linter("srv", Severity.WARNING, _TO_COMPAT, paths.below("srv", exempt=_COMPAT)),
    Linter(
        "staticarchive", Severity.WARNING, "Move it to a -dev or -static package (split/static).",
        paths.ending(".a", "a static archive", exempt=("-dev", "-static")),
    ),
    Linter("strip", Severity.WARNING, "Add the strip pipeline, or split/debug.", content.strip),
    Linter(
        "tempdir", Severity.ERROR,
        "Remove it in the build; for a directory below /run add a file to /usr/lib/tmpfiles.d.",
        paths.tempdir,
    ),
    Linter(
        "unsupportedarch", Severity.WARNING,
        "Remove what is for other processors than amd64, arm64 and the package's own.",
        paths.unsupportedarch,
    ),
    Linter("usrlocal", Severity.WARNING, _TO_COMPAT, paths.below("usr/local", exempt=_COMPAT)),
    Linter("usrmerge", Severity.ERROR,
           "Install programs to /usr/bin and libraries to /usr/lib.", paths.usrmerge),
    Linter("varempty", Severity.ERROR, "Leave /var/empty empty.", paths.below("var/empty")),
    Linter(
        "worldwrite", Severity.ERROR,
        "Take the right away (chmod o-w), or make this a -compat package.", paths.worldwrite,
    ),
)  # fmt: skip

#: Name → linter, sorted by name.
LINTERS = {linter.name: linter for linter in _ALL}


class UnknownLinterError(Error):
    """A name that is no linter."""

    reason = "UnknownLinter"


@dataclass(frozen=True, slots=True)
class Checks:
    """Which linters run, and what their findings mean.

    Attributes:
        require: linters whose findings are errors.
        warn: linters whose findings are warnings.
        disabled: ``checks.disabled`` of this package: its errors become warnings. Each package of a
            build has its own.
    """

    require: frozenset[str] = frozenset(n for n, x in LINTERS.items() if x.severity.name == "ERROR")
    warn: frozenset[str] = frozenset(n for n, x in LINTERS.items() if x.severity.name == "WARNING")
    disabled: frozenset[str] = frozenset()

    @classmethod
    def choose(
        cls,
        require: Iterable[str] | None = None,
        warn: Iterable[str] | None = None,
        disabled: Iterable[str] = (),
    ) -> Checks:
        """The default linters, or those that are given; ``require`` wins over ``warn``.

        Raises:
            UnknownLinterError: ``require`` or ``warn`` names no linter.
        """
        default = cls()
        required = default.require if require is None else frozenset(require)
        warned = default.warn if warn is None else frozenset(warn)
        for name in sorted(required | warned):
            if name not in LINTERS:
                near = difflib.get_close_matches(name, LINTERS, n=1)
                raise UnknownLinterError(
                    f"there is no linter {name!r}",
                    hint=f"did you mean {near[0]}?" if near else f"use one of {', '.join(LINTERS)}",
                )
        return cls(required, warned - required, frozenset(disabled))

    def severity(self, name: str) -> Severity:
        """What the findings of a linter mean."""
        if name in self.require:
            return Severity.WARNING if name in self.disabled else Severity.ERROR
        return Severity.WARNING if name in self.warn else Severity.IGNORED


def lint(tree: Tree, facts: LintFacts, checks: Checks | None = None) -> list[Finding]:
    """Run the linters on one package.

    Returns:
        Findings by linter and path.

    Raises:
        OSError: a file cannot be read.
    """
    checks = checks or Checks()
    findings = [
        Finding("checks", Severity.WARNING, "", f"disables {name!r}, which is no linter")
        for name in sorted(checks.disabled - LINTERS.keys())
    ]
    for name, linter in LINTERS.items():
        severity = checks.severity(name)
        if severity is not Severity.IGNORED:
            findings += [
                Finding(name, severity, path, message)
                for path, message in linter.check(tree, facts)
            ]
    return findings

"""Modules of Python, Ruby and Perl: the interpreter they are for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from plimsoll.apk.tarfmt import Type

if TYPE_CHECKING:
    from plimsoll.builder.sca.model import Facts, Findings
    from plimsoll.builder.sca.tree import Tree

_PYTHON = re.compile(r"(?:^|/)python([0-9]+\.[0-9]+)/site-packages$", re.ASCII)
_RUBY = re.compile(r"usr/lib/ruby/gems/([0-9]+\.[0-9]+)\.[0-9]+/gems", re.ASCII)
_PERL = re.compile(r"usr/(?:lib|share)/perl([0-9]+)/.+\.(?:pm|pl|so)", re.ASCII)


def scan_languages(tree: Tree, facts: Facts, out: Findings) -> None:
    """Need ``python-X.Y-base``, ``ruby-X.Y`` and ``perl~N``, unless the package declares its own.

    The directory that modules lie in says which version they are for.
    """
    python = not any(need.startswith("python") for need in facts.runtime)
    ruby = not any(re.match(r"ruby(-|$)", need) for need in facts.runtime)
    perl = not any(re.match(r"perl([=<>~]|$)", need) for need in facts.runtime)
    for entry in tree:
        path = entry.path
        if entry.type is Type.DIRECTORY:
            if python and path.endswith("/site-packages") and (match := _PYTHON.search(path)):
                out.runtime.add(f"python-{match[1]}-base")
            elif ruby and path.endswith("/gems") and (match := _RUBY.fullmatch(path)):
                out.runtime.add(f"ruby-{match[1]}")
        elif perl and "/perl" in path and (match := _PERL.fullmatch(path)):
            out.runtime.add(f"perl~{match[1]}")

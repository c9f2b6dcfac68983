"""Dependency resolution: which packages a request means.

``resolve`` and ``resolve_all`` are pure: the same request and indexes give the same packages in
the same order. The meaning of names, versions, ``provides``, ``!name`` and ``@tag`` stands in
``relations``; ``docs/adr/0005-dependency-solver.md`` says why this is our own code.
"""

from plimsoll.apk.solver.model import (
    Edge,
    PackageNotFoundError,
    Resolution,
    UnsatisfiableError,
    normalise_world,
)
from plimsoll.apk.solver.relations import Candidate, RepositoryIndex
from plimsoll.apk.solver.resolve import resolve, resolve_all

__all__ = [
    "Candidate",
    "Edge",
    "PackageNotFoundError",
    "RepositoryIndex",
    "Resolution",
    "UnsatisfiableError",
    "normalise_world",
    "resolve",
    "resolve_all",
]

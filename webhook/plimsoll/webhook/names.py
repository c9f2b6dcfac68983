"""An image under every name that a policy's glob may use for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.oci.reference import DEFAULT_REGISTRY

if TYPE_CHECKING:
    from plimsoll.oci.reference import Reference


def qualified(reference: Reference) -> str:
    """The full name: ``index.docker.io/library/nginx:latest``, or ``…@sha256:…`` without tag."""
    if reference.digest is not None:
        return f"{reference.name}@{reference.digest}"
    return f"{reference.name}:{reference.tag or 'latest'}"


def spellings(reference: Reference) -> tuple[str, ...]:
    """All names of one image, the full one first.

    What a policy says about an image must not depend on how the pod spells it, so a glob that
    matches any of these matches all: with and without ``:latest``, and for Docker Hub with
    ``index.docker.io``, ``docker.io`` or nothing, with and without ``library/``.
    """
    suffixes = [qualified(reference).removeprefix(reference.name)]
    if reference.digest is not None and reference.tag is not None:
        suffixes.append(f":{reference.tag}@{reference.digest}")
    if reference.digest is None and reference.tag in {None, "latest"}:
        suffixes.append("")
    names = [reference.name]
    if reference.registry == DEFAULT_REGISTRY:
        paths = [reference.repository]
        if reference.repository.startswith("library/"):
            paths.append(reference.repository.removeprefix("library/"))
        names += [f"docker.io/{path}" for path in paths] + paths
    return tuple(name + suffix for name in names for suffix in suffixes)

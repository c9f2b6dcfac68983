"""Image references: the grammar of the distribution project, normalised as docker does."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Final

from plimsoll.oci.digest import check_digest
from plimsoll.oci.errors import InvalidReferenceError

#: The registry that a reference without one means.
DEFAULT_REGISTRY: Final = "index.docker.io"
_DOCKER_ALIASES = frozenset({"docker.io", DEFAULT_REGISTRY, "registry-1.docker.io"})

_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]{{1,5}})?", re.ASCII)
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*", re.ASCII)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)
_NAME_LIMIT = 255


@dataclass(frozen=True, slots=True)
class Reference:
    """One image, artifact or repository in a registry.

    Attributes:
        registry: host with optional port, as it is spoken to.
        repository: path below the registry.
        tag: the tag, or ``None``.
        digest: the digest, or ``None``. Where both are set, the digest decides.
    """

    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str, *, default_tag: str | None = "latest") -> Reference:
        """Read a reference as docker does: ``nginx`` is ``index.docker.io/library/nginx:latest``.

        Args:
            text: ``[HOST[:PORT]/]PATH[:TAG][@DIGEST]``.
            default_tag: the tag where neither tag nor digest is given.

        Raises:
            InvalidReferenceError: saying which part is wrong and how it should be.
        """
        if not text or text != text.strip():
            raise InvalidReferenceError(
                f"{text!r} is no image reference: it is empty or has spaces around it",
                hint="write it as registry.example/team/app:tag",
            )
        _refuse_scheme(text)
        rest, at, digest = text.partition("@")
        found_digest = _checked_digest(text, digest) if at else None
        slash, colon = rest.rfind("/"), rest.rfind(":")
        tag: str | None = None
        if colon > slash:
            rest, tag = rest[:colon], rest[colon + 1 :]
            check_tag(tag)
        registry, repository = _split_name(text, rest)
        if tag is None and found_digest is None:
            tag = default_tag
        return cls(registry, repository, tag, found_digest)

    @classmethod
    def repository_of(cls, text: str) -> Reference:
        """Read ``HOST/PATH`` that must have neither tag nor digest.

        Raises:
            InvalidReferenceError: for anything else.
        """
        reference = cls.parse(text, default_tag=None)
        if reference.tag is not None or reference.digest is not None:
            raise InvalidReferenceError(
                f"{text!r} names an image, but a repository is wanted",
                hint=f"write {reference.name}",
            )
        return reference

    @property
    def name(self) -> str:
        """``registry/repository``."""
        return f"{self.registry}/{self.repository}"

    @property
    def identifier(self) -> str:
        """What the manifest is asked for by: the digest, else the tag, else ``latest``."""
        return self.digest or self.tag or "latest"

    def with_tag(self, tag: str) -> Reference:
        """The same repository with this tag and no digest."""
        check_tag(tag)
        return dataclasses.replace(self, tag=tag, digest=None)

    def with_digest(self, digest: str) -> Reference:
        """The same repository with this digest and no tag."""
        return dataclasses.replace(self, tag=None, digest=check_digest(digest))

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag is not None else ""
        digest = f"@{self.digest}" if self.digest is not None else ""
        return f"{self.name}{tag}{digest}"


def check_tag(tag: str) -> str:
    """Return ``tag`` unchanged.

    Raises:
        InvalidReferenceError: if it is no tag.
    """
    if _TAG.fullmatch(tag) is None:
        raise InvalidReferenceError(
            f"{tag[:140]!r} is no tag",
            hint="a tag has up to 128 letters, digits, '_', '.' and '-' and does not start with "
            "'.' or '-'",
        )
    return tag


def is_loopback(host: str) -> bool:
    """Whether ``host`` (with or without port) names this machine."""
    name = host[: host.index("]") + 1] if host.startswith("[") else host.partition(":")[0]
    return (
        name in {"localhost", "[::1]"}
        or name.endswith(".localhost")
        or re.fullmatch(r"127(?:\.[0-9]{1,3}){3}", name, re.ASCII) is not None
    )


def _checked_digest(text: str, digest: str) -> str:
    try:
        return check_digest(digest)
    except InvalidReferenceError as error:
        raise InvalidReferenceError(
            f"{_shown(text)} is no image reference: {error.message}", hint=error.hint
        ) from None


def _refuse_scheme(text: str) -> None:
    scheme, separator, rest = text.partition("://")
    if separator:
        raise InvalidReferenceError(
            f"{_shown(text)} is an address, not an image reference",
            hint=f"leave out {scheme[:20]}://" if rest else None,
        )


def _split_name(text: str, name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    is_host = slash and (
        first == "localhost" or any(c in first for c in ".:[") or first != first.lower()
    )
    registry, path = (first, rest) if is_host else (DEFAULT_REGISTRY, name)
    if is_host and _HOST.fullmatch(registry) is None:
        raise InvalidReferenceError(
            f"{_shown(text)} is no image reference: {registry[:60]!r} is no registry host",
            hint="a host is letters, digits, '-' and '.', with an optional :port",
        )
    if registry in _DOCKER_ALIASES:
        registry = DEFAULT_REGISTRY
        if path and "/" not in path:
            path = f"library/{path}"
    for component in path.split("/"):
        if _COMPONENT.fullmatch(component) is None:
            raise InvalidReferenceError(
                f"{_shown(text)} is no image reference: {_why_component(component)}",
                hint="a repository is lower-case letters and digits, separated by '.', '_', '__', "
                "'-' and '/'",
            )
    if len(registry) + 1 + len(path) > _NAME_LIMIT:
        raise InvalidReferenceError(
            f"{_shown(text)} is no image reference: the name is over {_NAME_LIMIT} characters"
        )
    return registry, path


def _why_component(component: str) -> str:
    if not component:
        return "a part of the repository is empty"
    if _COMPONENT.fullmatch(component.lower()) is not None:
        return f"{component[:60]!r} has capital letters"
    return f"{component[:60]!r} is no part of a repository"


def _shown(text: str) -> str:
    return repr(text if len(text) <= 120 else f"{text[:117]}...")

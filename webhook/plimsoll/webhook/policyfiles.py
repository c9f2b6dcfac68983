"""Policies in files, as people write them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from plimsoll.api.meta import GROUP, VERSION
from plimsoll.api.policy import SIGSTORE_GROUP, SIGSTORE_VERSIONS
from plimsoll.api.policycheck import PolicyInvalidError, read_spec
from plimsoll.api.trustroot import read_trust_root_spec
from plimsoll.errors import Error
from plimsoll.webhook.admission import read
from plimsoll.webhook.errors import BadReviewError
from plimsoll.webhook.needs import rules_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from plimsoll.webhook.admission import Review
    from plimsoll.webhook.rules.engines import Engines

_VERSIONS = {
    f"{GROUP}/{VERSION}",
    *(f"{SIGSTORE_GROUP}/{version}" for version in SIGSTORE_VERSIONS),
}
_MAX_FILE = 16 * 1024 * 1024


class PolicyFileError(Error):
    """A file that holds no policy, or one that is not valid."""

    reason = "InvalidPolicy"


@dataclass(frozen=True, slots=True)
class PolicyObject:
    """One object of a file."""

    source: str
    """File and place, for messages."""

    group: str
    kind: str
    name: str
    spec: Any

    def check(self, engines: Engines | None = None) -> list[str]:
        """What is wrong with it; empty if nothing is.

        Args:
            engines: try the rules that stand in it, in the languages that are spoken here.
        """
        try:
            if self.kind == "TrustRoot":
                read_trust_root_spec(self.spec)
                return []
            model = read_spec(self.spec)
        except PolicyInvalidError as error:
            return error.problems
        return [
            f"invalid value: {path}.data: it is no rule in {rule.type}: {fault}"
            for path, rule in rules_of(model)
            if engines is not None and rule.type and rule.data and not engines.lack(rule.type)
            if (fault := engines.check(rule.type, rule.data))
        ]

    def beyond(self, engines: Engines) -> list[str]:
        """What a valid policy asks for that cannot be done here, so that it refuses."""
        if self.kind == "TrustRoot":
            return []
        return [
            f"{path}.type: {lack}"
            for path, rule in rules_of(read_spec(self.spec))
            if rule.type and (lack := engines.lack(rule.type))
        ]


def read_objects(path: Path) -> list[PolicyObject]:
    """Read every policy and trust root of a YAML or JSON file; ``-`` is standard input.

    Raises:
        PolicyFileError: it cannot be read, or has no such object, or something else in it.
    """
    found = [_object(document, place) for document, place in _documents(path)]
    if not found:
        raise PolicyFileError(f"{path} has no object in it")
    return found


def read_resource(path: Path) -> Review:
    """A Kubernetes object that names images, as the webhook would be asked about it.

    Raises:
        PolicyFileError: it cannot be read, or is of no kind that names images.
    """
    found = list(_documents(path))
    if len(found) != 1 or not isinstance(found[0][0], dict):
        raise PolicyFileError(f"{path} does not hold exactly one Kubernetes object")
    item = found[0][0]
    group, _, version = str(item.get("apiVersion", "")).rpartition("/")
    kind = {"group": group, "version": version, "kind": str(item.get("kind", ""))}
    metadata = item.get("metadata")
    namespace = metadata.get("namespace") if isinstance(metadata, dict) else None
    request = {
        "uid": "trial",
        "kind": kind,
        "operation": "CREATE",
        "namespace": namespace or "default",
        "object": item,
        "userInfo": {"username": "trial"},
    }
    try:
        return read(
            {
                "apiVersion": "admission.k8s.io/v1",
                "kind": "AdmissionReview",
                "request": request,
            }
        )
    except BadReviewError as error:
        raise PolicyFileError(f"{path}: {error.message}") from None


def _documents(path: Path) -> Iterator[tuple[Any, str]]:
    try:
        data = sys.stdin.buffer.read(_MAX_FILE) if str(path) == "-" else path.read_bytes()
        documents = [one for one in yaml.safe_load_all(data.decode()) if one is not None]
    except OSError as error:
        raise PolicyFileError(f"{path} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise PolicyFileError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    items: list[Any] = []
    for document in documents:
        is_list = isinstance(document, dict) and isinstance(document.get("items"), list)
        items += document["items"] if is_list else [document]
    for number, item in enumerate(items, 1):
        yield item, str(path) if len(items) == 1 else f"{path} (object {number})"


def _object(document: Any, source: str) -> PolicyObject:
    if not isinstance(document, dict):
        raise PolicyFileError(f"{source} is no Kubernetes object")
    version, kind = str(document.get("apiVersion", "")), str(document.get("kind", ""))
    if version not in _VERSIONS or kind not in {"ClusterImagePolicy", "ImagePolicy", "TrustRoot"}:
        raise PolicyFileError(
            f"{source} is a {kind or 'nothing'} of {version or 'no version'}",
            hint=f"a ClusterImagePolicy or TrustRoot of {GROUP}/{VERSION} is expected",
        )
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return PolicyObject(
        source, version.partition("/")[0], kind, str(name or "unnamed"), document.get("spec")
    )

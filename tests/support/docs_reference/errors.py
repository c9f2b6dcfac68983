"""``reference/errors.md``: every ``reason`` that an error may carry."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import TYPE_CHECKING

import yaml

import plimsoll
from docs_reference.api import CRDS
from docs_reference.markdown import NOTE, code, prose, table
from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import Iterator

ADVICE = CRDS.parent / "docs" / "reference" / "advice.yaml"

_HEAD = """# Reasons

Every error has a `reason`, one CamelCase word. It stands in the conditions and events of an object,
in the result of a step, and in the log. The sentence beside it says what happened and where; most
have a hint that says what to do.

"Tried again" means that the same thing may succeed later with nothing changed: a step exits with
status 1, its Job runs it again, and the operator starts a new build later. All others exit with
status 3 and end the build at once, until something is changed. "depends" means that each error
knows (an HTTP status of 429 or 503 passes, one of 404 stays).

The reasons that only the operator sets are in [](../operator.md).
"""


def render() -> str:
    """The page."""
    advice: dict[str, str] = yaml.safe_load(ADVICE.read_text())
    rows = []
    for reason, classes in sorted(by_reason().items()):
        meanings = dict.fromkeys(_meaning(one) for one in classes)
        again = {_retried(one) for one in classes}
        rows.append(
            [
                code(reason),
                " / ".join(prose(text) for text in meanings if text),
                again.pop() if len(again) == 1 else "depends",
                advice.get(reason, "See the hint of the message."),
            ]
        )
    head = ["reason", "meaning", "tried again", "what to do"]
    return f"{NOTE}\n{_HEAD}\n{table(head, rows)}"


def by_reason() -> dict[str, list[type[Error]]]:
    """Reason → the errors that carry it."""
    found: dict[str, list[type[Error]]] = {}
    for one in _all():
        found.setdefault(one.reason, []).append(one)
    return found


def _all() -> Iterator[type[Error]]:
    """Every error of ours, in a stable order."""
    for module in pkgutil.walk_packages(plimsoll.__path__, "plimsoll."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    known: dict[str, type[Error]] = {}
    waiting: list[type[Error]] = [Error]
    while waiting:
        for one in waiting.pop().__subclasses__():
            if one.__module__.startswith("plimsoll."):
                known[f"{one.__module__}.{one.__qualname__}"] = one
                waiting.append(one)
    for name in sorted(known):
        # ``Error`` itself is no reason; a class that inherits it says its reason when it is made.
        if known[name].reason != Error.reason:
            yield known[name]


def _meaning(one: type[Error]) -> str:
    return (inspect.getdoc(one) or "").split("\n\n")[0].replace("\n", " ")


def _retried(one: type[Error]) -> str:
    if any("self.retryable =" in inspect.getsource(k) for k in _ours(one)):
        return "depends"
    return "yes" if one.retryable else "no"


def _ours(one: type[Error]) -> Iterator[type[Error]]:
    """The error and those of ours that it derives from, without the base of all."""
    return (k for k in one.__mro__ if issubclass(k, Error) and k is not Error)

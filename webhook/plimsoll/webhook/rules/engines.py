"""The engines of the policy languages, each asked whether a document satisfies a rule.

CEL comes with us; Rego and CUE are evaluated by the programs of their own projects, ``opa`` and
``cue``, where the image has them: what a rule means is then what it means to everybody else.
"""

from __future__ import annotations

import io
import json
import shutil
import sys
import tarfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any, Final, Literal, Protocol

from plimsoll.webhook.rules.process import EngineError, Finished, memory_file, run

Language = Literal["cel", "cue", "rego"]

#: Seconds that one evaluation may take.
SECONDS: Final = 2.0
#: Seconds that a rule may take to be checked, when its policy changes.
CHECK_SECONDS: Final = 5.0
#: Bytes of a document that a rule is asked about.
DOCUMENT_LIMIT: Final = 32 << 20
#: Built-in functions of Rego that reach out of the process.
_DENIED: Final = frozenset({"http.send", "net.lookup_ip_addr", "opa.runtime"})
_SHOWN: Final = 300
_QUERY: Final = "data.sigstore.isCompliant"


class Engine(Protocol):
    """Evaluates rules of one language; safe to use from several threads."""

    def check(self, text: str) -> str:
        """Why a text is no rule, or nothing."""

    def judge(self, text: str, document: bytes) -> str:
        """Why a JSON document does not satisfy a rule; nothing if it does.

        Raises:
            EngineError: there is no answer.
        """


@dataclass(frozen=True, slots=True)
class Cel:
    """Common Expression Language: an expression that must give ``true``.

    The members of the document are its variables; ``input`` is the whole.
    """

    def check(self, text: str) -> str:
        """See ``Engine``."""
        return self._run("check", text, b"", CHECK_SECONDS)

    def judge(self, text: str, document: bytes) -> str:
        """See ``Engine``."""
        return self._run("judge", text, document, SECONDS)

    def _run(self, what: str, text: str, document: bytes, seconds: float) -> str:
        program = Path(__file__).with_name("celprogram.py")
        with memory_file(text.encode()) as file:
            place = f"/dev/fd/{file.fileno()}"
            ended = run([sys.executable, "-I", program, what, place], document, seconds, [file])
        if ended.status:
            raise EngineError(_last_line(ended.errors) or "the engine failed")
        return _short(ended.output.decode(errors="replace"))


@dataclass(frozen=True, slots=True)
class Rego:
    """Rego, by ``opa``: ``data.sigstore.isCompliant`` must be ``true``.

    It may also be a set of objects with ``result``, ``error`` and ``warning``, as policy-controller
    has it. Functions that reach the network or the environment do not exist.

    Attributes:
        program: ``opa``, of the Open Policy Agent.
    """

    program: Path

    def check(self, text: str) -> str:
        """See ``Engine``."""
        ended = self._eval(text, "true", b"{}", CHECK_SECONDS)
        return "" if ended.status == 0 else _rego_errors(ended)

    def judge(self, text: str, document: bytes) -> str:
        """See ``Engine``."""
        ended = self._eval(text, _QUERY, document, SECONDS)
        if ended.status:
            raise EngineError(_rego_errors(ended))
        try:
            results = json.loads(ended.output).get("result", [])
            values = [one["expressions"][0]["value"] for one in results]
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise EngineError("opa said what cannot be read") from error
        return _compliance(values[0] if values else None)

    def _eval(self, text: str, query: str, document: bytes, seconds: float) -> Finished:
        with memory_file(_bundle(text)) as bundle, memory_file(_allowed(self.program)) as allowed:
            argv: list[str | Path] = [self.program, "eval", "--format=json", "--v0-compatible"]
            argv += ["--strict-builtin-errors=false", "--stdin-input"]
            argv += ["--capabilities", f"/dev/fd/{allowed.fileno()}"]
            argv += ["--bundle", f"/dev/fd/{bundle.fileno()}", query]
            return run(argv, document, seconds, [bundle, allowed])


@dataclass(frozen=True, slots=True)
class Cue:
    """CUE, by ``cue vet``: the document and the rule must be one value without a conflict.

    Attributes:
        program: ``cue``, of the CUE project.
    """

    program: Path

    def check(self, text: str) -> str:
        """See ``Engine``."""
        ended = run([self.program, "vet", "-c=false", "cue:", "-"], text.encode(), CHECK_SECONDS)
        return _short(ended.errors) if ended.status else ""

    def judge(self, text: str, document: bytes) -> str:
        """See ``Engine``."""
        with memory_file(document) as file:
            place = f"/dev/fd/{file.fileno()}"
            argv = [str(self.program), "vet", "-c=false", "cue:", "-", "json:", place]
            ended = run(argv, text.encode(), SECONDS, [file])
        return _short(ended.errors) or "it is refused" if ended.status else ""


@dataclass(frozen=True, slots=True)
class Engines:
    """The engines that are there, at most four evaluations at once.

    Attributes:
        opa: the program; ``None`` if the image has none.
        cue: likewise.
    """

    opa: Path | None = None
    cue: Path | None = None
    _slots: BoundedSemaphore = field(default_factory=lambda: BoundedSemaphore(4), repr=False)

    @classmethod
    def found(cls) -> Engines:
        """The engines of this machine: programs are looked for in ``$PATH``."""
        opa, cue = shutil.which("opa"), shutil.which("cue")
        return cls(Path(opa) if opa else None, Path(cue) if cue else None)

    def lack(self, language: Language) -> str:
        """Why rules of a language cannot be evaluated here; nothing if they can."""
        missing = {"rego": ("opa", self.opa), "cue": ("cue", self.cue)}.get(language)
        if missing is None or missing[1] is not None:
            return ""
        return f"rules in {language} need the program {missing[0]}, which is not in this image"

    def check(self, language: Language, text: str) -> str:
        """Why a text is no rule of a language, or nothing."""
        try:
            with self._slots:
                return self._engine(language).check(text)
        except EngineError as error:
            return str(error)

    def judge(self, language: Language, text: str, document: bytes) -> str:
        """Why a JSON document does not satisfy a rule; nothing if it does."""
        if len(document) > DOCUMENT_LIMIT:
            return f"it has {len(document)} bytes, more than a rule is asked about"
        try:
            with self._slots:
                return self._engine(language).judge(text, document)
        except EngineError as error:
            return f"the rule could not be evaluated: {error}"

    def _engine(self, language: Language) -> Engine:
        if language == "cel":
            return Cel()
        if language == "rego" and self.opa is not None:
            return Rego(self.opa)
        if language == "cue" and self.cue is not None:
            return Cue(self.cue)
        raise EngineError(self.lack(language))


def _bundle(text: str) -> bytes:
    """A policy bundle: ``opa`` knows by its name only what a loose file is."""
    holder = io.BytesIO()
    with tarfile.open(fileobj=holder, mode="w:gz", compresslevel=1) as archive:
        for name, data in ((".manifest", b'{"roots":[""]}'), ("rule.rego", text.encode())):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return holder.getvalue()


@cache
def _allowed(program: Path) -> bytes:
    """What ``opa`` can do, without what reaches out."""
    ended = run([program, "capabilities", "--current"], b"", CHECK_SECONDS)
    try:
        found: dict[str, Any] = json.loads(ended.output)
        found["builtins"] = [one for one in found["builtins"] if one["name"] not in _DENIED]
    except (ValueError, LookupError, TypeError) as error:
        raise EngineError("opa does not say what it can do") from error
    return json.dumps(found | {"allow_net": []}).encode()


def _compliance(value: Any) -> str:
    if value is True:
        return ""
    if not isinstance(value, list):
        return "isCompliant is not true"
    reasons: list[str] = []
    for one in value:
        if not isinstance(one, dict):
            return "isCompliant holds something that is no object"
        if one.get("result") is True:
            return ""
        reasons.append(str(one.get("error") or ""))
    return _short("; ".join(filter(None, reasons))) or "isCompliant is not true"


def _rego_errors(ended: Finished) -> str:
    try:
        errors = json.loads(ended.output)["errors"]
        lines = [
            f"line {one['location']['row']}: {one['message']}"
            if one.get("location", {}).get("row")
            else str(one["message"])
            for one in errors
        ]
    except (ValueError, LookupError, TypeError, AttributeError):
        lines = [_last_line(ended.errors) or "opa failed"]
    return _short("; ".join(lines))


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return _short(lines[-1]) if lines else ""


def _short(text: str) -> str:
    line = " ".join(text.split())
    printable = "".join(c for c in line if c.isprintable())
    return printable if len(printable) <= _SHOWN else f"{printable[: _SHOWN - 3]}..."

"""What the container of an image runs."""

from __future__ import annotations

import difflib
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, Strict, model_validator

from plimsoll.api.base import PlainSection, misplaced
from plimsoll.api.meta import Duration, parse_duration
from plimsoll.api.scalars import CommandLine, Text, Value

#: signal(7). ``SIGRTMIN`` and ``SIGRTMAX`` may have a number behind them.
_SIGNALS = (
    *("SIGABRT", "SIGALRM", "SIGBUS", "SIGCHLD", "SIGCONT", "SIGFPE", "SIGHUP", "SIGILL"),
    *("SIGINT", "SIGIO", "SIGKILL", "SIGPIPE", "SIGPOLL", "SIGPROF", "SIGPWR", "SIGQUIT"),
    *("SIGRTMAX", "SIGRTMIN", "SIGSEGV", "SIGSTKFLT", "SIGSTOP", "SIGSYS", "SIGTERM", "SIGTRAP"),
    *("SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGURG", "SIGUSR1", "SIGUSR2", "SIGVTALRM", "SIGWINCH"),
    *("SIGXCPU", "SIGXFSZ"),
)


def _signal(text: str) -> str:
    name = re.sub(r"(?<=SIGRTMIN)\+[0-9]+$|(?<=SIGRTMAX)-[0-9]+$", "", _full(text))
    if not text or name in _SIGNALS or re.fullmatch(r"[1-9][0-9]?", text):
        return text
    near = difflib.get_close_matches(name, _SIGNALS, n=1)
    advice = f"did you mean {near[0]!r}?" if near else "write one such as SIGTERM"
    raise ValueError(f"{text!r} is no signal: {advice}")


def _full(text: str) -> str:
    return f"SIG{text.upper().removeprefix('SIG')}"


Signal = Annotated[Text, AfterValidator(_signal)]
"""A signal by name (``SIGTERM``, ``TERM``, ``SIGRTMIN+3``) or number."""


def _duration(value: Any) -> Any:
    text = getattr(value, "raw", value)
    if isinstance(text, str):
        parse_duration(text)
    return text


Interval = Annotated[Duration, BeforeValidator(_duration)]
"""A ``Duration``, with words about what is none."""


class Entrypoint(PlainSection):
    """What the container runs."""

    type: Literal["", "service-bundle"] = ""
    """``service-bundle`` runs ``services`` under s6."""

    command: CommandLine = ""
    """Command line, split as a shell would."""

    shell_fragment: Text = Field(default="", alias="shell-fragment")
    """Shell text run by ``/bin/sh -c``; wins over ``command``."""

    services: dict[str, Value] = {}
    """Service name → command line, for ``service-bundle``."""

    @model_validator(mode="after")
    def _check(self) -> Entrypoint:
        for name in self.services:
            if "/" in name or name in {"", ".", ".."}:
                raise misplaced(
                    f"{name!r} cannot be the name of a service, which is that of a folder",
                    "services",
                    name,
                )
        return self


class Healthcheck(PlainSection):
    """How Docker finds out whether the container works. Kubernetes has probes of its own."""

    command: CommandLine = ""
    """Command line, split as a shell would; exit status 0 is healthy."""

    shell_fragment: Text = Field(default="", alias="shell-fragment")
    """Shell text, run by the image's shell; in place of ``command``."""

    interval: Interval = "30s"
    """Time between two checks."""

    timeout: Interval = "30s"
    """How long one check may take."""

    start_period: Interval = Field(default="0s", alias="start-period")
    """How long failures do not count after the start."""

    retries: Annotated[int, Strict(), Field(ge=1, le=1000)] = 3
    """How many failures in a row make the container unhealthy."""

    @model_validator(mode="after")
    def _check(self) -> Healthcheck:
        if bool(self.command) == bool(self.shell_fragment):
            raise ValueError("a healthcheck needs one of command, shell-fragment")
        return self

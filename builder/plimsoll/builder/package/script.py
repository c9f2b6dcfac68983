"""A compiled step: exactly what is run."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Shells of a guest, in the order of preference; a script needs one that knows ``pipefail``.
SHELLS = (("/bin/sh",), ("/bin/bash",), ("/bin/busybox", "sh"))
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Script:
    """One shell script of a build.

    Attributes:
        name: what a person calls it.
        text: shell text without preparation.
        working_directory: absolute path in the guest; made if it is not there.
        environment: variables on top of the guest's.
        network: whether it may use the network without being asked.
        label: a name to stop or resume at.
    """

    name: str
    text: str
    working_directory: str
    environment: Mapping[str, str] = field(default_factory=dict)
    network: bool = False
    label: str = ""

    def shell(self, *, trace: bool = False) -> str:
        """The whole script for one of ``SHELLS`` with ``-c``; the first failure ends it.

        Args:
            trace: print each command before it runs.
        """
        where = shlex.quote(self.working_directory)
        return (
            f"set -e{'x' if trace else ''}o pipefail\n"
            f"[ -d {where} ] || mkdir -p {where}\n"
            f"cd {where}\n"
            f"{self.text}\n\n"
            "exit 0\n"
        )

"""The program of a build or test image: it runs all steps, each in a shell of its own.

The guest needs no more than a shell that knows ``pipefail`` and ``env``. Every step has exactly
the variables that it has under bubblewrap: what a cluster adds to the environment is cleared.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from plimsoll.builder.package.script import PATH, SHELLS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plimsoll.builder.package.script import Script

FOLDER = ".plimsoll"
PROGRAM = f"/{FOLDER}/run"
GIT_CONFIG = f"/{FOLDER}/gitconfig"

_HEAD = """\
#!/bin/sh
set -eu
umask 022
cd /
shell=
for candidate in {shells}; do
  # shellcheck disable=SC2086 # a program and its arguments
  if $candidate -c 'set -o pipefail' 2>/dev/null; then shell=$candidate; break; fi
done
if [ -z "$shell" ]; then
  echo "the guest has no shell that knows 'pipefail': add busybox or bash to its packages" >&2
  exit 3
fi
status=0
"""
_STEP = """\
echo {name}
# shellcheck disable=SC2086 # a program and its arguments
env -i {environment} $shell /{folder}/steps/{number} </dev/null 2>&1 || status=$?
if [ "$status" != 0 ]; then
  echo {failed}", with status $status"
  exit "$status"
fi
"""


def program(
    scripts: Sequence[tuple[str, Script]],
    environment: Mapping[str, str],
    *,
    made: Sequence[str] = (),
    gitconfig: bool = False,
) -> dict[str, bytes]:
    """Files of the program, by their paths in ``/.plimsoll``.

    Args:
        scripts: name of the package, and its script, in order.
        environment: of all steps.
        made: directories that are made before.
        gitconfig: whether fetch steps read ``GIT_CONFIG``.
    """
    shells = " ".join(shlex.quote(" ".join(shell)) for shell in SHELLS)
    parts = [_HEAD.format(shells=shells)]
    if made:
        parts.append(f"mkdir -p {' '.join(map(shlex.quote, made))}\n")
    files: dict[str, bytes] = {}
    for number, (name, script) in enumerate(scripts):
        more = {"GIT_CONFIG_GLOBAL": GIT_CONFIG} if gitconfig and script.network else {}
        values = {"PATH": PATH, **environment, **more, **script.environment}
        shown = f"{name}: {script.name}"
        files[f"steps/{number:04}"] = script.shell().encode()
        parts.append(
            _STEP.format(
                name=shlex.quote(shown),
                environment=" ".join(shlex.quote(f"{key}={item}") for key, item in values.items()),
                folder=FOLDER,
                number=f"{number:04}",
                failed=shlex.quote(f"the step {shown!r} failed"),
            )
        )
    files["run"] = "".join(parts).encode()
    return files

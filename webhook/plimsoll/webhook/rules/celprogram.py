"""The process that evaluates one expression of CEL; see ``plimsoll.webhook.rules.engines``.

Says on its standard output why not; nothing means that it holds. Only what it needs is imported:
it starts for every evaluation.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any


def engine() -> Any:
    """The native module of the engine, without the command line that its package imports."""
    package = importlib.util.find_spec("cel")
    for folder in (package.submodule_search_locations or ()) if package else ():
        for file in Path(folder).glob("cel.*so"):
            spec = importlib.util.spec_from_file_location("cel", file)
            if spec is not None and spec.loader is not None:
                module = importlib.util.module_from_spec(spec)
                spec.loader.exec_module(module)
                return module
    raise SystemExit("the engine of CEL is not installed")


def main(what: str, file: str) -> str:
    """``check`` or ``judge`` the rule in a file; the answer."""
    text = Path(file).read_text()
    try:
        program = engine().compile(text)
    except Exception as error:  # noqa: BLE001  whatever the engine raises is the answer
        return f"it is no CEL: {error}"
    if what == "check":
        return ""
    document = json.load(sys.stdin.buffer)
    try:
        value = program.execute({**document, "input": document})
    except Exception as error:  # noqa: BLE001  as above
        return f"it cannot be evaluated: {type(error).__name__}: {error}"
    if value is True:
        return ""
    return "it is false" if value is False else f"it gives {type(value).__name__}, not true"


if __name__ == "__main__":
    sys.stdout.write(main(*sys.argv[1:]))

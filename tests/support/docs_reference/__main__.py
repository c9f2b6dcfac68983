"""Write the reference pages: ``python -m docs_reference [--check]``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from docs_reference import PAGES

FOLDER = Path(__file__).resolve().parents[3] / "docs" / "reference"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m docs_reference", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if outdated")
    check = parser.parse_args().check
    outdated = []
    for name, render in PAGES.items():
        path = FOLDER / name
        text = render()
        if not path.exists() or path.read_text() != text:
            outdated.append(name)
            if not check:
                path.write_text(text)
    for name in outdated:
        print(f"docs/reference/{name} {'is outdated: run make docs' if check else 'written'}")
    return 1 if check and outdated else 0


if __name__ == "__main__":
    sys.exit(main())

"""Which files hold licences, by their names."""

from __future__ import annotations

import re

_STEM = (
    r"(?:un)?licen[cs]es?|copying|copyright|copyleft|legal|notice|patents|"
    r"eupl|ofl|mit[-_. ]licen[cs]e|gpl|lgpl|agpl"
)
_NAME = re.compile(
    rf"(?:{_STEM})(?:[-_. ].*)?|"
    r"[^/]+[-_. ](?:licen[cs]e|copying|copyright)(?:\.(?:txt|md|rst|html))?",
    re.IGNORECASE,
)
#: Files whose names merely speak of licences.
_CODE = re.compile(
    r".+\.(?:py[cio]?|pyx|go|rs|c|cc|cpp|h|hpp|js|mjs|ts|tsx|java|class|rb|pl|pm|sh|so|a|o|json|xml|"
    r"ya?ml|toml|css|gz|png|svg|spdx)",
    re.IGNORECASE,
)


def is_licence_file(path: str) -> bool:
    """Whether a file is a licence or a notice, such as ``COPYING`` or ``LICENSE-MIT.txt``."""
    name = path.rpartition("/")[2]
    return bool(_NAME.fullmatch(name)) and not _CODE.fullmatch(name)

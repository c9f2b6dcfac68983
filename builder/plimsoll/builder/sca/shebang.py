"""The command that a ``#!`` line runs."""

from __future__ import annotations

#: Interpreters that are links, or that several packages offer: no ``cmd:`` of theirs exists, or
#: it would name the wrong one.
_IGNORED = frozenset(("python", "python3", "sh", "awk", "luajit"))
#: Options of env(1) that take the next word.
_TAKES_WORD = frozenset(("-u", "--unset", "-C", "--chdir", "-a", "--argv0"))


def interpreter(head: bytes) -> str:
    """The command of a script's first line, looked up through ``env``.

    Args:
        head: first bytes of the file.

    Returns:
        A base name, or ``""`` where there is none or it needs no dependency.
    """
    if not head.startswith(b"#!"):
        return ""
    words = head[2:].partition(b"\n")[0].decode(errors="replace").split()
    if not words:
        return ""
    command = _base(words[0])
    if command == "env":
        command = _base(_behind_env(words[1:]))
    return "" if command in _IGNORED else command


def _behind_env(words: list[str]) -> str:
    rest = iter(words)
    for word in rest:
        if word.startswith("-S") and len(word) > 2:
            return word[2:]
        if word in _TAKES_WORD:
            next(rest, None)
        elif not word.startswith("-") and "=" not in word:
            return word
    return ""


def _base(path: str) -> str:
    return path.rpartition("/")[2]

"""Users and groups that packages declare in ``/usr/lib/sysusers.d`` (sysusers.d(5)).

What the configuration or a package's own account files say goes first. Numbers left open (``-``)
are taken from 999 downwards in the order of the files' names, so one set of packages always gets
the same ones.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from plimsoll.apk.tarfmt import Type
from plimsoll.builder.accounts import AccountError, account_lines, account_text, has_account

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plimsoll.builder.node import Node
    from plimsoll.builder.tree import Tree

_FOLDER = "usr/lib/sysusers.d"
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_-]{0,30}")
_FIELD = re.compile(r"[^:\x00-\x1f\x7f]*")
_FIRST = 999
_MAX_ID = 2**32 - 2


@dataclass(frozen=True, slots=True)
class _Line:
    kind: str
    name: str
    number: str
    gecos: str
    home: str
    shell: str
    place: str


def add_declared(tree: Tree) -> None:
    """Add the declared users, groups and memberships to the account files.

    Raises:
        AccountError: a declaration cannot be read or fulfilled.
    """
    lines = [line for node in _files(tree) for line in _read(tree, node)]
    if not lines:
        return
    passwd, group, shadow = (account_lines(tree, f"etc/{f}") for f in ("passwd", "group", "shadow"))
    before = (list(passwd), list(group))
    for line in (x for x in lines if x.kind == "g"):
        _add_group(group, line)
    for line in (x for x in lines if x.kind == "u"):
        _add_user(passwd, group, line)
    for line in (x for x in lines if x.kind == "m"):
        _add_member(group, line)
    if passwd != before[0]:
        tree.overwrite("etc/passwd", account_text(passwd))
        _lock(tree, shadow, passwd)
    if group != before[1]:
        tree.overwrite("etc/group", account_text(group))


def _lock(tree: Tree, shadow: list[str], passwd: list[str]) -> None:
    """Give every user a line in ``/etc/shadow`` that lets nobody in, where there is such a file."""
    if tree.resolve("etc/shadow") is None:
        return
    names = [line.partition(":")[0] for line in passwd]
    shadow += [f"{name}:!::0:::::" for name in names if name and not has_account(shadow, name)]
    tree.overwrite("etc/shadow", account_text(shadow), 0o640)


def _files(tree: Tree) -> list[Node]:
    folder = tree.real(_FOLDER, last=True)
    found = [n for n in tree.children(folder) if n.path.endswith(".conf") and n.kind is Type.FILE]
    return sorted(found, key=lambda n: n.path)


def _read(tree: Tree, node: Node) -> Iterator[_Line]:
    text = tree.content(node).decode(errors="replace")
    for number, raw in enumerate(text.splitlines(), start=1):
        place = f"/{node.path}:{number}"
        try:
            words = shlex.split(raw, comments=raw.lstrip().startswith("#"))
        except ValueError as error:
            raise AccountError(f"{place} cannot be read: {error}") from None
        if not words:
            continue
        # "!" locks an account, which all of ours are.
        kind = words[0].rstrip("!")
        if kind == "r":
            continue
        fields = [*words[1:], "-", "-", "-", "-", "-"][:5]
        name, ident, gecos, home, shell = ("" if f == "-" else f for f in fields)
        if kind not in {"u", "g", "m"} or not _NAME.fullmatch(name):
            raise AccountError(
                f"{place} declares no user or group", hint="see sysusers.d(5) for its form"
            )
        if not all(_FIELD.fullmatch(field) for field in (gecos, home, shell)):
            raise AccountError(f"{place} holds a character that an account file cannot hold")
        yield _Line(kind, name, ident, gecos, home, shell, place)


def _add_group(group: list[str], line: _Line) -> None:
    if not has_account(group, line.name):
        group.append(f"{line.name}:x:{_number(line.number, line, _taken(group))}:")


def _add_user(passwd: list[str], group: list[str], line: _Line) -> None:
    if has_account(passwd, line.name):
        return
    user, _, primary = line.number.partition(":")
    uid = _number(user, line, _taken(passwd) | _taken(group))
    if primary and not primary.isdecimal():
        found = next((x.split(":")[2] for x in group if x.split(":")[0] == primary), None)
        if found is None:
            raise AccountError(f"{line.place}: there is no group {primary!r}")
        gid = int(found)
    elif primary:
        gid = _number(primary, line, set())
    else:
        known = next((x.split(":")[2] for x in group if x.split(":")[0] == line.name), None)
        gid = int(known) if known is not None else uid
        if known is None:
            group.append(f"{line.name}:x:{gid}:")
    home, shell = line.home or "/", line.shell or "/usr/sbin/nologin"
    passwd.append(f"{line.name}:x:{uid}:{gid}:{line.gecos}:{home}:{shell}")


def _add_member(group: list[str], line: _Line) -> None:
    """``m USER GROUP``."""
    for number, text in enumerate(group):
        fields = text.split(":")
        if fields[0] != line.number or len(fields) != 4:
            continue
        members = [m for m in fields[3].split(",") if m]
        if line.name not in members:
            group[number] = ":".join([*fields[:3], ",".join([*members, line.name])])
        return
    raise AccountError(f"{line.place}: there is no group {line.number!r}")


def _number(text: str, line: _Line, taken: set[int]) -> int:
    if not text:
        return next(n for n in range(_FIRST, 0, -1) if n not in taken)
    if not text.isdecimal() or int(text) > _MAX_ID:
        raise AccountError(
            f"{line.place}: {text!r} is no number for {line.name}",
            hint="numbers taken from a file's owner are not supported",
        )
    if int(text) in taken:
        raise AccountError(
            f"{line.place}: the number {text} of {line.name} is taken",
            hint="give the account of that number another one, or leave one of the packages out",
        )
    return int(text)


def _taken(lines: list[str]) -> set[int]:
    fields = [line.split(":") for line in lines]
    return {int(f[2]) for f in fields if len(f) > 2 and f[2].isdecimal()}

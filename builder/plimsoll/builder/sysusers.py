"""Users and groups that packages declare in ``/usr/lib/sysusers.d`` (sysusers.d(5)).

What the configuration or a package's own account files say goes first. Numbers left open (``-``)
are taken from 999 downwards in the order of the files' names, so one set of packages always gets
the same ones.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, NamedTuple

from plimsoll.apk.tarfmt import Type
from plimsoll.builder.accounts import (
    AccountError,
    account_lines,
    account_number,
    account_text,
    has_account,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plimsoll.builder.node import Node
    from plimsoll.builder.tree import Tree

_FOLDER = "usr/lib/sysusers.d"
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_-]{0,30}")
_FIELD = re.compile(r"[^:\x00-\x1f\x7f]*")
_FIRST = 999
_MAX_ID = 2**32 - 2


#: What means the same on all machines.
_SPECIFIERS = {"%": "%", "T": "/tmp", "V": "/var/tmp"}  # noqa: S108  (names in account files)


class _Line(NamedTuple):
    kind: str
    name: str
    number: str
    gecos: str
    home: str
    shell: str
    place: str

    def group(self) -> _Line:
        """The group that a membership makes, if nothing else does."""
        return _Line("g", self.number, "", "", "", "", self.place)

    def user(self) -> _Line:
        """The user that a membership makes, if nothing else does."""
        return _Line("u", self.name, "", "", "", "", self.place)


def add_declared(tree: Tree) -> None:
    """Add the declared users, groups and memberships to the account files.

    Raises:
        AccountError: a declaration cannot be read or fulfilled.
    """
    lines = [line for node in _files(tree) for line in _read(tree, node)]
    if not lines:
        return
    accounts = _Accounts(tree)
    users = {line.name for line in lines if line.kind == "u"}
    # A user's own group gets the user's number.
    groups = [line.group() for line in lines if line.kind == "m" and line.number not in users]
    for line in [*(line for line in lines if line.kind == "g"), *groups]:
        accounts.add_group(line)
    implied = [line.user() for line in lines if line.kind == "m"]
    for line in [*(line for line in lines if line.kind == "u"), *implied]:
        accounts.add_user(line)
    for line in lines:
        if line.kind == "m":
            accounts.add_member(line)
    accounts.write()


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
        name, ident, gecos, home, shell = (
            "" if field == "-" else _specified(field, place) for field in fields
        )
        if kind not in {"u", "g", "m"} or not _NAME.fullmatch(name):
            raise AccountError(
                f"{place} declares no user or group", hint="see sysusers.d(5) for its form"
            )
        if not all(_FIELD.fullmatch(field) for field in (gecos, home, shell)):
            raise AccountError(f"{place} holds a character that an account file cannot hold")
        if kind == "m" and not _NAME.fullmatch(ident):
            raise AccountError(f"{place} names no group", hint="write 'm USER GROUP'")
        if home and not home.startswith("/"):
            raise AccountError(f"{place}: the home {home!r} does not begin with '/'")
        yield _Line(kind, name, ident, gecos, home, shell, place)


def _specified(text: str, place: str) -> str:
    """A text without specifiers; most of them are known only where an image runs."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in _SPECIFIERS:
            raise AccountError(
                f"{place}: %{match[1]} means nothing in an image",
                hint=f"only {', '.join(f'%{name}' for name in _SPECIFIERS)} can be used here",
            )
        return _SPECIFIERS[match[1]]

    return re.sub(r"%(.?)", value, text)


class _Accounts:
    """The account files of an image, while declarations are added."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._passwd = account_lines(tree, "etc/passwd")
        self._group = account_lines(tree, "etc/group")
        self._before = [list(self._passwd), list(self._group)]

    def write(self) -> None:
        """Put what was added into the image."""
        if self._passwd != self._before[0]:
            self._tree.overwrite("etc/passwd", account_text(self._passwd))
            self._lock()
        if self._group != self._before[1]:
            self._tree.overwrite("etc/group", account_text(self._group))

    def _lock(self) -> None:
        """Give every user a line in ``/etc/shadow`` that lets nobody in, where there is one."""
        if self._tree.resolve("etc/shadow") is None:
            return
        shadow = account_lines(self._tree, "etc/shadow")
        names = [line.partition(":")[0] for line in self._passwd]
        shadow += [f"{name}:!::0:::::" for name in names if name and not has_account(shadow, name)]
        self._tree.overwrite("etc/shadow", account_text(shadow), 0o640)

    def add_group(self, line: _Line) -> None:
        """``g NAME [NUMBER]``."""
        if not has_account(self._group, line.name):
            number = self._number(line.number, line, _taken(self._group), owner="gid")
            self._group.append(f"{line.name}:x:{number}:")

    def add_user(self, line: _Line) -> None:
        """``u NAME [NUMBER[:GROUP]]``; a user without a group gets one of its own name."""
        if has_account(self._passwd, line.name):
            return
        user, _, primary = line.number.partition(":")
        user = "" if user == "-" else user
        taken = _taken(self._passwd)
        own = _number_of(self._group, line.name)
        if not user and not primary and own is not None and own not in taken:
            uid = own
        else:
            uid = self._number(user, line, taken, owner="uid")
        gid = self._primary(primary, line) if primary else self._own_group(line, uid)
        home, shell = line.home or "/", line.shell or "/usr/sbin/nologin"
        self._passwd.append(f"{line.name}:x:{uid}:{gid}:{line.gecos}:{home}:{shell}")

    def add_member(self, line: _Line) -> None:
        """``m USER GROUP``."""
        for number, text in enumerate(self._group):
            fields = text.split(":")
            if fields[0] != line.number or len(fields) != 4:
                continue
            members = [m for m in fields[3].split(",") if m]
            if line.name not in members:
                self._group[number] = ":".join([*fields[:3], ",".join([*members, line.name])])
            return

    def _primary(self, text: str, line: _Line) -> int:
        """The group that a user names."""
        if account_number(text) is not None:
            return self._number(text, line, set())
        found = _number_of(self._group, text)
        if found is None:
            raise AccountError(
                f"{line.place}: there is no group {text!r}",
                hint=f"the package should declare it: 'g {text} -'",
            )
        return found

    def _own_group(self, line: _Line, uid: int) -> int:
        """The group of a user's name, which is made with its number if that is free."""
        known = _number_of(self._group, line.name)
        if known is not None:
            return known
        taken = _taken(self._group)
        gid = self._number("", line, taken) if uid in taken else uid
        self._group.append(f"{line.name}:x:{gid}:")
        return gid

    def _number(self, text: str, line: _Line, taken: set[int], owner: str = "") -> int:
        """The number that is written; a free one where none is.

        Args:
            text: the number, or the path of a file whose owner has it.
            line: the declaration.
            taken: numbers that cannot be used.
            owner: ``uid`` or ``gid``: which owner of the file.
        """
        if not text:
            used = _taken(self._passwd) | _taken(self._group)
            free = next((n for n in range(_FIRST, 0, -1) if n not in used), None)
            if free is None:
                raise AccountError(
                    f"{line.place}: no number is left for {line.name}",
                    hint=f"packages declare more than {_FIRST} accounts",
                )
            return free
        if text.startswith("/") and owner:
            node = self._tree.resolve(text)
            if node is None:
                raise AccountError(
                    f"{line.place}: {line.name} shall have the number of the owner of {text}, "
                    "which is not in the image",
                    hint="leave the package out, or add the one that brings that file",
                )
            text = str(getattr(node, owner))
        wanted = account_number(text)
        if wanted is None or wanted > _MAX_ID:
            raise AccountError(
                f"{line.place}: {text[:40]!r} is no number for {line.name}",
                hint="see sysusers.d(5) for the form of a line",
            )
        if wanted in taken:
            raise AccountError(
                f"{line.place}: the number {text} of {line.name} is taken",
                hint="give the account of that number another one, or leave one of the packages "
                "out",
            )
        return wanted


def _number_of(lines: list[str], name: str) -> int | None:
    for line in lines:
        fields = line.split(":")
        if fields[0] == name and len(fields) > 2:
            return account_number(fields[2])
    return None


def _taken(lines: list[str]) -> set[int]:
    fields = [line.split(":") for line in lines]
    numbers = (account_number(f[2]) for f in fields if len(f) > 2)
    return {number for number in numbers if number is not None}

"""Users and groups of an image."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from plimsoll.apk.tarfmt import Type
from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from plimsoll.api.accounts import Accounts, User
    from plimsoll.builder.tree import Tree


#: Homes that mean that there is none.
_NO_HOMES = ("/dev/null", "/nonexistent")


class AccountError(Error):
    """A user or group that cannot be made."""

    reason = "InvalidAccount"


def add_accounts(tree: Tree, accounts: Accounts) -> None:
    """Add users and groups to ``/etc/passwd``, ``/etc/group`` and ``/etc/shadow``, and ``root``.

    An account that is there already gets what the configuration says of it, and keeps the rest.

    Raises:
        AccountError: a name is taken with another number.
    """
    passwd, group, shadow = (account_lines(tree, f"etc/{f}") for f in ("passwd", "group", "shadow"))
    before = [list(passwd), list(group), list(shadow)]
    if not has_account(passwd, "root"):
        passwd.insert(0, "root:x:0:0:root:/root:/bin/sh")
    if not has_account(group, "root"):
        group.insert(0, "root:x:0:")
    for item in accounts.groups:
        known = _claim(group, "group", item.groupname, item.gid)
        members = [name for name in known[3].split(",") if name] if len(known) > 3 else []
        members += [name for name in item.members if name not in members]
        _put(group, f"{item.groupname}:x:{item.gid}:{','.join(members)}")
    for user in accounts.users:
        _add_user(tree, passwd, user)
        if not has_account(shadow, user.username):
            shadow.append(f"{user.username}:!::0:::::")
    if passwd != before[0]:
        tree.overwrite("etc/passwd", account_text(passwd))
    if group != before[1]:
        tree.overwrite("etc/group", account_text(group))
    if tree.resolve("etc/shadow") is not None and shadow != before[2]:
        tree.overwrite("etc/shadow", account_text(shadow), 0o640)


def _add_user(tree: Tree, passwd: list[str], user: User) -> None:
    name = user.username
    known = _claim(passwd, "user", name, user.uid)
    _, _, _, gid, gecos, home, shell = (
        known
        if len(known) == 7
        else (name, "x", "", str(user.uid), name, f"/home/{name}", "/bin/sh")
    )
    if user.gid is not None:
        gid = str(user.gid)
    home, shell = user.homedir or home, user.shell or shell
    _put(passwd, f"{name}:x:{user.uid}:{gid}:{gecos}:{home}:{shell}")
    if home not in _NO_HOMES and tree.resolve(home) is None:
        group = account_number(gid)
        tree.directory(home, 0o700, user.uid, user.uid if group is None else group)


def run_as(tree: Tree, accounts: Accounts) -> str:
    """The ``User`` of the image: the number of a known name, else what was written."""
    name = accounts.run_as
    for user in accounts.users:
        if user.username == name:
            return str(user.uid)
    for line in account_lines(tree, "etc/passwd"):
        fields = line.split(":")
        if len(fields) > 2 and fields[0] == name and name:
            return fields[2]
    return name


def check_run_as(tree: Tree, accounts: Accounts) -> None:
    """Refuse an image whose containers cannot start, as nothing says who they run as.

    Raises:
        AccountError: a name of ``run-as`` is in no account file.
    """
    if not accounts.run_as:
        return
    user, _, group = accounts.run_as.partition(":")
    for what, name, path in (("user", user, "etc/passwd"), ("group", group, "etc/group")):
        names = [line.partition(":")[0] for line in account_lines(tree, path)]
        if not name or account_number(name) is not None or name in names:
            continue
        near = difflib.get_close_matches(name, names, n=1)
        raise AccountError(
            f"accounts.run-as: the image has no {what} {name!r}",
            hint=f"did you mean {near[0]!r}?" if near else "add it to accounts, or use its number",
        )


def account_lines(tree: Tree, path: str) -> list[str]:
    """The lines of an account file; none if there is no such file."""
    node = tree.resolve(path)
    if node is None or node.kind is not Type.FILE:
        return []
    return tree.content(node).decode(errors="surrogateescape").splitlines()


def account_text(lines: Sequence[str]) -> bytes:
    """An account file of these lines."""
    return "".join(f"{line}\n" for line in lines).encode(errors="surrogateescape")


def account_number(text: str) -> int | None:
    """The number in a field of an account file, if it is one."""
    return int(text) if re.fullmatch(r"[0-9]{1,10}", text) else None


def has_account(lines: Iterable[str], name: str) -> bool:
    """Whether one of the lines is of this name."""
    return any(line.split(":", 1)[0] == name for line in lines)


def _claim(lines: Sequence[str], what: str, name: str, number: int) -> list[str]:
    """The fields of an account that is there; refuses one with another number."""
    for line in lines:
        fields = line.split(":")
        if fields[0] != name or len(fields) < 3:
            continue
        if fields[2] != str(number):
            raise AccountError(
                f"{what} {name!r} with number {number}: {name!r} is there already with number "
                f"{fields[2]}",
                hint="use that number, or another name",
            )
        return fields
    return []


def _put(lines: list[str], line: str) -> None:
    """Put a line in the place of the one with its name, or at the end."""
    name = line.partition(":")[0]
    place = next((n for n, own in enumerate(lines) if own.partition(":")[0] == name), len(lines))
    lines[place : place + 1] = [line]

"""Users and groups of an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.apk.tarfmt import Type
from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from plimsoll.api.accounts import Accounts
    from plimsoll.builder.tree import Tree


class AccountError(Error):
    """A user or group that cannot be made."""

    reason = "InvalidAccount"


def add_accounts(tree: Tree, accounts: Accounts, *, root: bool) -> None:
    """Add users and groups to ``/etc/passwd``, ``/etc/group`` and ``/etc/shadow``.

    Args:
        tree: the image.
        accounts: what the configuration asks for.
        root: make the account ``root`` too if no package brings it.

    Raises:
        AccountError: a name or number is taken by another account.
    """
    passwd, group, shadow = (account_lines(tree, f"etc/{f}") for f in ("passwd", "group", "shadow"))
    before = (list(passwd), list(group))
    if root and not has_account(passwd, "root"):
        passwd.insert(0, "root:x:0:0:root:/root:/bin/sh")
    if root and not has_account(group, "root"):
        group.insert(0, "root:x:0:")
    for item in accounts.groups:
        _claim(group, "group", item.groupname, item.gid)
        group.append(f"{item.groupname}:x:{item.gid}:{','.join(item.members)}")
    for user in accounts.users:
        gid = user.uid if user.gid is None else user.gid
        _claim(passwd, "user", user.username, user.uid)
        home = user.homedir or f"/home/{user.username}"
        shell = user.shell or "/bin/sh"
        passwd.append(f"{user.username}:x:{user.uid}:{gid}:{user.username}:{home}:{shell}")
        if tree.resolve("etc/shadow") is not None:
            shadow.append(f"{user.username}:!::0:::::")
        if tree.resolve(home) is None:
            tree.directory(home, 0o700, user.uid, gid)
    if passwd != before[0] or not root:
        tree.overwrite("etc/passwd", account_text(passwd))
    if group != before[1]:
        tree.overwrite("etc/group", account_text(group))
    if tree.resolve("etc/shadow") is not None and accounts.users:
        tree.overwrite("etc/shadow", account_text(shadow), 0o640)


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


def account_lines(tree: Tree, path: str) -> list[str]:
    """The lines of an account file; none if there is no such file."""
    node = tree.resolve(path)
    if node is None or node.kind is not Type.FILE:
        return []
    return tree.content(node).decode(errors="surrogateescape").splitlines()


def account_text(lines: Sequence[str]) -> bytes:
    """An account file of these lines."""
    return "".join(f"{line}\n" for line in lines).encode(errors="surrogateescape")


def has_account(lines: Iterable[str], name: str) -> bool:
    """Whether one of the lines is of this name."""
    return any(line.split(":", 1)[0] == name for line in lines)


def _claim(lines: Sequence[str], what: str, name: str, number: int) -> None:
    """Refuse a name that is taken with another number."""
    for line in lines:
        fields = line.split(":")
        if fields[0] == name and len(fields) > 2 and fields[2] != str(number):
            raise AccountError(
                f"{what} {name!r} with number {number}: a package brings {name!r} with number "
                f"{fields[2]}",
                hint="use that number, or another name",
            )

"""File capabilities as the extended attribute ``security.capability`` (vfs_cap_data, version 2)."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

from plimsoll.builder.package.errors import PackageConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

ATTRIBUTE = "security.capability"
_REVISION_2 = 0x02000000
_EFFECTIVE = 1
# include/uapi/linux/capability.h, in the order of their numbers.
_NAMES = (
    *("chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid"),
    *("setpcap", "linux_immutable", "net_bind_service", "net_broadcast", "net_admin", "net_raw"),
    *("ipc_lock", "ipc_owner", "sys_module", "sys_rawio", "sys_chroot", "sys_ptrace", "sys_pacct"),
    *("sys_admin", "sys_boot", "sys_nice", "sys_resource", "sys_time", "sys_tty_config", "mknod"),
    *("lease", "audit_write", "audit_control", "setfcap", "mac_override", "mac_admin", "syslog"),
    *("wake_alarm", "block_suspend", "audit_read", "perfmon", "bpf", "checkpoint_restore"),
)


def encode(capabilities: Mapping[str, str]) -> bytes:
    """The attribute's value.

    Args:
        capabilities: ``cap_net_raw`` (several with commas) → ``+ep``: effective, permitted,
            inheritable.

    Raises:
        PackageConfigError: an unknown capability or set.
    """
    permitted = inheritable = 0
    effective = False
    for names, sets in capabilities.items():
        if not re.fullmatch(r"[+=][eip]+", sets):
            raise PackageConfigError(
                f"the capability set {sets!r} is not valid", hint="write '+ep', for example"
            )
        mask = sum(_bit(name.strip()) for name in names.split(","))
        permitted |= mask if "p" in sets else 0
        inheritable |= mask if "i" in sets else 0
        effective = effective or "e" in sets
    low = 0xFFFFFFFF
    return struct.pack(
        "<5I",
        _REVISION_2 | (_EFFECTIVE if effective else 0),
        permitted & low,
        inheritable & low,
        permitted >> 32,
        inheritable >> 32,
    )


def _bit(name: str) -> int:
    plain = name.lower().removeprefix("cap_")
    if plain not in _NAMES:
        raise PackageConfigError(
            f"there is no capability {name!r}", hint="capabilities(7) lists them, as cap_net_raw"
        )
    return 1 << _NAMES.index(plain)

"""How many threads are worth starting."""

from __future__ import annotations

import math
import os
from pathlib import Path

_MOST = 16
_CGROUPS = Path("/sys/fs/cgroup")


def workers(cgroups: Path = _CGROUPS) -> int:
    """Processors that this process may use: its affinity and the limit of its container count.

    In a Job on a large node the number of processors of the machine would start, and give memory
    to, many threads that then wait for each other.

    Args:
        cgroups: where the container's own control group is mounted.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    return max(1, min(allowed or os.cpu_count() or 1, _limit(cgroups), _MOST))


def _limit(cgroups: Path) -> int:
    """The limit in whole processors, rounded up (cgroup v2 ``cpu.max``, v1 ``cpu.cfs_*``)."""
    try:
        quota, period = (cgroups / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota, period = (
                (cgroups / "cpu" / f"cpu.cfs_{name}_us").read_text().strip()
                for name in ("quota", "period")
            )
        except OSError:
            return _MOST
    if not (quota.isdecimal() and period.isdecimal() and int(period)):
        # "max", or -1: no limit.
        return _MOST
    return math.ceil(int(quota) / int(period))

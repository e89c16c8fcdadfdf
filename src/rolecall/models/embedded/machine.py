"""What this machine can give to a model: processor cores and memory, cgroup limits included."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

_TOPOLOGY = Path("/sys/devices/system/cpu")
_CGROUP = Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """Physical cores that this process may run on, at least 1.

    Two hyper-threads of one core count once: llama.cpp gains nothing from the second one.
    """
    cpus = _affinity()
    siblings = {_siblings(cpu) for cpu in cpus}
    cores = len(siblings) if "" not in siblings else _by_ratio(len(cpus))
    quota = _cpu_quota(_CGROUP)
    return max(1, min(cores, quota) if quota else cores)


def available_memory() -> int:
    """Bytes that can be taken now without swapping, within the limits of the cgroup."""
    free = int(psutil.virtual_memory().available)
    limit = _cgroup_memory_left(_CGROUP)
    return free if limit is None else max(0, min(free, limit))


def _affinity() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(psutil.cpu_count() or 1))


def _siblings(cpu: int) -> str:
    try:
        text = (_TOPOLOGY / f"cpu{cpu}" / "topology" / "thread_siblings_list").read_text()
    except OSError:
        return ""
    return text.strip()


def _by_ratio(logical: int) -> int:
    threads_per_core = (psutil.cpu_count() or 1) / (psutil.cpu_count(logical=False) or 1)
    return max(1, round(logical / max(1.0, threads_per_core)))


def _cpu_quota(root: Path) -> int | None:
    try:
        quota, period = (root / "cpu.max").read_text().split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else max(1, int(quota) // int(period))


def _cgroup_memory_left(root: Path) -> int | None:
    """What the limit leaves; pages of files do not count as used, the kernel takes them back."""
    for limit_name, used_name, cache in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            limit = (root / limit_name).read_text().strip()
            used = int((root / used_name).read_text())
            stat = (root / limit_name).with_name("memory.stat").read_text()
        except (OSError, ValueError):
            continue
        if limit == "max" or int(limit) >= 1 << 60:
            return None
        rows = dict(line.split() for line in stat.splitlines() if len(line.split()) == 2)
        return int(limit) - (used - int(rows.get(cache, 0)))
    return None

"""How much memory is free."""

import os
from pathlib import Path

import torch

_CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
"""Limit and use of a container, versions 2 and 1."""


def free_memory() -> int:
    """Bytes of main memory that can be taken without swapping, within a container's limit."""
    free = [_of_machine()]
    for limit, used in _CGROUPS:
        try:
            free.append(int(Path(limit).read_text()) - int(Path(used).read_text()))
        except (OSError, ValueError):  # no such cgroup, or "max"
            continue
    return max(0, min(free))


def free_device_memory(device: torch.device) -> int:
    """Bytes of a GPU's memory that can be taken."""
    return torch.cuda.mem_get_info(device)[0]


def _of_machine() -> int:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:  # not Linux
        pass
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2

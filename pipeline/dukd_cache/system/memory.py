"""How much memory is free, and whether it ran out."""

import os
from pathlib import Path

import torch

_CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
"""Limit and use of a container, versions 2 and 1. Beside the use lies `memory.stat`."""

_FILES = ("inactive_file", "total_inactive_file")
"""Files that the system keeps in memory as long as nobody needs it, in `memory.stat`."""


_CPU_REFUSED = ("can't allocate memory", "not enough memory")
"""In what torch says where a CPU's memory runs out; a GPU has an error of its own."""


def free_memory() -> int:
    """Bytes of main memory that can be taken without swapping, within a container's limit."""
    return max(0, min(_of_machine("MemAvailable:"), _of_container()))


def obtainable_memory() -> int:
    """Bytes of main memory that can be taken before the system kills for want of it: the free ones and swap."""
    return max(0, min(_of_machine("MemAvailable:", "SwapFree:"), _of_container()))


def ran_out(error: Exception) -> bool:
    """Whether an error of torch, NumPy or Python says that there is no more memory."""
    told = any(words in str(error) for words in _CPU_REFUSED)
    return told or isinstance(error, MemoryError | torch.OutOfMemoryError)


def free_device_memory(device: torch.device) -> int:
    """Bytes of a GPU's memory that can be taken."""
    return torch.cuda.mem_get_info(device)[0]


def _of_container() -> int:
    free = [2**63]
    for limit, used in _CGROUPS:
        try:
            free.append(int(Path(limit).read_text()) - int(Path(used).read_text()) + _of_files(Path(used).parent))
        except (OSError, ValueError):  # no such cgroup, or "max"
            continue
    return min(free)


def _of_files(cgroup: Path) -> int:
    found = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
    return max(int(found.get(name, 0)) for name in _FILES)


def _of_machine(*kinds: str) -> int:
    try:
        lines = [line.split() for line in Path("/proc/meminfo").read_text().splitlines()]
        found = [int(words[1]) * 1024 for words in lines if words and words[0] in kinds]
        if found:
            return sum(found)
    except OSError:  # not Linux
        pass
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2

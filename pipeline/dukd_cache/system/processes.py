"""Which process is which, across machines, containers and numbers that are given out again."""

import os
from pathlib import Path


def machine() -> str:
    """Names the running system and its numbering of processes (containers have their own); empty where unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def start_of(process: int | None = None) -> str:
    """When a process (None: this one) started, in ticks since the machine did; empty where there is none."""
    try:
        fields = Path(f"/proc/{process or 'self'}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]

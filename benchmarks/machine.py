"""What the figures were measured on."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from benchmarks.timing import cores

COMPETITORS = ("webdataset", "litdata", "mosaicml-streaming", "opencv-python-headless")
"""Packages that read what this reader reads."""

_PACKAGES = (
    "torch",
    "numpy",
    "pillow",
    "spandrel",
    "webdataset",
    "litdata",
    "mosaicml-streaming",
    "opencv-python-headless",
)


def facts() -> dict[str, Any]:
    """Processor, cores, threads, memory, GPU, versions."""
    return {
        "processor": _processor(),
        "cores": cores(),
        "torch_threads": torch.get_num_threads(),
        "memory_GiB": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load_at_start": os.getloadavg()[0],
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: found for name in _PACKAGES if (found := _version(name))},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")

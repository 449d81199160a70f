"""What a run was made with: commit, device, threads."""

import platform
import subprocess
from pathlib import Path

import torch

_SECONDS = 10


def git_commit() -> str | None:
    """The commit of dukd's own code, with `-dirty` where files differ from it; none outside a git checkout of it."""
    here = Path(__file__).resolve()
    if _git(here.parent, "ls-files", "--error-unmatch", here.name) is None:
        return None  # no repository, or one that merely contains the environment dukd is installed in
    return _git(here.parent, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def device_name(device: torch.device) -> str:
    """Which GPU or processor: `NVIDIA H100 80GB HBM3`, `cpu (x86_64)`."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({_processor()})"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, "") or platform.processor() or platform.machine()


def _git(folder: Path, *words: str) -> str | None:
    """What git prints, or none where it fails or is not there."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None

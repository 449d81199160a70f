"""What a result was made with: images, software down to the commit, device, time."""

import hashlib
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import torch

from dukd_cache import __version__
from dukd_train.scoring.evaluate import ImagePair

_SECONDS = 10


def made_with(device: torch.device, begun: float) -> dict[str, Any]:
    """The part of `run.json` that says where its numbers come from; `begun` is a POSIX time, the end is now."""
    return software() | {
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "begun": _moment(begun),
        "ended": _moment(datetime.now(UTC).timestamp()),
    }


def software() -> dict[str, Any]:
    """Versions of dukd and torch, and the commit of dukd where it is known."""
    return {"dukd_version": __version__, "commit": git_commit(), "torch_version": torch.__version__}


def git_commit() -> str | None:
    """The commit of dukd's own code, with `-dirty` where files differ from it; none outside a git checkout of it."""
    here = Path(__file__).resolve()
    if _git(here.parent, "ls-files", "--error-unmatch", here.name) is None:
        return None  # no repository, or one that merely contains the environment dukd is installed in
    commit = _git(here.parent, "rev-parse", "HEAD")
    changed = _git(here.parent, "status", "--porcelain", "--untracked-files=no")
    return f"{commit}-dirty" if commit and changed else commit


def device_name(device: torch.device) -> str:
    """Which GPU or processor: `NVIDIA H100 80GB HBM3`, `cpu (x86_64)`."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({_processor()})"


def files_of(pairs: Sequence[ImagePair]) -> str:
    """Which images: `5 images (3f9a01c2)`. The digits are of a hash over the names and contents of the files."""
    files = [(pair.name, *(_hash_of(file) for file in (pair.hr, pair.lr) if file and file.exists())) for pair in pairs]
    digits = hashlib.sha256(repr(files).encode()).hexdigest()[:8]
    return f"{len(pairs)} image{'s' * (len(pairs) > 1)} ({digits})"


def _moment(posix: float) -> str:
    """`2026-01-31 17:05:09 UTC`."""
    return f"{datetime.fromtimestamp(posix, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, "") or platform.processor() or platform.machine()


def _git(folder: Path, *words: str) -> str | None:
    """What git prints, or none where it fails, is not there or prints nothing.

    It takes no lock: if it were killed, the lock would stay, and stop the user's own git.
    """
    reading = ["git", "--no-optional-locks", "-C", str(folder)]
    try:
        done = subprocess.run([*reading, *words], capture_output=True, text=True, timeout=_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def _hash_of(file: Path) -> str:
    """Of its content: BMP and TIFF files of images of one size have one length."""
    found = file.stat()
    return _read_once(file, found.st_size, found.st_mtime_ns)


@cache
def _read_once(file: Path, _size: int, _changed: int) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

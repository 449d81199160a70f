"""Build memory: what a build takes at its peak beyond the model and a batch, for few images and for many.

Both make as many records, enough to fill every queue. Each build is a process of its own, which first loads the
teacher and asks it once.
"""

import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.figures import Figure, Goal
from benchmarks.made_images import save_made_images
from benchmarks.material import build_job, network_file
from dukd_cache import job

_IMAGES = (100, 10_000)
_RECORDS = 10_000
_SIDE = 256
_GIB = 2**30
_SAME = 1.1


def figures() -> Iterator[Figure]:
    """Both builds, and the one over the other."""
    peaks: dict[int, int] = {}
    with tempfile.TemporaryDirectory(prefix="dukd-bench-") as name:
        folder = Path(name)
        weights = network_file(folder / "tiny.safetensors", "EDSR", {"channels": 8, "blocks": 1})
        for count in _IMAGES:
            save_made_images(folder / f"hr-{count}", count, _SIDE, _SIDE)
            peaks[count] = _measured(folder, count, weights)
    facts = {f"{count}_images_MiB": peak / 2**20 for count, peak in peaks.items()}
    case = f"{_SIDE}×{_SIDE}, {_RECORDS} records, patch 48, batch 16"
    yield Figure(
        "build memory", f"{_IMAGES[1]} images of {case}", peaks[_IMAGES[1]] / _GIB, "GiB", Goal(at_most=1), facts
    )
    same = peaks[_IMAGES[1]] / peaks[_IMAGES[0]]
    yield Figure("build memory", f"{_IMAGES[1]} images / {_IMAGES[0]}", same, "", Goal(at_most=_SAME))


def _measured(folder: Path, count: int, weights: Path) -> int:
    """Bytes."""
    words = [str(folder / f"hr-{count}"), str(weights), str(folder / f"cache-{count}"), str(_RECORDS // count)]
    command = [sys.executable, "-m", "benchmarks.memory", *words]
    return int(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))


def _build(hr: Path, weights: Path, out: Path, records: int) -> None:
    """Make so many records an image; print the bytes taken at the peak, beyond what was taken before."""
    asked = build_job(hr, weights, out, base=records, zoom_in=0, zoom_out=0)
    asker = job.teacher.load(weights, job.choose_device(asked.device), asked.precision)
    asker(np.zeros((asked.batch_size, asked.patch, asked.patch, 3), np.uint8), asked.dtype)
    before = _peak()
    job.run(asked)
    print(_peak() - before)


def _peak() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    *folders, records_an_image = sys.argv[1:]
    _build(*map(Path, folders), records=int(records_an_image))

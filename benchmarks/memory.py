"""Build memory: what a build takes at its peak beyond the model and a batch, for few images and for many.

Both make as many records, enough to fill every queue. Each build is a process of its own, which first loads the
teacher and asks it once.

What the C library's allocator keeps for later differs by 100 MiB from run to run. So the two are compared with an
allocator that gives back what is freed (glibc's, by its own settings), which shows what the program holds.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.figures import Figure, Goal
from benchmarks.made_images import save_made_images
from benchmarks.material import cache_config, network_file
from dukd_cache.build.teacher import load
from dukd_cache.commands import build as job
from dukd_cache.networks.devices import choose_device

_IMAGES = (100, 10_000)
_RECORDS = 10_000
_SIDE = 192
_GIB = 2**30
_SAME = 0.02
"""GiB. Names, paths and hashes of 10 000 images are a third of it; set after 0.017 was found."""
_GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


def figures() -> Iterator[Figure]:
    """The peak of the larger build, and by how much it is above the smaller one's."""
    few, many = _IMAGES
    with tempfile.TemporaryDirectory(prefix="dukd-bench-") as name:
        folder = Path(name)
        weights = network_file(folder / "tiny.safetensors", "EDSR", {"channels": 8, "blocks": 1})
        for count in _IMAGES:
            save_made_images(folder / f"hr-{count}", count, _SIDE, _SIDE)
        peak = _measured(folder, many, weights, {})
        held = {count: _measured(folder, count, weights, _GIVE_BACK) for count in _IMAGES}
    case = f"{_SIDE}×{_SIDE}, {_RECORDS} records, patch 48, batch 16"
    yield Figure("build memory", f"{many} images of {case}", peak / _GIB, "GiB", Goal(at_most=1))
    facts = {f"{count}_images_MiB": found / 2**20 for count, found in held.items()}
    more = (held[many] - held[few]) / _GIB
    case = f"held for {many} images, more than for {few}"
    yield Figure("build memory", case, more, "GiB", Goal(at_most=_SAME), facts)


def _measured(folder: Path, count: int, weights: Path, allocator: dict[str, str]) -> int:
    """Bytes."""
    out = folder / f"cache-{count}"
    shutil.rmtree(out, ignore_errors=True)
    words = [str(folder / f"hr-{count}"), str(weights), str(out), str(_RECORDS // count)]
    command = [sys.executable, "-m", "benchmarks.memory", *words]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=os.environ | allocator)
    return int(json.loads(done.stdout))


def _build(hr: Path, weights: Path, out: Path, records: int) -> None:
    """Make so many records an image; print the bytes taken at the peak, beyond what was taken before."""
    asked = cache_config(hr, weights, views={"base": records, "zoom_in": 0, "zoom_out": 0})
    patch, teacher = asked.patch or 0, load(weights, choose_device(asked.device), asked.precision)
    teacher(np.zeros((asked.batch_size, patch, patch, 3), np.uint8), asked.dtype)
    before = _peak()
    job.build_cache(asked, out)
    print(_peak() - before)


def _peak() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    hr_folder, weights_file, out_folder, records_an_image = sys.argv[1:]
    _build(Path(hr_folder), Path(weights_file), Path(out_folder), int(records_an_image))

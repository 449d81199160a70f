"""Growth: seconds a record of building and of training, for caches of 1×, 10× and 100× records.

What building and loading cost whatever the size is left out: it is the cost of a further record that is compared,
from the first size to the second and from the second to the third.
"""

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.figures import Figure, Goal
from benchmarks.made_images import save_made_images
from benchmarks.material import build_job, network_file
from benchmarks.step import seconds_a_step, training
from benchmarks.timing import taking_turns
from dukd_cache import job
from dukd_cache.job import BuildJob
from dukd_cache.reader import Cache
from dukd_train.data.decoded import decoded

_IMAGES = (100, 1_000, 10_000)
_CROPS = 4
_TURNS = (5, 5, 3)
"""Of each size: what takes less time is measured more often."""
_SIDE = 96
_PATCH = 16
_STUDENT = {"channels": 16, "blocks": 2}
_STEPS = 60
_RUNS = 7
_FLAT = Goal(at_most=1.05)


def figures() -> Iterator[Figure]:
    """The largest over the smallest time a record, of building and of loading; a step's at 100× over that at 1×."""
    with tempfile.TemporaryDirectory(prefix="dukd-bench-") as name:
        folder = Path(name)
        weights = network_file(folder / "tiny.safetensors", "EDSR", {"channels": 8, "blocks": 1})
        records = [_CROPS * count for count in _IMAGES]
        build_s: list[float] = []
        load_s: list[float] = []
        for count, turns in zip(_IMAGES, _TURNS, strict=True):
            hr = save_made_images(folder / f"hr-{count}", count, _SIDE, _SIDE)
            asked = build_job(hr, weights, folder / f"cache-{count}", patch=_PATCH, base=_CROPS, zoom_in=0, zoom_out=0)
            build_s.append(median(_built(asked) for _ in range(turns)))
            # Not the first: memory that no process had before comes from a virtual machine's host.
            load_s.append(median([_loaded(asked.out) for _ in range(1 + turns)][1:]))
        step_s = _steps([folder / f"cache-{count}" for count in _IMAGES], folder / "run")
    case = f"{records[0]}, {records[1]} and {records[2]} records, patch {_PATCH}"
    for what, seconds in {"building": build_s, "loading": load_s}.items():
        more = [
            (seconds[size + 1] - seconds[size]) / (records[size + 1] - records[size])
            for size in range(len(records) - 1)
        ]
        facts = {"seconds": seconds, "s_a_further_record": more}
        yield Figure("growth", f"{what} a further record: {case}", max(more) / min(more), "", _FLAT, facts)
    yield Figure("growth", f"a training step: {case}", step_s[-1] / step_s[0], "", _FLAT, {"s_a_step": step_s})


def _built(asked: BuildJob) -> float:
    """Seconds of a whole build."""
    shutil.rmtree(asked.out, ignore_errors=True)
    started = time.perf_counter()
    job.run(asked)
    return time.perf_counter() - started


def _loaded(cache: Path) -> float:
    """Seconds to decode all records into memory, as a training does before its first step."""
    opened = Cache(cache)
    started = time.perf_counter()
    decoded(opened, "base", ("teacher", "truth")).block(None)
    return time.perf_counter() - started


def _steps(caches: list[Path], out: Path) -> list[float]:
    """Seconds a step of training from each of the caches, measured in turns."""
    configs = [training(cache, _STUDENT, _STEPS, method="kd") for cache in caches]
    seconds: list[list[float]] = [[] for _ in configs]
    for place in taking_turns(range(len(configs)), _RUNS):
        seconds[place].append(seconds_a_step(configs[place], out))
    return [median(found) for found in seconds]

"""Growth: seconds a record of building and of training, for caches of 1×, 10× and 100× records.

What building and loading cost whatever the size is left out: it is the cost of a further record that is compared,
from the second size to the third over from the first to the second.
"""

import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.figures import Figure, Goal
from benchmarks.made_images import save_made_images
from benchmarks.material import cache_config, network_file
from benchmarks.step import seconds_a_step, training
from benchmarks.timing import Times, in_turns, taking_turns
from dukd_cache.commands import build as job
from dukd_cache.commands.config import CacheConfig
from dukd_cache.format.reader import Cache
from dukd_train.data.decoded import Decoded, decoded
from dukd_train.data.shared_memory import Block

_IMAGES = (100, 1_000, 10_000)
_CROPS = 4
_RECORDS = [_CROPS * count for count in _IMAGES]
_CASE = f"{_RECORDS[0]}, {_RECORDS[1]} and {_RECORDS[2]} records"
_REPEATED = (5, 5, 1)
"""In a turn, so that no size is measured for a moment only: what else the machine does changes within seconds."""
_BUILDS = 3
_LOADS = 5
_SIDE = 96
_PATCH = 16
_STUDENT = {"channels": 16, "blocks": 2}
_STEPS = 500
_RUNS = 5
_FLAT = Goal(at_most=1.05)


def figures() -> Iterator[Figure]:
    """Of building, of loading, and of a training step, which is compared at 100× and 1×."""
    with tempfile.TemporaryDirectory(prefix="dukd-bench-") as name:
        folder = Path(name)
        weights = network_file(folder / "tiny.safetensors", "EDSR", {"channels": 8, "blocks": 1})
        caches = {str(count): folder / f"cache-{count}" for count in _IMAGES}
        asked = {
            name: cache_config(
                save_made_images(folder / f"hr-{name}", int(name), _SIDE, _SIDE),
                weights,
                patch=_PATCH,
                views={"base": _CROPS, "zoom_in": 0, "zoom_out": 0},
            )
            for name in caches
        }
        repeated = dict(zip(caches, _REPEATED, strict=True))
        builds = in_turns(
            {name: partial(_build, asked[name], caches[name], repeated[name]) for name in caches}, _BUILDS
        )
        yield _further("building", list(builds.values()), {})
        # Memory that was written to before. That of a virtual machine may have to come from its host when it is
        # written to for the first time, at the host's pace and only for the largest size: measured apart.
        block, fresh_s = _fresh(_records(caches[str(_IMAGES[-1])]).nbytes)
        loads = in_turns({name: partial(_load, out, block, repeated[name]) for name, out in caches.items()}, _LOADS)
        yield _further("loading", list(loads.values()), {"fresh_memory_s_a_record": fresh_s / _RECORDS[-1]})
        del block
        step_s = _steps([caches[str(count)] for count in (_IMAGES[0], _IMAGES[-1])], folder / "run")
    ratio = median(many / few for few, many in zip(*step_s, strict=True))
    case = f"a training step: {_RECORDS[-1]} over {_RECORDS[0]} records"
    yield Figure("growth", case, ratio, "", _FLAT, {"s_a_step": step_s})


def _further(what: str, sizes: Sequence[Times], facts: dict[str, float]) -> Figure:
    """What a further record costs among many, over what it costs among few; the median of the turns' ratios."""
    few, many = _a_further_record([times.wall for times in sizes])
    cpu_few, cpu_many = _a_further_record([times.cpu for times in sizes])
    told = {
        "s_a_further_record": [few.tolist(), many.tolist()],
        "cpu_s_a_further_record": [cpu_few.tolist(), cpu_many.tolist()],
    }
    ratio = float(np.median(many / few))
    return Figure("growth", f"{what} a further record: {_CASE}", ratio, "", _FLAT, told | facts)


def _a_further_record(seconds: Sequence[list[float]]) -> tuple[np.ndarray, np.ndarray]:
    """Seconds in each turn: among few records and among many."""
    small, middle, large = (np.array(turns) / count for turns, count in zip(seconds, _REPEATED, strict=True))
    return (middle - small) / (_RECORDS[1] - _RECORDS[0]), (large - middle) / (_RECORDS[2] - _RECORDS[1])


def _build(asked: CacheConfig, out: Path, times: int) -> None:
    """A whole build, so many times."""
    for _ in range(times):
        shutil.rmtree(out, ignore_errors=True)
        job.build_cache(asked, out)


def _load(cache: Path, block: Block, times: int) -> None:
    """Decode all records into `block`, as a training does before its first step; so many times."""
    for _ in range(times):
        _records(cache).fill(block)


def _records(cache: Path) -> Decoded:
    """Those of `cache`, opened anew."""
    return decoded(Cache(cache), "base", ("teacher", "truth"))


def _fresh(size: int) -> tuple[Block, float]:
    """Memory of so many bytes, and the seconds that writing to it for the first time took."""
    block = np.empty(size, np.uint8)
    started = time.perf_counter()
    block.fill(0)
    return block, time.perf_counter() - started


def _steps(caches: list[Path], out: Path) -> list[list[float]]:
    """Seconds a step of training from each of the caches, measured in turns."""
    configs = [training(cache, _STUDENT, _STEPS, method="kd") for cache in caches]
    seconds: list[list[float]] = [[] for _ in configs]
    for place in taking_turns(range(len(configs)), _RUNS):
        seconds[place].append(seconds_a_step(configs[place], out))
    return seconds

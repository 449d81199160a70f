"""Read rate: records a second, decoded, in random order, by one process and one thread.

The same records in the same codec: in this cache, and as `webdataset`, `litdata` and `mosaicml-streaming` keep them;
and as BasicSR does, one PNG file a patch. All return u8 RGB arrays, which are compared once. Resident: batches gathered
from what the trainer has decoded beforehand.
"""

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch

from benchmarks import readers
from benchmarks.figures import Figure, Goal
from benchmarks.material import cache_config, photographs, teacher
from benchmarks.timing import in_turns
from dukd_cache.commands import build as job
from dukd_cache.format.reader import Cache
from dukd_train.data.order import Order
from dukd_train.data.residency import open_rows
from dukd_train.settings import Data

_RECORDS = 384
_A_TURN = 192
"""Records read in one turn."""
_TURNS = 5
_BATCH = 16
_RESIDENT_STEPS = 200


def figures() -> Iterator[Figure]:
    """Streamed and resident."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="dukd-bench-") as name:
        folder = Path(name)
        hr, images = photographs(folder / "hr", _RECORDS // 16)
        weights, teacher_name = teacher()
        job.build_cache(
            cache_config(hr, weights, patch=32, views={"base": 16, "zoom_in": 0, "zoom_out": 0}), folder / "cache"
        )
        cache = Cache(folder / "cache")
        alternatives = {"dukd": lambda order: [_arrays(cache, index) for index in order]}
        alternatives |= readers.open_all(cache, folder)
        _compare(alternatives)
        rates = _rates(alternatives)
        resident = _resident(cache)
    case = f"{teacher_name}, {images}, 3 images a record: 32², 128², 128²"
    others = {name: rate for name, rate in rates.items() if name != "dukd"}
    best = max(others, key=others.__getitem__)
    facts = {"records_per_s": rates, "resident_records_per_s": resident, "left_out": readers.missing()}
    yield Figure("read rate", f"streamed / {best}; {case}", rates["dukd"] / others[best], "", Goal(at_least=1.0), facts)
    yield Figure("read rate", f"resident / {best}", resident / others[best], "", Goal(at_least=10))


def _arrays(cache: Cache, index: int) -> tuple[np.ndarray, ...]:
    record = cache.read("base", index)
    return record.input, record["teacher"], record["truth"]


def _compare(alternatives: dict[str, Callable[[list[int]], list[tuple[np.ndarray, ...]]]]) -> None:
    """All give the same records, `webdataset` in an order of its own."""
    expected = sorted(map(_digest, alternatives["dukd"](list(range(_RECORDS)))))
    for name, read in alternatives.items():
        if sorted(map(_digest, read(list(range(_RECORDS))))) != expected:
            raise RuntimeError(f"{name}: other pixels")


def _digest(record: tuple[np.ndarray, ...]) -> bytes:
    return b"".join(array.tobytes() for array in record)


def _rates(alternatives: dict[str, Callable[[list[int]], list[tuple[np.ndarray, ...]]]]) -> dict[str, float]:
    order = np.random.default_rng(0).permutation(_RECORDS)[:_A_TURN].tolist()
    times = in_turns({name: partial(read, order) for name, read in alternatives.items()}, _TURNS)
    return {name: _A_TURN / median(found.wall) for name, found in times.items()}


def _resident(cache: Cache) -> float:
    """Records a second that the trainer gathers into batches."""
    rows, _ = open_rows(cache, {"base": ["teacher", "truth"]}, Data(resident="memory"), torch.device("cpu"))
    order = Order(cache.manifest, _BATCH, None, 0)
    picks = [order.draw("base", step, _RECORDS)[0] for step in range(_RESIDENT_STEPS)]
    times = in_turns({"resident": lambda: [rows["base"].gather(each) for each in picks]}, _TURNS)
    return _BATCH * _RESIDENT_STEPS / times["resident"].typical

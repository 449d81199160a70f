"""How good a teacher's answers are and what they cost, measured on records of a finished cache.

PSNR here is over all pixels and channels of a record, in RGB with peak 255, no border cut: it compares records of one
cache with one another, not with published tables (which take luma, of whole images).

Shapes: p input side, q = s·p output side.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np

from dukd_cache.format.reader import Cache, evenly
from dukd_cache.pictures.bicubic import upscale
from dukd_cache.pictures.levels import PSNR_OF_EQUALS, levels, psnr
from dukd_cache.system.errors import SettingError
from dukd_cache.system.tables import markdown_table
from dukd_cache.system.threads import in_threads, told

SAMPLE = 256
"""Records of a view that are measured unless told otherwise: some seconds on any cache."""


@dataclass(frozen=True)
class Distribution:
    """Of one number over records."""

    min: float
    lower_quartile: float
    median: float
    upper_quartile: float
    max: float
    mean: float


@dataclass(frozen=True)
class ViewQuality:
    """Measured on some records of one view, evenly spread over it."""

    sampled: int
    equal: int
    """Records two of whose pictures are equal, as those of flat crops are. They would make every mean as high as one
    likes, so `psnr` is of the others."""
    psnr: dict[str, Distribution]
    """dB, of `teacher-truth`, `teacher-bicubic` and `truth-bicubic`, those that the view has; {} where no record is
    left. `bicubic` is the enlarged input."""
    bytes: dict[str, Distribution]
    """In the store, of `input`, `teacher` and `truth`, those that the view has."""


def measure_quality(
    cache: Cache, sample: int, on_records: Callable[[int], None] = lambda _count: None
) -> dict[str, ViewQuality]:
    """Measure at most `sample` records of each view.

    Raises:
        SettingError: `sample` is not positive.
        CacheError: what is stored is damaged.
    """
    if sample < 1:
        raise SettingError(f"`sample` must be positive, got {sample}")
    found: dict[str, ViewQuality] = {}
    for view in cache.views:
        picks = evenly(cache.count(view), sample)
        psnrs = [*told(in_threads(partial(_psnrs, cache, view), picks), on_records)]
        sizes = [cache.stored_bytes(view, index) for index in picks]
        unlike = [row for row in psnrs if PSNR_OF_EQUALS not in row.values()]
        found[view] = ViewQuality(len(picks), len(psnrs) - len(unlike), _distributions(unlike), _distributions(sizes))
    return found


def to_json(measured: dict[str, ViewQuality]) -> dict[str, Any]:
    """JSON-able."""
    return {view: asdict(quality) for view, quality in measured.items()}


def table(measured: dict[str, ViewQuality]) -> str:
    """For people."""
    heads = ("min", "25 %", "median", "75 %", "max", "mean")
    psnrs = [(view, pair, *row_of(d, 2)) for view, found in measured.items() for pair, d in found.psnr.items()]
    sizes = [(view, array, *row_of(d, 0)) for view, found in measured.items() for array, d in found.bytes.items()]
    lines = [
        markdown_table(("view", "PSNR (RGB), dB", *heads), psnrs, left=2),
        markdown_table(("view", "bytes a record", *heads), sizes, left=2).rstrip(),
    ]
    if equal := ", ".join(f"{found.equal} of {view}" for view, found in measured.items() if found.equal):
        lines += ["", f"PSNR without records that hold equal pictures, as flat crops do: {equal}"]
    return "\n".join(lines)


def _psnrs(cache: Cache, view: str, index: int) -> dict[str, float]:
    record = cache.read(view, index)
    pictures = {name: levels(record[name]) for name in (*cache.manifest.answers, "truth") if name in record}
    pictures["bicubic"] = levels(upscale(np.asarray(record.input, np.uint8), cache.manifest.scale))
    return {f"{one}-{other}": psnr(pictures[one], pictures[other]) for one, other in combinations(pictures, 2)}


def _distributions(rows: Sequence[dict[str, Any]]) -> dict[str, Distribution]:
    """Of each key; all rows have the same ones."""
    return {key: distribution_of([float(row[key]) for row in rows]) for key in rows[0]} if rows else {}


def distribution_of(values: Sequence[float]) -> Distribution:
    """Of at least one value."""
    least, lower, median, upper, most = map(float, np.quantile(values, (0, 0.25, 0.5, 0.75, 1)))
    return Distribution(least, lower, median, upper, most, float(np.mean(values)))


def row_of(found: Distribution, digits: int) -> list[str]:
    """The cells of a table."""
    return [f"{value:.{digits}f}" for value in asdict(found).values()]

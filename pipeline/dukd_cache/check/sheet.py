"""A contact sheet: records of a cache, to look at."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from dukd_cache.check.hardest import picks_of
from dukd_cache.format.reader import Cache, evenly
from dukd_cache.format.record import Record
from dukd_cache.pictures.degradation.steps import Step
from dukd_cache.pictures.degradation.words import in_words
from dukd_cache.pictures.drawing import Panel, sheet
from dukd_cache.pictures.levels import to_uint8
from dukd_cache.system.errors import SettingError

_TILES_PER_ROW = 6
"""Of a contact sheet."""


def contact_sheet(cache: Cache, records_per_view: int) -> Image.Image:
    """Records of every view of `cache`, evenly spread over it: input, answer and truth side by side.

    Where the cache has the columns for it, the hardest records follow, and those whose answers are worse than bicubic.

    Raises:
        SettingError: `records_per_view` is not positive.
        CacheError: what is stored is damaged.
    """
    if records_per_view < 1:
        raise SettingError(f"records per view must be positive, got {records_per_view}")
    rows: list[tuple[str, Sequence[Panel]]] = []
    for view in cache.views:
        picks = evenly(cache.count(view), records_per_view)
        rows += _rows(cache, view, f"{len(picks)} of {cache.count(view)} records", picks)
        for kind, found in picks_of(cache.columns(view)).items():
            rows += _rows(cache, view, kind, found)
    return sheet(rows, f"{cache.place.title}: ×{cache.manifest.scale}, digest {cache.digest[:12]}")


def _rows(cache: Cache, view: str, what: str, picks: Sequence[int]) -> Iterator[tuple[str, Sequence[Panel]]]:
    steps = cache.manifest.degradation.steps
    groups = [_record_tiles(index, cache.read(view, index), steps) for index in picks]
    per_row = max(1, _TILES_PER_ROW // max(map(len, groups), default=1))
    for start in range(0, len(groups), per_row):
        yield "" if start else f"{view}: {what}", [tile for group in groups[start : start + per_row] for tile in group]


def _record_tiles(index: int, record: Record, steps: Sequence[Step]) -> list[Panel]:
    done = f"\n{in_words(steps, record.info.columns)}" if steps else ""
    of_input = f"\n{record.info.image} ({record.info.x}, {record.info.y}){done}"
    return [
        Panel(to_uint8(pixels), f"#{index} {name} {_size(pixels)}" + of_input * (name == "input"))
        for name, pixels in record.items()
    ]


def _size(pixels: npt.NDArray[np.generic]) -> str:
    precision = "" if pixels.dtype == np.uint8 else f" {pixels.dtype.name}"
    return f"{pixels.shape[1]}×{pixels.shape[0]}{precision}"

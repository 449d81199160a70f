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
    """The records of `shown_records` on one picture: input, answer and truth side by side.

    Raises:
        SettingError: `records_per_view` is not positive.
        CacheError: what is stored is damaged.
    """
    rows: list[tuple[str, Sequence[Panel]]] = []
    for title, records in shown_records(cache, records_per_view):
        per_row = max(1, _TILES_PER_ROW // max(map(len, records), default=1))
        for start in range(0, len(records), per_row):
            tiles = [tile for record in records[start : start + per_row] for tile in record]
            rows.append(("" if start else title, tiles))
    return sheet(rows, f"{cache.place.title}: ×{cache.manifest.scale}, digest {cache.digest[:12]}")


def shown_records(cache: Cache, records_per_view: int) -> Iterator[tuple[str, list[list[Panel]]]]:
    """Records of every view of `cache`, evenly spread over it, as a title and the pictures of each record.

    Where the cache has the columns for it, the hardest records follow, and those whose answers are worse than bicubic.

    Raises:
        SettingError: `records_per_view` is not positive.
        CacheError: what is stored is damaged.
    """
    if records_per_view < 1:
        raise SettingError(f"records per view must be positive, got {records_per_view}")
    steps = cache.manifest.degradation.steps
    for view in cache.views:
        evenly_spread = evenly(cache.count(view), records_per_view)
        picks = {f"{len(evenly_spread)} of {cache.count(view)} records": evenly_spread, **picks_of(cache.columns(view))}
        for kind, indices in picks.items():
            yield f"{view}: {kind}", [_record_tiles(index, cache.read(view, index), steps) for index in indices]


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

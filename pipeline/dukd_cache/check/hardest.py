"""What the columns of a cache tell: how each is distributed, which records are the hardest, where a teacher is bad."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from dukd_cache.build.columns import COLUMNS
from dukd_cache.check.quality import Distribution, distribution_of, row_of
from dukd_cache.format.reader import Cache
from dukd_cache.system.tables import markdown_table

SHOWN = 10
"""Records of a view, of each kind."""

HARDEST, WORSE = "hardest", "answers worse than bicubic"

_Columns = Mapping[str, npt.NDArray[Any]]


def picks_of(columns: _Columns) -> dict[str, list[int]]:
    """Records of a view to look at, by kind, the worst first.

    The hardest are those that bicubic enlarges worst. Where the answers, on average of several, are worse than that,
    they teach nothing.
    """
    found: dict[str, list[int]] = {}
    if (bicubic := columns.get("bicubic_psnr")) is not None:
        found[HARDEST] = _lowest(bicubic)
        if (answer := columns.get("answer_psnr")) is not None:
            gained = answer - bicubic
            found[WORSE] = [index for index in _lowest(gained) if gained[index] < 0]
    return {kind: indices for kind, indices in found.items() if indices}


def facts(cache: Cache) -> dict[str, Any]:
    """JSON-able: distributions and records to look at, by view; {} where there are no columns."""
    columns = {view: cache.columns(view) for view in cache.views} if cache.manifest.columns else {}
    return {
        view: {
            "columns": {name: asdict(each) for name, each in _distributions(found).items()},
            **{
                kind: [_record(cache, view, index, found) for index in picks] for kind, picks in picks_of(found).items()
            },
        }
        for view, found in columns.items()
    }


def table(found: Mapping[str, Any]) -> str:
    """`facts` for people, without the values of a degradation, of which there are too many; "" where there are none."""
    heads = ("view", "column", "min", "25 %", "median", "75 %", "max", "mean")
    numbers = [
        (view, name, *row_of(Distribution(**each), 2))
        for view, of_view in found.items()
        for name, each in of_view["columns"].items()
        if name in COLUMNS
    ]
    records = [
        (
            view,
            kind,
            f"#{each['record']} {each['image']} ({each['x']}, {each['y']})",
            *map(_shown, each["numbers"].values()),
        )
        for view, of_view in found.items()
        for kind in (HARDEST, WORSE)
        for each in of_view.get(kind, ())
    ]
    names = next((tuple(each) for each in _numbers(found)), ())
    tables = [markdown_table(heads, numbers, left=2)] if numbers else []
    tables += [markdown_table(("view", "what", "record", *names), records, left=3)] if records else []
    return "\n".join(tables).rstrip()


def _numbers(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        each["numbers"] for of_view in found.values() for kind in (HARDEST, WORSE) for each in of_view.get(kind, ())
    ]


def _record(cache: Cache, view: str, index: int, columns: _Columns) -> dict[str, Any]:
    info = cache.info(view, index)
    numbers = {name: None if np.isnan(each[index]) else each[index].item() for name, each in columns.items()}
    return {"record": index, "image": info.image, "x": info.x, "y": info.y, "numbers": numbers}


def _shown(number: float | None) -> str:
    return "" if number is None else f"{number:.2f}"


def _distributions(columns: _Columns) -> dict[str, Distribution]:
    """Of those that the view has."""
    known = {name: each[~np.isnan(each)] for name, each in columns.items()}
    return {name: distribution_of(each.tolist()) for name, each in known.items() if len(each)}


def _lowest(numbers: npt.NDArray[Any]) -> list[int]:
    known = np.flatnonzero(~np.isnan(numbers))
    found: list[int] = known[np.argsort(numbers[known], kind="stable")][:SHOWN].tolist()
    return found

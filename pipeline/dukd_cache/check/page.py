"""A cache as one HTML page that needs nothing else: records to look at, distributions, verdicts and what it cost."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dukd_cache.build.columns import COLUMNS
from dukd_cache.build.costs import costs
from dukd_cache.check import equivariance, hardest
from dukd_cache.check.sheet import shown_records
from dukd_cache.format.reader import Cache
from dukd_cache.pictures.drawing import Panel
from dukd_cache.system.pages import environment, png_uri

_BARS = 24
"""Of a histogram."""


@dataclass(frozen=True)
class Histogram:
    """How the numbers of one column are distributed over the records of a view."""

    view: str
    column: str
    low: float
    high: float
    """Of the axis, from the first bar to the last."""
    counts: list[int]
    """Of records, a number for each bar."""


@dataclass(frozen=True)
class Tile:
    """A picture of a record."""

    image: str
    """A `data:` address."""
    caption: str


def render(cache: Cache, facts: Mapping[str, Any], measured: Mapping[str, Any], records: int) -> str:
    """The page.

    Args:
        cache: to show records of.
        facts: what the manifest says.
        measured: what was measured: `quality`, `notes`, `numbers`, `equivariance`, `trusted`, as far as they are there.
        records: of each view, to show.

    Raises:
        CacheError: what is stored is damaged.
    """
    templates = environment("dukd_cache.check")
    return templates.get_template("cache.html.jinja").render(
        title=cache.place.title,
        manifest=cache.manifest,
        digest=cache.digest,
        views=facts["views"],
        costs=[*costs(cache.manifest)],
        quality=measured.get("quality", {}),
        notes=measured.get("notes", []),
        gains=[*gains(measured.get("quality", {}), cache.manifest.answers)],
        numbers=measured.get("numbers", {}),
        trusted=measured.get("trusted", {}),
        generators=[*equivariance.GENERATORS],
        worst=_worst(measured.get("equivariance", {})),
        quality_columns=[*COLUMNS],
        kinds=(hardest.HARDEST, hardest.WORSE),
        histograms=_histograms(cache),
        sheet=[(name, [[*map(_tile, record)] for record in shown]) for name, shown in shown_records(cache, records)],
    )


def gains(quality: Mapping[str, Any], answers: Iterable[str]) -> Iterator[str]:
    """A line for each view with a truth: how much closer to it the `answers` are than bicubic, in what was measured."""
    for view, found in quality.items():
        psnr = found["psnr"]
        by = {
            name: psnr[f"{name}-truth"]["mean"] - psnr["truth-bicubic"]["mean"]
            for name in answers
            if {f"{name}-truth", "truth-bicubic"} <= psnr.keys()
        }
        if by:
            parts = (f"{name} is {abs(dB):.2f} dB {'closer' if dB >= 0 else 'farther'}" for name, dB in by.items())
            yield f"Distance to the truth of {view}, compared with bicubic: {', '.join(parts)}."


def _histograms(cache: Cache) -> list[Histogram]:
    """Of the columns that a view has, but for those that are the same number everywhere."""
    found: list[Histogram] = []
    for view in cache.views if cache.manifest.columns else ():
        for name, values in cache.columns(view).items():
            known: npt.NDArray[Any] = values[np.isfinite(values)]
            if len(known) and known.min() < known.max():
                counts, edges = np.histogram(known, _BARS)
                found.append(Histogram(view, name, float(edges[0]), float(edges[-1]), counts.tolist()))
    return found


def _worst(gaps: Mapping[str, Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    """By view and generator, the PSNR in dB of the worst of what the generator draws."""
    return {
        view: {name: min(of_view[each]["psnr"] for each in drawn) for name, drawn in equivariance.GENERATORS.items()}
        for view, of_view in gaps.items()
    }


def _tile(panel: Panel) -> Tile:
    return Tile(png_uri(panel.image), panel.caption)

"""A report as one HTML page that needs nothing else: no script, no other file, no network."""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from dukd_cache.settings.model import dump
from dukd_train.report import charts
from dukd_train.report.comparison import BICUBIC, TEACHER, Comparison
from dukd_train.report.crops import ComparedCrop
from dukd_train.report.curves import Panel, curve_pictures
from dukd_train.report.groups import BASELINES, Group, apart, differing_settings
from dukd_train.report.plotting import data_uri, styles
from dukd_train.report.spreads import MINUS
from dukd_train.report.standings import (
    GAIN_DIGITS,
    ImageDifferences,
    Standing,
    best_groups,
    image_differences,
    image_means,
)
from dukd_train.report.standings import standings as standings_of
from dukd_train.report.tables import Contender, digits
from dukd_train.scoring.metrics import U8, psnr_y
from dukd_train.scoring.scores import LABELS, MISSING, decibels, is_better, left_out_note, shown


@dataclass(frozen=True)
class SeenCrop:
    """A crop as one contender sees it."""

    name: str
    note: str
    image: str
    """A `data:` address."""
    psnr_y: float | None
    """dB, of the crop; none of the truth, nor without one."""
    best: bool
    """No other student comes nearer to the truth."""


@dataclass(frozen=True)
class CropFigure:
    """A square of a picture, and everyone's answer."""

    crop: ComparedCrop
    context: str
    tiles: list[SeenCrop]


@dataclass(frozen=True)
class ImageRow:
    """An image: the baseline's PSNR-Y and every group's difference to it, in dB."""

    name: str
    baseline: float
    differences: list[float]


@dataclass(frozen=True)
class SetDifferences:
    """All that is shown of a set image by image."""

    groups: list[ImageDifferences]
    pictures: Mapping[str, str]
    rows: list[ImageRow]
    """Greatest mean gain first."""
    largest: float
    """Absolute difference in dB, for the depth of colours."""


def render(
    rows: Sequence[Contender],
    standings: Sequence[Standing],
    comparison: Comparison,
    photographs: Comparison,
    panels: Sequence[Panel],
    provenance: Mapping[str, Any],
    against: str,
) -> str:
    """The page.

    Args:
        rows: bicubic, every run, and perhaps the teacher.
        standings: of the groups that the runs make.
        comparison: the scores behind them, image by image.
        photographs: images without HR, if there are any.
        panels: the curves of the groups, or of the runs of a single one.
        provenance: what `provenance.json` holds.
        against: group or contender that the others are held against image by image.
    """
    groups = [standing.group for standing in standings]
    shown = apart(groups)
    environment = Environment(
        loader=PackageLoader("dukd_train.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "score": _score,
        "decibels": decibels,
        "signed": _signed,
        "duration": _duration,
        "heat": _heat,
    }
    return environment.get_template("report.html.jinja").render(
        scale=standings[0].group.runs[0].scale,
        sets=comparison.images,
        best_of={name: best_groups(standings, name) for name in comparison.images},
        notes={name: left_out_note(images) for name, images in comparison.left_out.items()},
        metrics=comparison.metrics,
        labels=LABELS,
        is_best=lambda standing, name, metric: (
            not math.isnan(mean := standing.scores[name][metric].mean)
            and not any(is_better(metric, other.scores[name][metric].mean, mean) for other in standings)
        ),
        rows=rows,
        references=[row for row in rows if not row.competes],
        by_name={row.name: row for row in rows},
        standings=standings,
        baselines=[method for method in BASELINES if any(method in standing.gains for standing in standings)],
        digits=digits,
        gain_digits=GAIN_DIGITS,
        score_charts={name: charts.score_chart(standings, name) for name in comparison.images},
        looks=styles([group.name for group in shown]),
        curves=curve_pictures(panels, [group.name for group in shown]),
        against=against,
        differences=_differences(groups, comparison, against),
        crops=[_crop_figure(crop, groups) for crop in comparison.crops],
        photographs=photographs,
        photograph_notes={name: left_out_note(images) for name, images in photographs.left_out.items()},
        photograph_standings=standings_of(groups, photographs),
        choices=max((len(crop.answers) for crop in photographs.crops), default=1),
        views=[_crop_figure(crop, groups, photographs) for crop in photographs.crops],
        provenance=provenance,
        runs=[run for group in groups for run in group.runs],
        group_of={run.name: group.name for group in groups for run in group.runs},
        differing=differing_settings(groups),
        settings={group.name: dump(group.runs[0].config) for group in groups},
        describe=_describe,
    )


def _differences(groups: Sequence[Group], comparison: Comparison, against: str) -> dict[str, SetDifferences]:
    found: dict[str, SetDifferences] = {}
    for name, of_groups in image_differences(groups, against, comparison).items():
        images = comparison.images[name]
        baseline = image_means(against, groups, comparison, name)
        rows = [
            ImageRow(image, baseline[at], [each.values[at] for each in of_groups]) for at, image in enumerate(images)
        ]
        found[name] = SetDifferences(
            of_groups,
            charts.difference_charts(of_groups, images, against),
            sorted(rows, key=_greatest_gain_first),
            max((abs(value) for each in of_groups for value in each.values if not math.isnan(value)), default=0.0),
        )
    return found


def _greatest_gain_first(row: ImageRow) -> tuple[bool, float]:
    """For sorting; images that are left out come last."""
    gain = sum(row.differences)
    return (True, 0.0) if math.isnan(gain) else (False, -gain)


def _crop_figure(crop: ComparedCrop, groups: Sequence[Group], photographs: Comparison | None = None) -> CropFigure:
    owners = {run.name: (group, run) for group in groups for run in group.runs}
    psnrs = {name: psnr_y(answer, crop.truth, 0) for name, answer in crop.answers.items() if crop.truth is not None}
    students = [psnr for name, psnr in psnrs.items() if name not in (BICUBIC, TEACHER)]
    best = max(students) if len({*students}) > 1 else None  # of equals none is the best
    tiles = []
    for name, answer in crop.answers.items():
        group, run = owners.get(name, (None, None))
        several = group is not None and run is not None and len(group.runs) > 1 and len(groups) > 1
        label, note = (group.name, f"seed {run.config.seed}") if group and run and several else (name, "")
        psnr = psnrs.get(name)
        notes = [note, *(_scores_on(crop.picture, name, photographs) if photographs else ())]
        best_one = name in owners and psnr is not None and psnr == best
        tiles.append(SeenCrop(label, ", ".join(filter(None, notes)), _png(answer), psnr, best_one))
    if crop.truth is not None:
        tiles.append(SeenCrop("truth", "", _png(crop.truth), None, False))
    return CropFigure(crop, _png(crop.context), tiles)


def _scores_on(picture: str, contender: str, photographs: Comparison) -> list[str]:
    """`NIQE 4.53`, of the whole picture."""
    set_name = next(name for name in photographs.images if picture.startswith(f"{name}/"))
    at = photographs.images[set_name].index(picture.removeprefix(f"{set_name}/"))
    scores = photographs.scores[contender][set_name][at]
    return [f"{LABELS[metric]} {shown(metric, value, 2)}" for metric, value in scores.items()]


def _png(pixels: U8) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png", optimize=True)
    return data_uri(buffer.getvalue(), "image/png")


def _score(value: float, metric: str, more: int = 0) -> str:
    return shown(metric, value, digits(metric) + more)


def _signed(value: float, decimals: int) -> str:
    return MISSING if math.isnan(value) else f"{value:+.{decimals}f}".replace("-", MINUS)


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _heat(value: float, largest: float) -> str:
    """A background for a difference: blue for a gain, orange for a loss, the deeper the larger."""
    depth = min(1.0, abs(value) / largest) if largest > 0 and value == value else 0.0
    return f"rgba({'47,126,188' if value > 0 else '217,114,43'},{0.55 * depth:.2f})"


def _describe(value: Any) -> str:
    """A setting as a person would write it."""
    return "–" if value is None else str(value).lower() if isinstance(value, bool) else str(value)

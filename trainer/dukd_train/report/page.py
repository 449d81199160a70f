"""A report as one HTML page that needs nothing else: no script, no other file, no network."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from statistics import median
from typing import Any

from dukd_cache.settings.model import dump
from dukd_cache.system.pages import data_uri, environment
from dukd_train.report import charts
from dukd_train.report.comparison import TEACHER, Comparison
from dukd_train.report.crop_figures import crop_figure
from dukd_train.report.curves import Panel, curve_pictures
from dukd_train.report.groups import BASELINES, Group, apart, differing_settings
from dukd_train.report.headlines import distinguishable, gap_shares, in_short, times
from dukd_train.report.plotting import SHAPES, Drawing, styles
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
from dukd_train.report.tables import Contender, digits, elsewhere_notes
from dukd_train.scoring.scores import LABELS, MISSING, decibels, is_better, left_out_note, shown


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
    pictures: Mapping[str, Drawing]
    rows: list[ImageRow]
    """Greatest mean gain first."""
    largest: float
    """Absolute difference in dB, for the depth of colours."""


def render(
    rows: Sequence[Contender],
    standings: Sequence[Standing],
    comparison: Comparison,
    photographs: Comparison,
    headlines: Mapping[str, str],
    panels: Sequence[Panel],
    provenance: Mapping[str, Any],
    against: str,
    paper: str,
) -> str:
    """The page.

    Args:
        rows: bicubic, every run, and perhaps the teacher.
        standings: of the groups that the runs make.
        comparison: the scores behind them, image by image.
        photographs: images without HR, if there are any.
        headlines: what each set says, in words.
        panels: the curves of the groups, or of the runs of a single one.
        provenance: what `provenance.json` holds.
        against: group or contender that the others are held against image by image.
        paper: the table of scores in LaTeX.
    """
    groups = [standing.group for standing in standings]
    shown = apart(groups)
    sets = [*comparison.images]
    by_name = {row.name: row for row in rows}
    references = [row for row in rows if not row.competes]
    templates = environment("dukd_train.report")
    templates.filters |= {
        "score": _score,
        "decibels": decibels,
        "signed": _signed,
        "duration": _duration,
        "heat": _heat,
        "few_digits": _few_digits,
    }
    return templates.get_template("report.html.jinja").render(
        scale=standings[0].group.runs[0].scale,
        sets=comparison.images,
        headlines=headlines,
        in_short=in_short(standings, rows, sets),
        shares={each.group.name: {name: gap_shares(each, references, name) for name in sets} for each in standings},
        level={name: _level(standings, name) for name in sets},
        costs={group.name: _costs([by_name[run.name] for run in group.runs]) for group in groups},
        teacher=by_name.get(TEACHER),
        times=times,
        notes={name: left_out_note(images) for name, images in comparison.left_out.items()},
        metrics=comparison.metrics,
        labels=LABELS,
        is_best=lambda standing, name, metric: (
            not math.isnan(mean := standing.scores[name][metric].mean)
            and not any(is_better(metric, other.scores[name][metric].mean, mean) for other in standings)
        ),
        rows=rows,
        references=references,
        by_name=by_name,
        standings=standings,
        baselines=[method for method in BASELINES if any(method in standing.gains for standing in standings)],
        elsewhere=elsewhere_notes(standings),
        digits=digits,
        gain_digits=GAIN_DIGITS,
        score_charts={name: charts.score_chart(standings, name) for name in comparison.images},
        looks=styles([group.name for group in shown]),
        shapes=SHAPES,
        beside=any(panel.references for panel in panels),
        curves={
            part: curve_pictures(of_part, [group.name for group in shown])
            for part, scored in (("Scores", True), ("Losses", False))
            if (of_part := [panel for panel in panels if panel.of_scores is scored])
        },
        against=against,
        paper=data_uri(paper.encode(errors="backslashreplace"), "text/x-tex"),
        differences=_differences(groups, comparison, against),
        crops=[crop_figure(crop, groups) for crop in comparison.crops],
        photographs=photographs,
        photograph_notes={name: left_out_note(images) for name, images in photographs.left_out.items()},
        photograph_standings=standings_of(groups, photographs),
        choices=max(
            (len(each.answers) + (each.truth is not None) for each in (*comparison.crops, *photographs.crops)),
            default=1,
        ),
        views=[crop_figure(crop, groups, photographs) for crop in photographs.crops],
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


def _level(standings: Sequence[Standing], set_name: str) -> list[str]:
    """Names of the groups that seeds do not tell from the best, which is none of them."""
    best = best_groups(standings, set_name)
    return [
        each.group.name
        for each in standings
        if best and each not in best and distinguishable(best[0], each, set_name) is False
    ]


def _costs(rows: Sequence[Contender]) -> Contender:
    """Of runs of one network: the first, with the median of the times."""
    found = [row.milliseconds for row in rows if row.milliseconds is not None]
    return replace(rows[0], milliseconds=median(found) if found else None)


def _greatest_gain_first(row: ImageRow) -> tuple[bool, float]:
    """For sorting; images that are left out come last."""
    gain = sum(row.differences)
    return (True, 0.0) if math.isnan(gain) else (False, -gain)


def _score(value: float, metric: str, more: int = 0) -> str:
    return shown(metric, value, digits(metric) + more)


def _signed(value: float, decimals: int) -> str:
    return MISSING if math.isnan(value) else f"{value:+.{decimals}f}".replace("-", MINUS)


def _few_digits(value: float | None) -> str:
    """Three digits that count: `0.0512`, `12.3`, `4,560`."""
    if not value:
        return MISSING
    return f"{value:,.{max(0, 2 - math.floor(math.log10(value)))}f}"


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _heat(value: float, largest: float) -> str:
    """A background for a difference: blue for a gain, orange for a loss, the deeper the larger."""
    depth = min(1.0, abs(value) / largest) if largest > 0 and value == value else 0.0
    return f"rgba({'47,126,188' if value > 0 else '217,114,43'},{0.55 * depth:.2f})"


def _describe(value: Any) -> str:
    """A setting as a person would write it."""
    return "–" if value is None else str(value).lower() if isinstance(value, bool) else str(value)

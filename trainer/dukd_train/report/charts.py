"""Figures of scores: every run on a line, and image by image where a group wins or loses against the baseline."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from dukd_train.report.plotting import FAINT, Drawing, drawing, literal, new_figure, styles, tidy
from dukd_train.report.standings import ImageDifferences, Standing

_WIN, _LOSS = "#0072b2", "#d55e00"
"""Blue and orange are told apart by everyone."""

_WIDTH = 4.8
"""Inches."""

_NAMED = 20
"""Bars of no more images than this carry their names."""

_LETTERS = 20
"""Of a name beside an axis, for which little of the figure is left otherwise."""


def score_chart(standings: Sequence[Standing], set_name: str) -> Drawing:
    """Every run a mark, every group a line with its mean and standard deviation."""
    names = [standing.group.name for standing in standings]
    looks = styles(names)
    figure = new_figure(_WIDTH, 0.9 + 0.32 * len(names))
    axes = figure.subplots()
    for height, standing in enumerate(standings):
        spread, look = standing.scores[set_name]["psnr_y"], looks[standing.group.name]
        color = look["color"]
        runs = [value for value in spread.values if math.isfinite(value)]
        axes.plot(runs, [height] * len(runs), look["marker"], color=color, alpha=0.6, markersize=6, markeredgewidth=0)
        if math.isfinite(spread.mean):
            axes.errorbar(spread.mean, height, xerr=spread.deviation, color=color, capsize=4, linewidth=1.6)
            axes.plot(spread.mean, height, "|", color=color, markersize=14, markeredgewidth=2)
    axes.set_yticks(range(len(names)), [literal(name, _LETTERS) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_title(literal(f"{set_name}: PSNR-Y, dB"), fontsize=11)
    axes.ticklabel_format(axis="x", useOffset=False)
    tidy(axes)
    means = ", ".join(f"{each.group.name} {each.scores[set_name]['psnr_y'].text(2)}" for each in standings)
    return drawing(figure, f"PSNR-Y of every run on {set_name}; {means} dB")


def difference_charts(
    differences: Sequence[ImageDifferences], images: Sequence[str], against: str
) -> Mapping[str, Drawing]:
    """For each group its differences on all images, sorted, on the same axis; by group."""
    finite = [value for each in differences for value in each.values if math.isfinite(value)]
    low, high = min([0.0, *finite]), max([0.0, *finite])
    margin = 0.08 * (high - low) or 0.1
    return {each.group: _difference_chart(each, images, against, (low - margin, high + margin)) for each in differences}


def _difference_chart(
    differences: ImageDifferences, images: Sequence[str], against: str, limits: tuple[float, float]
) -> Drawing:
    values = differences.values
    order = sorted((at for at in range(len(values)) if math.isfinite(values[at])), key=lambda at: values[at])
    figure = new_figure(_WIDTH, 2.8)
    axes = figure.subplots()
    heights = [values[at] for at in order]
    colors: list[Any] = [_WIN if height > 0 else _LOSS for height in heights]
    axes.bar(range(len(order)), heights, color=colors, width=0.8 if len(order) <= _NAMED else 1.0)
    axes.axhline(0, color=FAINT, linewidth=1)
    axes.set_ylim(limits)
    axes.set_ylabel(f"dB over {literal(against, _LETTERS)}")
    axes.set_title(literal(differences.group), fontsize=11)
    if len(order) <= _NAMED:
        names = [literal(images[at].rsplit("/", 1)[-1], _LETTERS) for at in order]
        axes.set_xticks(range(len(order)), names, rotation=40, ha="right", fontsize=8)
    else:
        axes.set_xlabel(f"{len(order)} images, from the greatest loss to the greatest gain")
        axes.set_xticks([])
    tidy(axes)
    axes.grid(visible=False, axis="x")
    says = f"{differences.group} over {against}, image by image; better on {differences.wins} of {differences.compared}"
    return drawing(figure, says)

"""Training curves: validation PSNR and loss against the step, of groups of runs, mean and band over the seeds."""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from dukd_train.objective import TEACHER, Term
from dukd_train.report.finished_runs import Curve, Run
from dukd_train.report.groups import Group
from dukd_train.report.plotting import FAINT, Drawing, drawing, literal, new_figure, styles, tidy
from dukd_train.report.spreads import mean_curve

_TOTAL = "total (each method has its own terms)"

_WARM_UP = 0.1
"""Points in this first part of a run do not set the limits of an axis: later ones could not be told apart."""

_PANEL = (4.8, 3.2)
"""Width and height in inches."""

_LEGEND_COLUMNS = 4
_MARKED = 8
"""Points of a curve, about, that get a marker: people who see few colours tell curves apart by them."""


@dataclass(frozen=True)
class Line:
    """One curve of a panel."""

    mean: Curve
    low: Curve
    high: Curve
    """One standard deviation below and above the mean; the mean itself where there is one seed."""


@dataclass(frozen=True)
class Panel:
    """Curves that belong on one pair of axes."""

    title: str
    unit: str
    lines: Mapping[str, Line]
    """By name of the group."""
    references: Mapping[str, float] = field(default_factory=dict)
    """Scores of what is not trained here, by name: bicubic and the teacher, on the same images."""

    @property
    def of_scores(self) -> bool:
        """Not of losses."""
        return self.unit == "dB"


def panels(
    groups: Sequence[Group], references: Mapping[tuple[str, str], Mapping[str, float]] | None = None
) -> list[Panel]:
    """A panel for each validation set, then one for each loss, with a line for each group that has it.

    Args:
        groups: runs that make one line.
        references: scores in dB to draw beside those of a validation set, by its name and how they are made.

    Raises:
        RunError: a run's curves are damaged.
    """
    losses = {group.name: [_by_title(run) for run in group.runs] for group in groups}
    titles = dict.fromkeys(key for of_group in losses.values() for curves in of_group for key in curves)
    scores = {group.name: [run.validation() for run in group.runs] for group in groups}
    sets = [*dict.fromkeys(key for of_group in scores.values() for curves in of_group for key in curves)]
    several = {name for name, _ in sets if sum(other == name for other, _ in sets) > 1}
    shared = {title for title, _ in titles if sum(other == title for other, _ in titles) > 1}
    found = []
    for name, made in sets:  # scores that were made in different ways are not to be seen on the same axes
        title = f"{name}: PSNR-Y" + (f"\n{made or 'made in an unknown way'}" if name in several else "")
        found.append(Panel(title, "dB", _lines((name, made), scores), (references or {}).get((name, made), {})))
    found += [
        Panel(f"{title} by {unit}" if title in shared else title, unit, _lines((title, unit), losses))
        for title, unit in titles
    ]
    return [panel for panel in found if panel.lines]


def draw_curves(drawn: Sequence[Panel], names: Sequence[str], path: Path) -> None:
    """Write all panels to one PNG file, with one legend for the groups `names`."""
    across = 3 if len(drawn) in (3, 5, 6) or len(drawn) > 8 else 2
    down = max(1, math.ceil(len(drawn) / across))
    legend_height = 0.2 + 0.3 * math.ceil(len(names) / _LEGEND_COLUMNS)
    figure = new_figure(across * _PANEL[0], down * _PANEL[1] + legend_height)
    grid = figure.subplots(down, across, squeeze=False).ravel()
    looks = styles([*names])
    for axes, panel in zip(grid, drawn, strict=False):
        _draw(axes, panel, looks)
    for axes in grid[len(drawn) :]:
        axes.set_visible(False)
    if drawn:
        keys = [Line2D([], [], linewidth=1.8, **looks[name]) for name in names]
        labels = [literal(name) for name in names]
        figure.legend(keys, labels, loc="outside lower center", ncols=_LEGEND_COLUMNS, frameon=False)
    figure.savefig(path, dpi=110)


def curve_pictures(drawn: Sequence[Panel], names: Sequence[str]) -> dict[str, Drawing]:
    """The panels one by one, by title; colours are those of `styles(names)`."""
    looks = styles([*names])
    pictures: dict[str, Drawing] = {}
    for panel in drawn:
        figure = new_figure(*_PANEL)
        _draw(figure.subplots(), panel, looks)
        ends = {name: line.mean[-1][1] for name, line in panel.lines.items()} | {**panel.references}
        last = ", ".join(f"{name} {value:.4g}" for name, value in ends.items())
        pictures[panel.title] = drawing(figure, f"{panel.title} against the step; at the end {last} {panel.unit}")
    return pictures


def _by_title(run: Run) -> dict[tuple[str, str], Curve]:
    """The losses of a run by what a panel says of them: title and unit. Other terms of one name have another panel.

    Where a term measured something else in a run's first steps, its curve begins behind them.
    """
    terms, target = run.config.loss.root, run.config.target
    found: dict[tuple[str, str], Curve] = {}
    for name, curve in run.loss().items():
        term = terms.get(name)  # none of those that `allow_changes` took away
        if term is None:
            found[(_TOTAL if name == "total" else name, "loss")] = curve
            continue
        decides = [f"loss.{name}.{what}" for what in Term.model_fields if what != "weight"]
        if target and term.to == TEACHER:
            term = term.model_copy(update={"to": target})
        changed = run.changed_at([*decides, "target"] if terms[name].to == TEACHER else decides)
        title = f"{name}: {term}" + (f", {term.border} pixels at its border left out" if term.border else "")
        if same := [(step, value) for step, value in curve if step > changed]:
            found[title, term.by] = same
    return found


def _lines(name: Hashable, curves: Mapping[str, Sequence[Mapping[Any, Curve]]]) -> dict[str, Line]:
    """Of one quantity, by group, over the runs of the group that have it."""
    found: dict[str, Line] = {}
    for group, of_runs in curves.items():
        of_seeds = [of_run[name] for of_run in of_runs if name in of_run]
        mean = mean_curve(of_seeds, lambda values: values.mean)
        if mean:
            low = mean_curve(of_seeds, lambda values: values.mean - (values.deviation or 0))
            high = mean_curve(of_seeds, lambda values: values.mean + (values.deviation or 0))
            found[group] = Line(mean, low, high)
    return found


def _draw(axes: Axes, panel: Panel, looks: Mapping[str, dict[str, Any]]) -> None:
    opacity = 0.4 / (2 + len(panel.lines))
    for at, (name, line) in enumerate(panel.lines.items()):
        steps, means = zip(*line.mean, strict=True)
        every = max(1, len(steps) // _MARKED)
        marks: dict[str, Any] = {"markersize": 4.5, "markevery": (at * every // len(panel.lines), every)}
        axes.plot(steps, means, linewidth=1.5, alpha=0.9, **marks, **looks[name])
        lows, highs = ([value for _, value in curve] for curve in (line.low, line.high))
        if lows != highs:
            axes.fill_between(steps, lows, highs, color=looks[name]["color"], alpha=opacity, linewidth=0)
    references = {name: value for name, value in panel.references.items() if math.isfinite(value)}
    for name, value in references.items():
        axes.axhline(value, color=FAINT, linewidth=1.2, linestyle=(0, (6, 3)))
        axes.annotate(
            name, (1, value), (-2, 2), xycoords=("axes fraction", "data"), textcoords="offset points",
            ha="right", va="bottom", fontsize=8, color=FAINT,
        )  # fmt: skip
    axes.set_title(literal(panel.title), fontsize=11)
    axes.set_xlabel("step")
    axes.set_ylabel(panel.unit)
    tidy(axes)
    _limit(axes, [curve for line in panel.lines.values() for curve in (line.low, line.high)], [*references.values()])


def _limit(axes: Axes, curves: Sequence[Curve], references: Sequence[float]) -> None:
    last = max(step for curve in curves for step, _ in curve)
    late = [value for curve in curves for step, value in curve if step >= _WARM_UP * last and math.isfinite(value)]
    if late:
        low, high = min([*late, *references]), max([*late, *references])
        margin = 0.06 * (high - low) or 0.01 * abs(high) or 1.0
        axes.set_ylim(low - margin, high + margin)

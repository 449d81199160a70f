"""Training curves of several runs in one figure: loss and validation PSNR against the step."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dukd_train.finished_runs import Curve, Run

_LOSSES = {"total": "total loss (each method has its own parts)", "rec": "rec: student and truth, L1"}
"""Parts of the loss that have a panel: only `rec` means the same for every method."""

_WARM_UP = 0.1
"""Points in this first part of a run do not set the limits of an axis: later ones could not be told apart."""

_PANEL = (5.5, 3.6)
"""Width and height in inches."""

_LEGEND_COLUMNS = 4


def draw_curves(runs: Sequence[Run], path: Path) -> None:
    """Write the curves of `runs` to the PNG file `path`: a panel for each loss and each validation set.

    Raises:
        RunError: a run's curves are damaged.
    """
    panels = _panels(runs)
    across = 3 if len(panels) in (3, 5, 6) else 2
    down = max(1, math.ceil(len(panels) / across))
    legend_height = 0.2 + 0.3 * math.ceil(len(runs) / _LEGEND_COLUMNS)
    size = (across * _PANEL[0], down * _PANEL[1] + legend_height)
    figure = Figure(figsize=size, layout="constrained")  # without pyplot nothing depends on a display
    grid = figure.subplots(down, across, squeeze=False).ravel()
    colors = mpl.colormaps["tab10" if len(runs) <= 10 else "tab20"]
    lines: dict[str, Line2D] = {}
    for axes, (title, curves) in zip(grid, panels.items(), strict=False):
        marker = "" if title in _LOSSES.values() else "o"
        for number, run in enumerate(runs):
            if curve := curves.get(run.name):
                steps, values = zip(*curve, strict=True)
                style: dict[str, Any] = {"color": colors(number % colors.N), "linewidth": 1.5, "alpha": 0.85}
                (lines[run.name],) = axes.plot(steps, values, marker=marker, markersize=3, **style)
        _finish(axes, title, list(curves.values()))
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    if lines:
        names = [_literal(name) for name in lines]
        figure.legend(list(lines.values()), names, loc="outside lower center", ncols=_LEGEND_COLUMNS, frameon=False)
    figure.savefig(path, dpi=110)


def _panels(runs: Sequence[Run]) -> dict[str, dict[str, Curve]]:
    """Curves by panel and run: losses first, then validation sets."""
    losses: dict[str, dict[str, Curve]] = {title: {} for title in _LOSSES.values()}
    scores: dict[str, dict[str, Curve]] = {}
    for run in runs:
        for part, curve in run.loss().items():
            if part in _LOSSES:
                losses[_LOSSES[part]][run.name] = curve
        for name, curve in run.validation().items():
            scores.setdefault(f"{name}: PSNR-Y, dB", {})[run.name] = curve
    return {title: curves for title, curves in (losses | scores).items() if curves}


def _literal(text: str) -> str:
    """`text` with no part of it taken for a formula."""
    return text.replace("$", r"\$")


def _finish(axes: Axes, title: str, curves: Sequence[Curve]) -> None:
    axes.set_title(_literal(title), fontsize=11)
    axes.set_xlabel("step")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    last = max(step for curve in curves for step, _ in curve)
    late = [value for curve in curves for step, value in curve if step >= _WARM_UP * last and math.isfinite(value)]
    if late:
        margin = 0.06 * (max(late) - min(late)) or 0.01 * abs(max(late)) or 1.0
        axes.set_ylim(min(late) - margin, max(late) + margin)

"""Training curves of several runs in one figure: loss and validation PSNR against the step."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dukd_train.runs import Run

Curve = list[tuple[int, float]]

_LOSSES = {"total": "total loss", "rec": "student and truth, L1"}
"""Parts of the loss that have a panel: only `rec` means the same for every method."""

_WARM_UP = 0.1
"""Points of this first part of a run do not set the limits of an axis, or nothing else could be told apart."""

_COLUMNS = 2
_PANEL = (5.5, 3.6)
"""Width and height in inches."""


def draw_curves(runs: Sequence[Run], path: Path) -> None:
    """Write the curves of `runs` to the PNG file `path`: a panel for each loss and each validation set."""
    panels = _panels(runs)
    down = max(1, -(-len(panels) // _COLUMNS))
    legend_rows = -(-len(runs) // 4)
    size = (_COLUMNS * _PANEL[0], down * _PANEL[1] + 0.3 * legend_rows + 0.2)
    figure = Figure(figsize=size, layout="constrained")  # without pyplot nothing depends on a display
    grid = figure.subplots(down, _COLUMNS, squeeze=False).ravel()
    colors = mpl.colormaps["tab10" if len(runs) <= 10 else "tab20"]
    for axes, (title, curves) in zip(grid, panels.items(), strict=False):
        for number, run in enumerate(runs):
            if curve := curves.get(run.name):
                steps, values = zip(*curve, strict=True)
                marker = "o" if len(curve) <= 30 else ""
                axes.plot(
                    steps,
                    values,
                    color=colors(number % colors.N),
                    lw=1.5,
                    marker=marker,
                    ms=3,
                    label=run.name,
                )
        _finish(axes, title, list(curves.values()))
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    handles = {
        str(line.get_label()): line for axes in grid for line in axes.get_lines()
    }  # one entry for each run, though it is in several panels
    if handles:
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(path, dpi=110)


def _panels(runs: Sequence[Run]) -> dict[str, dict[str, Curve]]:
    """Curves by panel and run."""
    panels: dict[str, dict[str, Curve]] = {}
    for run in runs:
        losses = run.loss()
        for part, title in _LOSSES.items():
            if part in losses:
                panels.setdefault(title, {})[run.name] = losses[part]
    for run in runs:
        for name, curve in run.validation().items():
            panels.setdefault(f"{name}: PSNR-Y, dB", {})[run.name] = curve
    return panels


def _finish(axes: Axes, title: str, curves: Sequence[Curve]) -> None:
    axes.set_title(title, fontsize=11)
    axes.set_xlabel("step")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    last = max(step for curve in curves for step, _ in curve)
    shown = [value for curve in curves for step, value in curve if step >= _WARM_UP * last]
    margin = 0.06 * (max(shown) - min(shown)) or 0.01 * abs(max(shown)) or 1.0
    axes.set_ylim(min(shown) - margin, max(shown) + margin)

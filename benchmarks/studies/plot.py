"""A picture of a study: scores over steps or over numbers of photographs, mean and spread of the runs.

    python -m benchmarks.studies.plot benchmarks/studies/results.csv --study beyond --out docs/few_images.png \\
        --rows n8-scratch=scratch n8-kd_longer=kd n8-longer=dukd beyond-bf16/n8-together_more='dukd, preset few'
    python -m benchmarks.studies.plot benchmarks/studies/results.csv --study few --over photographs \\
        --out docs/photographs.png --rows scratch kd dukd
"""

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from benchmarks.studies.tables import Rows, best_step, by_row, curves_in

_LOOKS = [("#555555", "o", ":"), ("#d55e00", "s", "--"), ("#0072b2", "^", "-"), ("#009e73", "D", "-.")]
"""Told apart without colours, too."""

Scores = Mapping[int, Sequence[float]]
"""Of a line: step, or number of images → PSNR-Y of each run, dB."""


def over_steps(rows: Rows, row: str, images: str) -> Scores:
    """Those of row n8-kd on the set `images`; steps that not all of its runs have are left out."""
    curves = [*rows[row].values()]
    steps = sorted(set.intersection(*(set(curve) for curve in curves)))
    return {step: [curve[step][images] for curve in curves] for step in steps}


def over_images(rows: Rows, row: str, images: str, chosen_on: str) -> Scores:
    """Those of row kd from caches n8, n50, …: of each run's best step. Runs with fewer steps do not count."""
    of_row = {int(each[1]): rows[name] for name in rows if (each := re.fullmatch(rf"n(\d+)-{re.escape(row)}", name))}
    last = max(max(curve) for curves in of_row.values() for curve in curves.values())
    whole = {count: [curve for curve in curves.values() if max(curve) == last] for count, curves in of_row.items()}
    return {
        count: [curve[best_step(curve, chosen_on)][images] for curve in curves]
        for count, curves in whole.items()
        if curves
    }


def draw(axes: Axes, lines: Mapping[str, Scores]) -> None:
    """A line for each name: its mean, and the spread of its runs."""
    for (name, scores), (colour, marker, line) in zip(lines.items(), _LOOKS, strict=False):
        means = [fmean(each) for each in scores.values()]
        axes.plot([*scores], means, color=colour, marker=marker, linestyle=line, markersize=4, label=name)
        spreads = [stdev(each) if len(each) > 1 else 0.0 for each in scores.values()]
        low, high = ([mean + sign * spread for mean, spread in zip(means, spreads, strict=True)] for sign in (-1, 1))
        axes.fill_between([*scores], low, high, color=colour, alpha=0.15, linewidth=0)
    axes.grid(alpha=0.3)


def picture(panels: Mapping[str, Mapping[str, Scores]], *, over: str, out: Path) -> None:
    """A panel for each set of images; `over`: step, or photographs."""
    figure, grid = pyplot.subplots(
        1, len(panels), figsize=(4.6 * len(panels), 3.4), layout="constrained", squeeze=False
    )
    for axes, (images, lines) in zip(grid[0], panels.items(), strict=True):
        draw(axes, lines)
        axes.set(title=images, xlabel=over, ylabel="PSNR-Y, dB")
        if over == "step":
            axes.xaxis.set_major_locator(MaxNLocator(5))
        else:
            counts = sorted({count for scores in lines.values() for count in scores})
            axes.set_xscale("log")
            axes.set_xticks(counts, [str(count) for count in counts])
            axes.minorticks_off()
    grid[0][0].legend(frameon=False)
    figure.savefig(out, dpi=110)


def main() -> None:
    """Write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("place", type=Path, help="folder of the study, or a table of many studies")
    parser.add_argument("--study", default="", help="its name in the table")
    parser.add_argument("--over", choices=["step", "photographs"], default="step")
    parser.add_argument("--rows", nargs="+", required=True, help="[STUDY/]NAME[=what the picture calls it]")
    parser.add_argument("--chosen-on", default="Set5", help="over photographs: set by which the best step is chosen")
    parser.add_argument("--sets", nargs="+", default=["Set14", "B100"])
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    named = {label or name: name for name, _, label in (row.partition("=") for row in asked.rows)}
    if len(named) < len(asked.rows) or len(named) > len(_LOOKS):
        parser.error(f"expected at most {len(_LOOKS)} rows, each with a name of its own")
    lines = {}
    for label, place in named.items():
        study, _, name = place.rpartition("/")
        lines[label] = by_row(curves_in(asked.place, study or asked.study)), name
    panels = {
        images: {
            label: over_steps(rows, name, images)
            if asked.over == "step"
            else over_images(rows, name, images, asked.chosen_on)
            for label, (rows, name) in lines.items()
        }
        for images in asked.sets
    }
    picture(panels, over=asked.over, out=asked.out)


if __name__ == "__main__":
    main()

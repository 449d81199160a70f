"""A picture of a study: scores against steps, mean and spread of the seeds.

    python -m benchmarks.studies.plot benchmarks/studies/results.csv --study beyond --out docs/few_images.png \\
        --rows n8-scratch=scratch n8-kd16k=kd n8-dukd16k=dukd
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from benchmarks.studies.tables import Curve, by_row, curves_in

_LOOKS = [("#555555", "o", ":"), ("#d55e00", "s", "--"), ("#0072b2", "^", "-"), ("#009e73", "D", "-.")]
"""Told apart without colours, too."""


def draw(axes: Axes, rows: dict[str, list[Curve]], images: str) -> None:
    """A line for each row; steps that not all of its runs have are left out."""
    for (name, curves), (colour, marker, line) in zip(rows.items(), _LOOKS, strict=False):
        steps = sorted(set.intersection(*(set(curve) for curve in curves)))
        scores = [[curve[step][images] for curve in curves] for step in steps]
        means = [fmean(each) for each in scores]
        axes.plot(steps, means, color=colour, marker=marker, linestyle=line, markersize=4, label=name)
        if len(curves) > 1:
            spreads = [stdev(each) for each in scores]
            low, high = (
                [mean + sign * spread for mean, spread in zip(means, spreads, strict=True)] for sign in (-1, 1)
            )
            axes.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.set(title=images, xlabel="step", ylabel="PSNR-Y, dB")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.grid(alpha=0.3)


def picture(rows: dict[str, list[Curve]], sets: Sequence[str], out: Path) -> None:
    """A panel for each of `sets`."""
    figure, panels = pyplot.subplots(1, len(sets), figsize=(4.6 * len(sets), 3.4), layout="constrained", squeeze=False)
    for axes, images in zip(panels[0], sets, strict=True):
        draw(axes, rows, images)
    panels[0][0].legend(frameon=False)
    figure.savefig(out, dpi=110)


def main() -> None:
    """Write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("place", type=Path, help="folder of the study, or a table of many studies")
    parser.add_argument("--study", default="", help="its name in the table")
    parser.add_argument("--rows", nargs="+", required=True, help="NAME, or NAME=what the picture calls it")
    parser.add_argument("--sets", nargs="+", default=["Set14", "B100"])
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    found = by_row(curves_in(asked.place, asked.study))
    named = [(name, label or name) for name, _, label in (row.partition("=") for row in asked.rows)]
    picture({label: [*found[name].values()] for name, label in named}, asked.sets, asked.out)


if __name__ == "__main__":
    main()

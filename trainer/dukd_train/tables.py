"""Scores of several networks on several sets as Markdown, CSV and JSON."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from dukd_train.scores import Score, plain_score

_MISSING = "–"


@dataclass(frozen=True)
class Row:
    """What a table says of one network, or of bicubic enlargement."""

    name: str
    method: str
    scores: Mapping[str, Score]
    """Means by set."""
    student: str | None = None
    """Architecture."""
    parameters: int | None = None
    steps: int | None = None
    seed: int | None = None
    competes: bool = False
    """A student: the best of these is marked."""


def markdown(rows: Sequence[Row], sets: Sequence[str]) -> str:
    """A Markdown table, the best student's scores in bold."""
    headings = ["name", "method", "student", "parameters", "steps", "seed"]
    lines = [[*headings, *(f"{name} {metric}" for name in sets for metric in ("PSNR-Y", "SSIM-Y"))]]
    for row in rows:
        cells = [row.name, row.method, row.student, _count(row.parameters), _count(row.steps), row.seed]
        lines.append([_MISSING if cell is None else str(cell) for cell in cells])
        for name in sets:
            found, best = row.scores[name], _best(rows, name)
            lines[-1].append(_bold(f"{found['psnr_y']:.2f}", row.competes and found["psnr_y"] == best["psnr_y"]))
            lines[-1].append(_bold(f"{found['ssim_y']:.4f}", row.competes and found["ssim_y"] == best["ssim_y"]))
    return _aligned(lines, left=3)


def seeds_markdown(groups: Sequence[Sequence[Row]], sets: Sequence[str]) -> str:
    """A Markdown table of mean ± sample standard deviation over runs that differ in their seed alone."""
    lines = [
        [
            "method",
            "student",
            "seeds",
            *(f"{name} {metric}" for name in sets for metric in ("PSNR-Y", "SSIM-Y")),
        ]
    ]
    for group in groups:
        seeds = ", ".join(str(row.seed) for row in group)
        lines.append([group[0].method, group[0].student or _MISSING, seeds])
        for name in sets:
            lines[-1].append(_spread([row.scores[name]["psnr_y"] for row in group], 2))
            lines[-1].append(_spread([row.scores[name]["ssim_y"] for row in group], 4))
    return _aligned(lines, left=3)


def comma_separated(rows: Sequence[Row], sets: Sequence[str]) -> str:
    """The same as CSV, unrounded but for a few digits; what does not apply is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    metrics = [f"{name} {metric}" for name in sets for metric in ("psnr_y", "ssim_y")]
    writer.writerow(["name", "method", "student", "parameters", "steps", "seed", *metrics])
    for row in rows:
        scores = [value for name in sets for value in (row.scores[name]["psnr_y"], row.scores[name]["ssim_y"])]
        about = [row.name, row.method, row.student, row.parameters, row.steps, row.seed]
        writer.writerow([*about, *(f"{value:.6f}" for value in scores)])
    return text.getvalue()


def scores_json(rows: Sequence[Row]) -> str:
    """`{name: {set: {"psnr_y": …, "ssim_y": …}}}`, a metrics file for `dvc metrics`."""
    scores = {row.name: {name: plain_score(score) for name, score in row.scores.items()} for row in rows}
    return json.dumps(scores, indent=2, ensure_ascii=False) + "\n"


def _best(rows: Sequence[Row], name: str) -> Score:
    scores = [row.scores[name] for row in rows if row.competes]
    return {metric: max((score[metric] for score in scores), default=math.nan) for metric in ("psnr_y", "ssim_y")}


def _bold(text: str, is_best: bool) -> str:
    return f"**{text}**" if is_best else text


def _count(number: int | None) -> str | None:
    return None if number is None else f"{number:,}"


def _spread(values: Sequence[float], digits: int) -> str:
    if not all(map(math.isfinite, values)):
        return str(fmean(values))
    return f"{fmean(values):.{digits}f} ± {stdev(values):.{digits}f}"


def _aligned(lines: Sequence[Sequence[str]], left: int) -> str:
    """A Markdown table that can be read as plain text too; the columns after `left` are set right."""
    escaped = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*escaped, strict=True)]
    rules = ["-" * width if at < left else "-" * (width - 1) + ":" for at, width in enumerate(widths)]
    text = ""
    for line in (escaped[0], rules, *escaped[1:]):
        cells = (
            cell.ljust(width) if at < left else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        text += f"| {' | '.join(cells)} |\n"
    return text

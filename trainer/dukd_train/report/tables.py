"""Scores of several networks on several sets as Markdown, CSV and JSON."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from dukd_cache.system.tables import markdown_table
from dukd_train.report.comparison import Comparison
from dukd_train.report.groups import BASELINES
from dukd_train.report.standings import GAIN_DIGITS, Standing
from dukd_train.scoring.inference import WHOLE, Inference
from dukd_train.scoring.scores import ENDLESS, LABELS, MISSING, Score, best_of, left_out_note, plain_score, shown


@dataclass(frozen=True)
class Contender:
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
    multiply_adds: float | None = None
    """For a megapixel of output."""
    milliseconds: float | None = None
    """For a megapixel of output, as scored here."""


def digits(metric: str) -> int:
    """How many a score has after its point."""
    return 2 if metric in ENDLESS else 4


def markdown(rows: Sequence[Contender], sets: Sequence[str], metrics: Sequence[str]) -> str:
    """A Markdown table, the best student's scores in bold."""
    headings = ["name", "method", "student", "parameters", "steps", "seed"]
    lines = [[*headings, *_score_headings(sets, metrics)]]
    for row in rows:
        cells = [row.name, row.method, row.student, _count(row.parameters), _count(row.steps), row.seed]
        lines.append([MISSING if cell is None else str(cell) for cell in cells])
        for name, metric in product(sets, metrics):
            value = row.scores[name][metric]
            text = shown(metric, value, digits(metric))
            lines[-1].append(f"**{text}**" if row.competes and value == _best(rows, name, metric) else text)
    return markdown_table(lines[0], lines[1:], left=3)


def seeds_markdown(standings: Sequence[Standing], sets: Sequence[str], metrics: Sequence[str]) -> str:
    """A Markdown table of mean ± sample standard deviation over the seeds of each group."""
    lines = [["group", "method", "seeds", *_score_headings(sets, metrics)]]
    for standing in standings:
        lines.append([standing.group.name, standing.group.method, ", ".join(map(str, standing.group.seeds))])
        lines[-1] += [standing.scores[name][metric].text(digits(metric)) for name, metric in product(sets, metrics)]
    return markdown_table(lines[0], lines[1:], left=3)


def gains_markdown(standings: Sequence[Standing], sets: Sequence[str]) -> str:
    """A Markdown table of what each group gains over its baselines in PSNR-Y, paired by seed; empty if none has one."""
    methods = [method for method in BASELINES if any(method in standing.gains for standing in standings)]
    if not methods:
        return ""
    lines = [["group", *(f"{name} over {method}" for name in sets for method in methods)]]
    for standing in standings:
        gains = [standing.gains.get(method, {}).get(name) for name in sets for method in methods]
        if any(gains):
            cells = (gain["psnr_y"].text(GAIN_DIGITS, signed=True) if gain else MISSING for gain in gains)
            lines.append([standing.group.name, *cells])
    table, notes = markdown_table(lines[0], lines[1:], left=1), elsewhere_notes(standings)
    return table + "".join(f"\n{note}\n" for note in notes)


def elsewhere_notes(standings: Sequence[Standing]) -> list[str]:
    """Of gains that may be another cache's: what the method's name alone does not say."""
    return [
        f"{standing.group.name} over {method}: over {name}, which was trained from another cache."
        for standing in standings
        for method, name in standing.elsewhere.items()
    ]


def comma_separated(rows: Sequence[Contender], sets: Sequence[str], metrics: Sequence[str]) -> str:
    """The same as CSV, unrounded but for a few digits; what does not apply is empty."""
    lines: list[list[object]] = [["name", "method", "student", "parameters", "steps", "seed"]]
    lines[0] += [f"{name} {metric}" for name, metric in product(sets, metrics)]
    for row in rows:
        lines.append([row.name, row.method, row.student, row.parameters, row.steps, row.seed])
        lines[-1] += [_number(row.scores[name][metric]) for name, metric in product(sets, metrics)]
    return _csv(lines)


def images_csv(comparison: Comparison) -> str:
    """A line for each image of each set with everyone's scores."""
    names = [*comparison.scores]
    lines: list[list[object]] = [["set", "image", *(f"{name} {at}" for name, at in product(names, comparison.metrics))]]
    for set_name, images in comparison.images.items():
        for at, image in enumerate(images):
            scores = [comparison.scores[name][set_name][at] for name in names]
            values = (score[metric] for score, metric in product(scores, comparison.metrics))
            lines.append([set_name, image, *map(_number, values)])
    return _csv(lines)


def scores_json(rows: Sequence[Contender]) -> str:
    """`{name: {set: {"psnr_y": …, "ssim_y": …}}}`, a metrics file for `dvc metrics`."""
    scores = {row.name: {name: plain_score(score) for name, score in row.scores.items()} for row in rows}
    return json.dumps(scores, indent=2, ensure_ascii=False) + "\n"


def text_of(
    rows: Sequence[Contender],
    standing: Sequence[Standing],
    comparison: Comparison,
    photographs: Comparison,
    headlines: Mapping[str, str],
    scale: int,
    how: Inference,
) -> str:
    """Headlines and all tables of a report, in Markdown."""
    sets = [*comparison.images]
    text = f"Scale ×{scale}"
    if sets:
        text += f"; PSNR in dB and SSIM of luma, less a border of {scale} pixels; images: {_counts(comparison)}"
    text += ".\n"
    if how != WHOLE:
        text += f"Scored in {how}: not to be compared with scores that are made otherwise.\n"
    for name, left_out in comparison.left_out.items():
        text += f"{name}: {left_out_note(left_out)}.\n"
    text += "".join(f"{name}: {line}\n" for name, line in headlines.items())
    text += "The best student is in bold.\n" * bool(sets) + "\n" + markdown(rows, sets, comparison.metrics)
    if any(len(each.group.runs) > 1 for each in standing):
        text += "\nMean ± standard deviation over seeds:\n\n" + seeds_markdown(standing, sets, comparison.metrics)
    if gains := gains_markdown(standing, sets):
        text += "\nGain in PSNR-Y, dB, paired by seed:\n\n" + gains
    if photographs.images:
        text += f"\nImages without HR: {_counts(photographs)}"
        text += "; NIQE, smaller is better.\n" if photographs.metrics else ", to be compared by eye.\n"
        for name, left_out in photographs.left_out.items():
            text += f"{name}: {left_out_note(left_out)}.\n"
    if photographs.images and photographs.metrics:
        text += "\n" + markdown(rows, [*photographs.images], photographs.metrics)
    return text


def _counts(comparison: Comparison) -> str:
    """`Set5 (5), Set14 (14)`."""
    return ", ".join(f"{name} ({len(images)})" for name, images in comparison.images.items())


def _score_headings(sets: Sequence[str], metrics: Sequence[str]) -> list[str]:
    return [f"{name} {LABELS[metric]}" for name, metric in product(sets, metrics)]


def _best(rows: Sequence[Contender], name: str, metric: str) -> float:
    return best_of(metric, (row.scores[name][metric] for row in rows if row.competes))


def _csv(lines: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()


def _number(value: float) -> str:
    """Empty where there is none, `inf` for the PSNR of an exact answer."""
    return "" if math.isnan(value) else f"{value:.6f}"


def _count(number: int | None) -> str | None:
    return None if number is None else f"{number:,}"

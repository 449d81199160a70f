"""Tables of a study from the scores that its runs kept: of the last step, and of the step that was best on one set.

    python benchmarks/studies/tables.py few_images --chosen-on Set5 --over scratch kd
    python benchmarks/studies/tables.py benchmarks/studies/results.csv --study beyond --over dukd

The second reads what was kept of runs on other machines. Runs are called CACHE-ROW,seed=N, as `dukd-train study` calls
them; caches n8, n8.1 and n8.2 are draws of one kind, n8, and count as seeds do; n8.context is another cache of the draw
n8. Unfinished runs count with what they have: the steps are told.
"""

import argparse
import csv
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev

Curve = Mapping[int, Mapping[str, float]]
"""Step → set → PSNR-Y, dB."""

Rows = Mapping[str, Mapping[str, Curve]]
"""Row → draw and seed → curve."""


def curves_in(study: Path, name: str) -> dict[str, Curve]:
    """Run → curve: of the runs in a folder, by their `validation.csv`, or of study `name` in a table of many.

    A set's rows that were made otherwise than its last one in that run are left out: of other images, or in tiles.

    Raises:
        ValueError: a score is there twice, or two runs were not scored alike.
    """
    files = sorted(study.glob("*,seed=*/validation.csv")) if study.is_dir() else [study]
    rows: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
    for path in files:
        with path.open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                if row.get("study", name) == name:
                    rows[row.get("run", path.parent.name), row["set"]].append(row)
    found: dict[str, dict[int, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    made: dict[str, tuple[str, str]] = {}
    for (run, images), of_set in rows.items():
        how = of_set[-1].get("made", "")
        other, its = made.setdefault(images, (run, how))
        if its != how:
            raise ValueError(f"{images}: {run} was scored on {how}, {other} on {its}")
        for row in of_set:
            step, score = int(row["step"]), float(row["psnr_y"])
            if row.get("made", "") == how and found[run][step].setdefault(images, score) != score:
                raise ValueError(f"{run}: two scores on {images} at step {step}")
    return {run: dict(curve) for run, curve in found.items()}


def until(last: int, curve: Curve) -> Curve:
    """The curve up to step `last`."""
    return {step: scores for step, scores in curve.items() if step <= last}


def by_row(curves: Mapping[str, Curve]) -> dict[str, dict[str, Curve]]:
    """Row → draw and seed → curve, in the order of their names.

    Raises:
        ValueError: two runs are one of a row: from n8 and from n8.context.
    """
    found: dict[str, dict[str, Curve]] = defaultdict(dict)
    names: dict[tuple[str, str], str] = {}
    for name, curve in curves.items():
        if parts := re.fullmatch(r"([^-.]+)(?:(\.\d+)|\.[^-]+)?-(.+),(seed=\d+)", name):
            cache, draw, row, seed = parts.groups()
            place = f"{cache}-{row}", f"{draw or ''},{seed}"
            if (other := names.setdefault(place, name)) != name:
                raise ValueError(f"{other} and {name} are one run of the row {place[0]}")
            found[place[0]][place[1]] = curve
    return {name: found[name] for name in sorted(found, key=_as_read)}


def _as_read(name: str) -> list[tuple[int, str]]:
    """n8 before n50."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]


def spread(values: Sequence[float], form: str) -> str:
    """Mean ± standard deviation; `form` is that of the mean."""
    return f"{fmean(values):{form}}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")


def tables(rows: Rows, chosen_on: str, over: Sequence[str]) -> Iterator[str]:
    """Markdown: scores at the last and at the best step, then gains paired by seed, each row at its best step."""
    sets = [*dict.fromkeys(name for runs in rows.values() for curve in runs.values() for name in curve[min(curve)])]
    best = {name: {seed: best_step(curve, chosen_on) for seed, curve in runs.items()} for name, runs in rows.items()}
    yield f"| row | runs | steps | {' | '.join(sets)} | best step by {chosen_on} | {' | '.join(sets)} |"
    yield "|" + "---|" * (4 + 2 * len(sets))
    for name, runs in rows.items():
        steps = sorted({max(curve) for curve in runs.values()})
        last = [spread([curve[max(curve)][each] for curve in runs.values()], ".3f") for each in sets]
        at_best = [spread([runs[seed][step][each] for seed, step in best[name].items()], ".3f") for each in sets]
        at = sorted({*best[name].values()})
        cells = [name, str(len(runs)), _range(steps), *last, _range(at), *at_best]
        yield f"| {' | '.join(cells)} |"
    yield ""
    yield f"| gain, each at its best step by {chosen_on} | runs | steps | {' | '.join(sets)} |"
    yield "|" + "---|" * (3 + len(sets))
    for name in rows:
        cache, _, row = name.partition("-")
        for other in (f"{cache}-{each}" for each in over if each != row):
            seeds = sorted(rows[name].keys() & rows.get(other, {}).keys())
            if seeds and other != name:
                gains = [
                    spread([_at(rows, best, name, s, each) - _at(rows, best, other, s, each) for s in seeds], "+.3f")
                    for each in sets
                ]
                ours, theirs = (_range(sorted({max(rows[each][seed]) for seed in seeds})) for each in (name, other))
                told = ours if ours == theirs else f"{ours} over {theirs}"
                yield f"| {name} over {other} | {len(seeds)} | {told} | {' | '.join(gains)} |"


def best_step(curve: Curve, chosen_on: str) -> int:
    """At which the set `chosen_on` has its highest score."""
    return max(curve, key=lambda step: curve[step][chosen_on])


def _at(rows: Rows, best: Mapping[str, Mapping[str, int]], name: str, seed: str, of: str) -> float:
    return rows[name][seed][best[name][seed]][of]


def _range(steps: Sequence[int]) -> str:
    return str(steps[0]) if len(steps) == 1 else f"{steps[0]} to {steps[-1]}"


def main() -> None:
    """Print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("place", type=Path, help="folder of the study, or a table of many studies")
    parser.add_argument("--study", default="", help="its name in the table")
    parser.add_argument("--until", type=int, help="leave out later steps, to compare runs that were not finished")
    parser.add_argument("--chosen-on", default="Set5", help="set by which the best step is chosen")
    parser.add_argument("--over", nargs="*", default=["scratch", "kd"], help="rows that the others are compared with")
    asked = parser.parse_args()
    curves = curves_in(asked.place, asked.study)
    if asked.until:
        curves = {name: until(asked.until, curve) for name, curve in curves.items() if min(curve) <= asked.until}
    print("\n".join(tables(by_row(curves), asked.chosen_on, asked.over)))


if __name__ == "__main__":
    main()

"""Tables of a study from the scores that its runs kept: of the last step, and of the step that was best on one set.

    python benchmarks/studies/tables.py few_images --chosen-on Set5 --over scratch kd

Runs are called CACHE-ROW,seed=N, as `dukd-train study` calls them; caches n8, n8.1 and n8.2 are draws of one kind, n8,
and count as seeds do; n8.context is another cache of the draw n8. Unfinished runs count with what they have: the steps
are told.
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


def curve_of(run: Path) -> Curve:
    """What a run's `validation.csv` says."""
    found: dict[int, dict[str, float]] = defaultdict(dict)
    with (run / "validation.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            found[int(row["step"])][row["set"]] = float(row["psnr_y"])
    return found


def runs_in(study: Path) -> dict[str, dict[str, Curve]]:
    """Row → draw and seed → curve, in the order of their names; runs without a score are left out."""
    found: dict[str, dict[str, Curve]] = defaultdict(dict)
    for path in sorted(study.glob("*,seed=*/validation.csv")):
        parts = re.fullmatch(r"([^-.]+)(?:(\.\d+)|\.[^-]+)?-(.+),(seed=\d+)", path.parent.name)
        if parts and (curve := curve_of(path.parent)):
            cache, draw, row, seed = parts.groups()
            found[f"{cache}-{row}"][f"{draw or ''},{seed}"] = curve
    return {name: found[name] for name in sorted(found, key=_as_read)}


def _as_read(name: str) -> list[tuple[int, str]]:
    """n8 before n50."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]


def spread(values: Sequence[float], form: str) -> str:
    """Mean ± standard deviation; `form` is that of the mean."""
    return f"{fmean(values):{form}}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")


def tables(rows: Mapping[str, Mapping[str, Curve]], chosen_on: str, over: Sequence[str]) -> Iterator[str]:
    """Markdown: scores at the last and at the best step, then gains paired by seed, each row at its best step."""
    sets = [*dict.fromkeys(name for runs in rows.values() for curve in runs.values() for name in curve[min(curve)])]
    best = {name: {seed: _best(curve, chosen_on) for seed, curve in runs.items()} for name, runs in rows.items()}
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
    yield f"| gain, each at its best step by {chosen_on} | runs | {' | '.join(sets)} |"
    yield "|" + "---|" * (2 + len(sets))
    for name in rows:
        cache, _, row = name.partition("-")
        for other in (f"{cache}-{each}" for each in over if each != row):
            seeds = sorted(rows[name].keys() & rows.get(other, {}).keys())
            if seeds and other != name:
                gains = [
                    spread([_at(rows, best, name, s, each) - _at(rows, best, other, s, each) for s in seeds], "+.3f")
                    for each in sets
                ]
                yield f"| {name} over {other} | {len(seeds)} | {' | '.join(gains)} |"


def _best(curve: Curve, chosen_on: str) -> int:
    return max(curve, key=lambda step: curve[step][chosen_on])


def _at(
    rows: Mapping[str, Mapping[str, Curve]], best: Mapping[str, Mapping[str, int]], name: str, seed: str, of: str
) -> float:
    return rows[name][seed][best[name][seed]][of]


def _range(steps: Sequence[int]) -> str:
    return str(steps[0]) if len(steps) == 1 else f"{steps[0]} to {steps[-1]}"


def main() -> None:
    """Print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path, help="folder of the study")
    parser.add_argument("--chosen-on", default="Set5", help="set by which the best step is chosen")
    parser.add_argument("--over", nargs="*", default=["scratch", "kd"], help="rows that the others are compared with")
    asked = parser.parse_args()
    print("\n".join(tables(runs_in(asked.study), asked.chosen_on, asked.over)))


if __name__ == "__main__":
    main()

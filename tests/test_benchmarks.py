"""What the benchmarks share: goals, the table, turns. What they measure is no test's business."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from benchmarks.__main__ import ON_CPU, ON_GPU
from benchmarks.figures import Figure, Goal, table
from benchmarks.made_images import made_image
from benchmarks.studies.plot import over_images, over_steps
from benchmarks.studies.tables import by_row, curves_in, tables, until
from benchmarks.timing import Times, in_turns, ratio
from tests.conftest import PROJECT


@pytest.mark.parametrize(
    ("goal", "value", "met"),
    [
        (Goal(at_most=1.05), 1.05, True),
        (Goal(at_most=1.05), 1.06, False),
        (Goal(at_least=10), 10.0, True),
        (Goal(at_least=10), 9.9, False),
    ],
)
def test_goals(goal: Goal, value: float, met: bool) -> None:
    assert goal.met(value) is met


def test_the_table_says_what_is_met_and_what_is_missed() -> None:
    found = table(
        [
            Figure("build", "one", 1.0123, "", Goal(at_most=1.05)),
            Figure("build", "two", 1.2, "", Goal(at_most=1.05)),
            Figure("rate", "three", 12345.0, "records/s"),
        ]
    )
    assert found.splitlines()[2:] == [
        "| build | one | 1.01 | ≤ 1.05 | met |",
        "| build | two | 1.2 | ≤ 1.05 | **missed** |",
        "| rate | three | 12345 records/s |  |  |",
    ]


def test_figures_are_json() -> None:
    figure = Figure("size", "case", 0.07, "", Goal(at_most=0.075), {"bits": 2.3})
    assert json.loads(json.dumps(figure.as_json()))["judged"] == {"goal": "≤ 0.075", "met": True}


def test_no_alternative_always_comes_first() -> None:
    order: list[str] = []
    times = in_turns({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 3)
    assert "".join(order) == "abbaab"
    assert [len(each.wall) for each in times.values()] == [3, 3]


def test_a_ratio_is_the_median_over_turns_of_one_machine_state_each() -> None:
    assert ratio(Times([1.0, 4.0, 9.0], []), Times([1.0, 2.0, 3.0], [])) == 2.0


@pytest.mark.parametrize("name", [*ON_CPU, *ON_GPU])
def test_every_benchmark_can_be_started(name: str) -> None:
    assert callable(importlib.import_module(f"benchmarks.{name}").figures)


def test_made_images_are_always_the_same() -> None:
    one, two = made_image(40, 30, 1), made_image(40, 30, 1)
    assert one.shape == (30, 40, 3)
    assert np.array_equal(one, two)
    assert not np.array_equal(one, made_image(40, 30, 2))


def test_tables_of_a_study(tmp_path: Path) -> None:
    """Two draws of scratch, which is best before its end, and of kd; one of the other cache, with no baseline."""
    for run, scores in {
        "n8-scratch,seed=0": [(28.0, 25.0), (27.0, 24.0)],
        "n8.1-scratch,seed=0": [(28.0, 25.5), (27.5, 24.5)],
        "n8-kd,seed=0": [(28.0, 25.0), (29.0, 25.25)],
        "n8.1-kd,seed=0": [(28.0, 25.0), (29.0, 25.25)],
        "n50-kd,seed=0": [(30.0, 26.0)],
    }.items():
        (tmp_path / run).mkdir()
        rows = (
            f"{100 * step},{name},{score},0.7,whole\n"
            for step, both in enumerate(scores, 1)
            for name, score in zip(("A", "B"), both, strict=True)
        )
        (tmp_path / run / "validation.csv").write_text("step,set,psnr_y,ssim_y,made\n" + "".join(rows))
    lines = [*tables(by_row(curves_in(tmp_path, "")), "A", ["scratch"])]
    assert lines[2:] == [
        "| n8-kd | 2 | 200 | 29.000 ± 0.000 | 25.250 ± 0.000 | 200 | 29.000 ± 0.000 | 25.250 ± 0.000 |",
        "| n8-scratch | 2 | 200 | 27.250 ± 0.354 | 24.250 ± 0.354 | 100 | 28.000 ± 0.000 | 25.250 ± 0.354 |",
        "| n50-kd | 1 | 100 | 30.000 | 26.000 | 100 | 30.000 | 26.000 |",
        "",
        "| gain, each at its best step by A | runs | A | B |",
        "|---|---|---|---|",
        "| n8-kd over n8-scratch | 2 | +1.000 ± 0.000 | +0.000 ± 0.354 |",
    ]


def test_scores_that_are_kept_are_read_like_runs(tmp_path: Path) -> None:
    table = tmp_path / "results.csv"
    table.write_text(
        "study,on,run,step,set,psnr_y\n"
        'a,GPU,"n8-kd,seed=0",100,A,28.0\n'
        'a,GPU,"n8-kd,seed=0",200,A,27.0\n'
        'b,GPU,"n8-kd,seed=0",100,A,1.0\n'
    )
    curves = curves_in(table, "a")
    assert curves == {"n8-kd,seed=0": {100: {"A": 28.0}, 200: {"A": 27.0}}}
    assert until(100, curves["n8-kd,seed=0"]) == {100: {"A": 28.0}}


def test_what_a_picture_of_a_study_shows() -> None:
    curves = {
        "n8-kd,seed=0": {1: {"A": 2.0, "B": 5.0}, 2: {"A": 1.0, "B": 6.0}, 3: {"A": 0.0, "B": 7.0}},
        "n8.1-kd,seed=0": {1: {"A": 1.0, "B": 5.5}, 2: {"A": 2.0, "B": 6.5}},
        "n50-kd,seed=0": {1: {"A": 1.0, "B": 8.0}},
        "n50-kd-rec5,seed=0": {1: {"A": 1.0, "B": 9.0}},
    }
    rows = by_row(curves)
    assert over_steps(rows, "n8-kd", "B") == {1: [5.0, 5.5], 2: [6.0, 6.5]}
    assert over_images(rows, "kd", "B", "A") == {8: [5.0, 6.5], 50: [8.0]}


def test_the_results_of_the_studies_make_tables() -> None:
    """Those that come with the project: the page of figures quotes them."""
    place = PROJECT / "benchmarks" / "studies" / "results.csv"
    page = (PROJECT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    for study, row in (("beyond", "n8-dukd"), ("few", "n8-dukd")):
        found = by_row(curves_in(place, study))
        (line,) = (each for each in tables(found, "Set5", ["kd"]) if each.startswith(f"| {row} | 3"))
        scores = line.split(" | ")[3:6]
        assert f"| {' | '.join(scores)} |" in page

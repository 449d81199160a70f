"""What the benchmarks share: goals, the table, turns. What they measure is no test's business."""

import csv
import importlib
import json
from functools import cache
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

from dukd_train.sweeps.study import Study

_FILES = {"few": "few_images", "many": "many_images"}
"""Studies that are called otherwise in the table of scores."""


@cache
def _runs(study: Path) -> set[str]:
    return {point.name for point in Study.load(study).points(Path("out"))}


@cache
def _kept_scores() -> list[dict[str, str]]:
    with (PROJECT / "benchmarks" / "studies" / "results.csv").open(newline="", encoding="utf-8") as stream:
        return [*csv.DictReader(stream)]


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
        "| gain, each at its best step by A | runs | steps | A | B |",
        "|---|---|---|---|---|",
        "| n8-kd over n8-scratch | 2 | 200 | +1.000 ± 0.000 | +0.000 ± 0.354 |",
    ]


def test_the_gains_of_a_study_tell_where_one_of_both_has_fewer_steps() -> None:
    curves = {"n8-scratch,seed=0": {1: {"A": 3.0}, 2: {"A": 4.0}}, "n8-kd,seed=0": {1: {"A": 3.5}}}
    *_, last = tables(by_row(curves), "A", ["scratch"])
    assert last == "| n8-kd over n8-scratch | 1 | 1 over 2 | -0.500 |"


def test_scores_of_a_study_that_were_not_made_alike_are_not_mixed(tmp_path: Path) -> None:
    def kept(run: str, *rows: str) -> None:
        (tmp_path / run).mkdir(exist_ok=True)
        (tmp_path / run / "validation.csv").write_text("\n".join(["step,set,psnr_y,made", *rows, ""]))

    kept("n8-kd,seed=0", "1,A,39,old", "2,A,38,old", "2,A,28,new")
    kept("n8-scratch,seed=0", "1,A,26,new", "2,A,27,new")
    assert curves_in(tmp_path, "")["n8-kd,seed=0"] == {2: {"A": 28.0}}
    kept("n8-scratch,seed=0", "1,A,36,old", "2,A,37,old")
    with pytest.raises(ValueError, match=r"A: n8-scratch,seed=0 was scored on old, n8-kd,seed=0 on new"):
        curves_in(tmp_path, "")
    kept("n8-scratch,seed=0", "1,A,26,new", "1,A,27,new")
    with pytest.raises(ValueError, match=r"n8-scratch,seed=0: two scores on A at step 1"):
        curves_in(tmp_path, "")


def test_no_run_of_a_study_takes_the_place_of_another() -> None:
    curve = {1: {"A": 1.0}}
    assert len(by_row({"n8-kd,seed=0": curve, "n8.1-kd,seed=0": curve, "n8.context-context,seed=0": curve})) == 2
    with pytest.raises(ValueError, match=r"n8-kd,seed=0 and n8\.context-kd,seed=0 are one run of the row n8-kd"):
        by_row({"n8-kd,seed=0": curve, "n8.context-kd,seed=0": curve})


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
        "n8.1-kd,seed=0": {1: {"A": 1.0, "B": 5.5}, 3: {"A": 2.0, "B": 6.5}},
        "n8.2-kd,seed=0": {1: {"A": 1.0, "B": 5.1}, 3: {"A": 0.0, "B": 3.0}},
        "n50-kd,seed=0": {3: {"A": 1.0, "B": 8.0}},
        "n50.1-kd,seed=0": {1: {"A": 1.0, "B": 4.0}},
        "n480-kd,seed=0": {1: {"A": 1.0, "B": 4.0}},
        "n50-kd-rec5,seed=0": {1: {"A": 1.0, "B": 9.0}},
    }
    rows = by_row(curves)
    assert over_steps(rows, "n8-kd", "B") == {1: [5.0, 5.5, 5.1], 3: [7.0, 6.5, 3.0]}
    assert over_images(rows, "kd", "B", "A") == {8: [5.0, 6.5, 5.1], 50: [8.0]}, "none that has fewer steps"


def test_the_results_of_the_studies_make_tables() -> None:
    """Those that come with the project: the page of figures quotes them."""
    place = PROJECT / "benchmarks" / "studies" / "results.csv"
    page = (PROJECT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    for study, row in (("beyond", "n8-dukd"), ("few", "n8-dukd")):
        found = by_row(curves_in(place, study))
        (line,) = (each for each in tables(found, "Set5", ["kd"]) if each.startswith(f"| {row} | 3"))
        scores = line.split(" | ")[3:6]
        assert f"| {' | '.join(scores)} |" in page


@pytest.mark.parametrize(
    "file", sorted((PROJECT / "benchmarks" / "studies").glob("*.yaml")), ids=lambda path: path.stem
)
def test_every_study_that_comes_with_the_project_can_be_begun(file: Path) -> None:
    assert _runs(file)


@pytest.mark.parametrize("study", sorted({row["study"] for row in _kept_scores()}))
def test_every_score_that_is_kept_is_of_a_run_that_a_study_declares(study: str) -> None:
    """So anyone can train it again."""
    declared = study.removesuffix("-bf16").removesuffix("-cpu").removesuffix("-gpu")
    file = PROJECT / "benchmarks" / "studies" / f"{_FILES.get(declared, declared)}.yaml"
    assert {row["run"] for row in _kept_scores() if row["study"] == study} <= _runs(file)

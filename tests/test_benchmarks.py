"""What the benchmarks share: goals, the table, turns. What they measure is no test's business."""

import importlib
import json

import numpy as np
import pytest
from benchmarks.__main__ import ON_CPU, ON_GPU
from benchmarks.figures import Figure, Goal, table
from benchmarks.made_images import made_image
from benchmarks.timing import Times, in_turns, ratio


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

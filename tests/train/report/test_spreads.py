"""Means and deviations, of numbers and of curves."""

import math
from statistics import stdev

import pytest

from dukd_train.report.spreads import Spread, mean_curve


@pytest.mark.parametrize(
    ("values", "digits", "signed", "expected"),
    [
        ((30.0, 31.0, 32.0), 2, False, "31.00 ± 1.00"),
        ((0.80, 0.82, 0.84), 4, False, "0.8200 ± 0.0200"),
        ((30.125,), 1, False, "30.1"),
        ((0.01, 0.03), 3, True, "+0.020 ± 0.014"),
        ((-0.01, -0.03), 3, True, "−0.020 ± 0.014"),
        ((math.inf, 30.0), 2, False, "inf"),
        ((math.nan, 30.0), 2, True, "–"),
    ],
)
def test_text(values: tuple[float, ...], digits: int, signed: bool, expected: str) -> None:
    assert Spread(values).text(digits, signed) == expected


def test_the_deviation_is_that_of_a_sample() -> None:
    values = (1.0, 2.0, 4.0)
    assert Spread(values).deviation == stdev(values)
    assert Spread((1.0,)).deviation is None
    assert Spread((1.0, math.inf)).deviation is None


def test_curves_are_averaged_where_all_have_a_point() -> None:
    curves = [[(10, 1.0), (20, 2.0), (30, 3.0)], [(20, 4.0), (10, 2.0)]]
    assert mean_curve(curves, lambda values: values.mean) == [(10, 1.5), (20, 3.0)]
    assert mean_curve([], lambda values: values.mean) == []

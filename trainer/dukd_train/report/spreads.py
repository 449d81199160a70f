"""Mean and standard deviation over seeds, of numbers and of curves."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from dukd_train.scoring.scores import MISSING

MINUS = "−"


@dataclass(frozen=True)
class Spread:
    """Several measurements of one thing."""

    values: tuple[float, ...]
    """One for each seed, at least one."""

    @property
    def mean(self) -> float:
        """NaN where a value is: it is of no use without the others."""
        return fmean(self.values)

    @property
    def deviation(self) -> float | None:
        """The sample standard deviation; none of a single value, nor where one is infinite or NaN."""
        if len(self.values) < 2 or not all(map(math.isfinite, self.values)):
            return None
        return stdev(self.values)

    def text(self, digits: int, signed: bool = False) -> str:
        """`29.94 ± 0.02`; `+0.02 ± 0.01` if signed."""
        if not math.isfinite(self.mean):
            return MISSING if math.isnan(self.mean) else str(self.mean)
        mean = f"{self.mean:{'+' if signed else ''}.{digits}f}".replace("-", MINUS)
        return mean if self.deviation is None else f"{mean} ± {self.deviation:.{digits}f}"


def mean_curve(curves: Sequence[Sequence[tuple[int, float]]], of: Callable[[Spread], float]) -> list[tuple[int, float]]:
    """A curve of `of` over the values that the curves have at one step; steps that some lack are left out."""
    by_step = [dict(curve) for curve in curves]
    steps = sorted(set.intersection(*(set(curve) for curve in by_step))) if by_step else []
    return [(step, of(Spread(tuple(curve[step] for curve in by_step)))) for step in steps]

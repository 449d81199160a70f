"""Learning rates against a table."""

import math
from collections.abc import Callable

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, MultiStepLR

from dukd_train.core.schedule import ema_decay, factor
from dukd_train.settings import Schedule

PAPER = Schedule()
COSINE = Schedule(kind="cosine")


@pytest.mark.parametrize(
    ("schedule", "step", "steps", "expected"),
    [
        (PAPER, 0, 250_000, 1.0),
        (PAPER, 99_999, 250_000, 1.0),
        (PAPER, 100_000, 250_000, 0.1),
        (PAPER, 199_999, 250_000, 0.1),
        (PAPER, 200_000, 250_000, 0.01),
        (PAPER, 249_999, 250_000, 0.01),
        (Schedule(milestones=(2, 3), gamma=0.5), 2, 9, 0.5),
        (Schedule(milestones=(2, 3), gamma=0.5), 3, 9, 0.25),
        (Schedule(milestones=()), 10**9, 10, 1.0),
        (COSINE, 0, 100, 1.0),
        (COSINE, 25, 100, 0.5 + math.sqrt(2) / 4),
        (COSINE, 50, 100, 0.5),
        (COSINE, 100, 100, 0.0),
        (Schedule(kind="cosine", floor=0.2), 0, 100, 1.0),
        (Schedule(kind="cosine", floor=0.2), 50, 100, 0.6),
        (Schedule(kind="cosine", floor=0.2), 100, 100, 0.2),
        (Schedule(kind="constant"), 10**6, 10, 1.0),
        (Schedule(kind="constant", warmup=4), 1, 10, 0.5),
        (Schedule(warmup=4), 0, 100, 0.25),
        (Schedule(warmup=4), 2, 100, 0.75),
        (Schedule(warmup=4), 3, 100, 1.0),
        (Schedule(warmup=4), 4, 100, 1.0),
        (Schedule(warmup=4, milestones=(2,), gamma=0.1), 2, 100, 0.075),
        (Schedule(kind="cosine", warmup=4), 1, 8, 0.5 * 0.5 * (1 + math.cos(math.pi / 8))),
    ],
)
def test_table(schedule: Schedule, step: int, steps: int, expected: float) -> None:
    assert factor(step, steps, schedule) == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_never_a_step_without_learning() -> None:
    for schedule in (PAPER, COSINE, Schedule(warmup=10), Schedule(kind="cosine", warmup=10)):
        assert all(0 < factor(step, 50, schedule) <= 1 for step in range(50))


@pytest.mark.parametrize(("step", "decay"), [(0, 0.1), (1, 2 / 11), (90, 0.91), (10_000, 0.999)])
def test_average_starts_near_the_weights(step: int, decay: float) -> None:
    assert ema_decay(step, 0.999) == pytest.approx(decay, abs=1e-3)
    assert ema_decay(step, 0.05) == 0.05


def rates_of_torch(make: Callable[[torch.optim.Optimizer], LRScheduler], steps: int) -> list[float]:
    """What torch's own schedule makes of a rate of 1, stepped after every step, as Lightning and BasicSR do."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule, rates = make(optimizer), []
    for _ in range(steps):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        schedule.step()
    return rates


def test_the_same_rates_as_torch() -> None:
    multistep = Schedule(milestones=(5, 12), gamma=0.3)
    found = [factor(step, 20, multistep) for step in range(20)]
    assert found == pytest.approx(rates_of_torch(lambda it: MultiStepLR(it, [5, 12], 0.3), 20))
    cosine = Schedule(kind="cosine", floor=0.1)
    found = [factor(step, 20, cosine) for step in range(20)]
    assert found == pytest.approx(rates_of_torch(lambda it: CosineAnnealingLR(it, 20, eta_min=0.1), 20))

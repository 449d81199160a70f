"""What changes with the step, as pure functions of it: the learning rate and the averaging of weights."""

import math

from dukd_train.settings import Schedule


def factor(step: int, steps: int, schedule: Schedule) -> float:
    """What the base learning rate is multiplied by at `step` (counted from 0) of `steps`."""
    warm = min(1.0, (step + 1) / schedule.warmup) if schedule.warmup else 1.0
    if schedule.kind == "constant":
        return warm
    if schedule.kind == "multistep":
        return warm * schedule.gamma ** sum(step >= milestone for milestone in schedule.milestones)
    falling = 0.5 * (1 + math.cos(math.pi * step / steps))
    return warm * (schedule.floor + (1 - schedule.floor) * falling)


def ema_decay(step: int, decay: float) -> float:
    """The decay of the averaged weights at `step` (counted from 0).

    It starts low, so that a short run's average is not held back by the random weights it began with.
    """
    return min(decay, (1 + step) / (10 + step))

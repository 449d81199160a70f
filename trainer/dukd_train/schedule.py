"""Learning rates as a pure function of the step."""

import math

from dukd_train.config import Schedule


def factor(step: int, steps: int, schedule: Schedule) -> float:
    """What the base learning rate is multiplied by at `step` (counted from 0) of `steps`."""
    warm = min(1.0, (step + 1) / schedule.warmup) if schedule.warmup else 1.0
    if schedule.kind == "multistep":
        return warm * schedule.gamma ** sum(step >= milestone for milestone in schedule.milestones)
    falling = 0.5 * (1 + math.cos(math.pi * step / steps))
    return warm * (schedule.floor + (1 - schedule.floor) * falling)

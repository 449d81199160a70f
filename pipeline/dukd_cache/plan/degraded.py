"""(steps, name) → what is done to one picture. Pure: equal names draw equal values and equal noise, in any order."""

from collections.abc import Sequence

import numpy as np

from dukd_cache.pictures.degradation.recipe import Recipe, drawn_from, with_shrink
from dukd_cache.pictures.degradation.steps import NUMBERS, Step
from dukd_cache.plan.philox import key_of, stream, uniform


def recipe_of(steps: Sequence[Step], name: str) -> Recipe:
    """What `steps` do to the picture called `name`: all that tells it from others, and the seed.

    Each step has streams of its own, for its values and for its noise: a changed one moves no other.
    """
    every = with_shrink(steps)
    keys = b"".join(key_of(f"{name}/{number}") for number in range(len(every)))
    rows = uniform(np.frombuffer(keys, np.uint64).reshape(-1, 2), 0, NUMBERS).tolist()

    def noise(number: int) -> np.random.Generator:
        return stream(f"{name}/{number}/noise")

    return drawn_from(every, rows, noise)

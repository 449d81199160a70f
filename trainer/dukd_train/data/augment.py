"""Augmentations drawn by chance. The group they are drawn from is `dukd_cache.pictures.symmetries`."""

import numpy as np
import torch

from dukd_cache.pictures.symmetries import CHANNEL_ORDERS, Augmentation
from dukd_train.settings import Chances


def draw(count: int, chances: Chances, rng: np.random.Generator) -> Augmentation:
    """Steps for `count` records, each taken with its own chance."""

    def coins(chance: float) -> np.ndarray:
        return rng.random(count) < chance

    taken = [coins(chances.hflip), coins(chances.vflip), coins(chances.transpose), coins(chances.invert)]
    channels = rng.integers(1, len(CHANNEL_ORDERS), count) * coins(chances.permute)
    return Augmentation(*map(torch.from_numpy, (*taken, channels)))

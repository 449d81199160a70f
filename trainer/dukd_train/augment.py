"""Augmentations drawn by chance. The group they are drawn from is `dukd_cache.symmetries`."""

import numpy as np
import torch
from torch import Tensor

from dukd_cache.symmetries import Augmentation
from dukd_train.config import Chances


def draw(count: int, chances: Chances, rng: np.random.Generator) -> Augmentation:
    """Steps for `count` records, each taken with its own chance."""

    def coins(chance: float) -> Tensor:
        return torch.from_numpy(rng.random(count) < chance)

    return Augmentation(coins(chances.hflip), coins(chances.vflip), coins(chances.transpose), coins(chances.invert))

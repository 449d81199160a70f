"""Augmentations drawn by chance."""

import numpy as np
import pytest
import torch

from dukd_train import augment
from dukd_train.config import Chances


def test_draws_come_as_often_as_asked() -> None:
    count = 4000
    chances = Chances(hflip=0.1, vflip=0.35, transpose=0.6, invert=0.85)
    how = augment.draw(count, chances, np.random.default_rng(0))
    steps = torch.stack([how.hflip, how.vflip, how.transpose, how.invert]).double()
    wanted = torch.tensor([0.1, 0.35, 0.6, 0.85], dtype=torch.float64)
    assert ((steps.mean(1) - wanted).abs() < 4 * (wanted * (1 - wanted) / count).sqrt()).all()
    correlation = torch.corrcoef(steps) - torch.eye(4)
    assert correlation.abs().max() < 4 / count**0.5  # drawn apart from each other


@pytest.mark.parametrize("chance", [0.0, 1.0])
def test_never_and_always(chance: float) -> None:
    chances = Chances(hflip=chance, vflip=chance, transpose=chance, invert=chance)
    how = augment.draw(1000, chances, np.random.default_rng(0))
    for step in (how.hflip, how.vflip, how.transpose, how.invert):
        assert step.double().mean() == chance

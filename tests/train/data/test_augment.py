"""Augmentations drawn by chance."""

import numpy as np
import pytest
import torch

from dukd_train.data import augment
from dukd_train.settings import Chances


def test_draws_come_as_often_as_asked() -> None:
    count = 4000
    chances = Chances(hflip=0.1, vflip=0.35, transpose=0.6, invert=0.85, permute=0.5)
    how = augment.draw(count, chances, np.random.default_rng(0))
    steps = torch.stack([how.hflip, how.vflip, how.transpose, how.invert, how.channels > 0]).double()
    wanted = torch.tensor([0.1, 0.35, 0.6, 0.85, 0.5], dtype=torch.float64)
    assert ((steps.mean(1) - wanted).abs() < 4 * (wanted * (1 - wanted) / count).sqrt()).all()
    correlation = torch.corrcoef(steps) - torch.eye(5)
    assert correlation.abs().max() < 4 / count**0.5  # drawn apart from each other


def test_every_other_order_of_the_channels_is_as_likely() -> None:
    how = augment.draw(4000, Chances(permute=1), np.random.default_rng(0))
    counts = torch.bincount(how.channels, minlength=6)
    assert counts[0] == 0
    assert ((counts[1:] - 800).abs() < 4 * (4000 * 0.2 * 0.8) ** 0.5).all()


def test_what_was_drawn_without_the_channels_stays() -> None:
    plain, more = (augment.draw(50, Chances(permute=chance), np.random.default_rng(3)) for chance in (0, 1))
    assert torch.equal(plain.invert, more.invert)
    assert not plain.channels.any()


@pytest.mark.parametrize("chance", [0.0, 1.0])
def test_never_and_always(chance: float) -> None:
    chances = Chances(hflip=chance, vflip=chance, transpose=chance, invert=chance, permute=chance)
    how = augment.draw(1000, chances, np.random.default_rng(0))
    for step in (how.hflip, how.vflip, how.transpose, how.invert, how.channels > 0):
        assert step.double().mean() == chance

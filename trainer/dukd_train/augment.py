"""The invertible augmentations: the 8 symmetries of the square (flips × transpose) × colour inversion.

For F of this group, |F⁻¹(S(F(x))) − T(x)|₁ = |S(F(x)) − F(T(x))|₁, because F only permutes pixels and mirrors
values. So one cached answer T(x) serves every F, and mapping the 8-bit answer is cheaper than mapping the student's
output back with gradients. Flips and transpose do not commute: `invert` undoes the steps in reverse order.

Shapes: N records, C channels, H = W sides.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dukd_train.config import Chances


@dataclass(frozen=True)
class Augmentation:
    """For each of N records, which steps are taken, in the order of the fields."""

    hflip: Tensor
    """bool [N]. So the others."""
    vflip: Tensor
    transpose: Tensor
    invert: Tensor

    def to(self, device: torch.device) -> "Augmentation":
        """The same on another device."""
        return Augmentation(
            self.hflip.to(device), self.vflip.to(device), self.transpose.to(device), self.invert.to(device)
        )


def draw(count: int, chances: Chances, rng: np.random.Generator) -> Augmentation:
    """Steps for `count` records, each taken with its own chance."""

    def coins(chance: float) -> Tensor:
        return torch.from_numpy(rng.random(count) < chance)

    return Augmentation(coins(chances.hflip), coins(chances.vflip), coins(chances.transpose), coins(chances.invert))


def apply(how: Augmentation, images_NCHH: Tensor) -> Tensor:
    """F(x). uint8 in 0…255, or float in [0,1]."""
    x = _where(how.hflip, images_NCHH.flip(-1), images_NCHH)
    x = _where(how.vflip, x.flip(-2), x)
    x = _where(how.transpose, x.transpose(-1, -2), x)
    return _where(how.invert, _negative(x), x)


def undo(how: Augmentation, images_NCHH: Tensor) -> Tensor:
    """F⁻¹(x): the same steps in reverse order."""
    x = _where(how.invert, _negative(images_NCHH), images_NCHH)
    x = _where(how.transpose, x.transpose(-1, -2), x)
    x = _where(how.vflip, x.flip(-2), x)
    return _where(how.hflip, x.flip(-1), x)


def _where(chosen_N: Tensor, changed_NCHH: Tensor, kept_NCHH: Tensor) -> Tensor:
    return torch.where(chosen_N[:, None, None, None], changed_NCHH, kept_NCHH)


def _negative(x: Tensor) -> Tensor:
    return 255 - x if x.dtype == torch.uint8 else 1 - x

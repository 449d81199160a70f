"""The invertible augmentations: the 8 symmetries of the square (flips × transpose) × colour inversion.

For F of this group, |F⁻¹(S(F(x))) − T(x)|₁ = |S(F(x)) − F(T(x))|₁, because F only permutes pixels and mirrors
values. So one cached answer T(x) serves every F, and mapping the 8-bit answer is cheaper than mapping the student's
output back with gradients. Flips and transpose do not commute: `undo` takes the steps back in reverse order.

Shapes: N records, C channels, H = W sides.
"""

from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

STEPS = ("hflip", "vflip", "transpose", "invert")
"""The generators, in the order they are applied."""


@dataclass(frozen=True)
class Augmentation:
    """For each of N records, which steps are taken, in the order of the fields."""

    hflip: Tensor
    """bool [N]. So the others."""
    vflip: Tensor
    transpose: Tensor
    invert: Tensor

    def __getitem__(self, records: slice) -> "Augmentation":
        """Of some of the records."""
        return Augmentation(self.hflip[records], self.vflip[records], self.transpose[records], self.invert[records])

    def to(self, device: torch.device) -> "Augmentation":
        """The same on another device."""
        return Augmentation(
            self.hflip.to(device), self.vflip.to(device), self.transpose.to(device), self.invert.to(device)
        )


def elements() -> dict[str, tuple[bool, bool, bool, bool]]:
    """Name → which of `STEPS` are taken, for all 16 elements: `identity`, `hflip`, …, `hflip+vflip+transpose+invert`.

    Those without inversion come first.
    """
    taken = [(h, v, t, i) for i, t, v, h in product((False, True), repeat=4)]
    return {"+".join(name for name, on in zip(STEPS, each, strict=True) if on) or "identity": each for each in taken}


def repeated(element: tuple[bool, bool, bool, bool], count: int) -> Augmentation:
    """One element for all of `count` records."""
    return Augmentation(*(torch.full((count,), taken) for taken in element))


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

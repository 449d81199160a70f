"""Self-ensemble: the mean of a network's answers to an image's flips and turns (and inversions), turned back.

Source: Timofte et al., "Seven ways to improve example-based single image super resolution", CVPR 2016; the EDSR+ of
Lim et al., CVPR workshops 2017, section 3.4. Both take the eight symmetries of the square.

Shapes: N images, C = 3, H×W input sides, s scale.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from dukd_cache.pictures.symmetries import Element, apply, elements, repeated, undo

_STEPS = 2**24
"""Answers are summed in whole multiples of 1/2²⁴, which is what float32 resolves just below 1. Sums of integers have no
order, so a turned image gets the turned mean, bit for bit."""


def group(size: int) -> tuple[Element, ...]:
    """The first `size` symmetries: 1, the identity; 8, those of the square; 16, each also with colour inversion."""
    return tuple(elements().values())[:size]


def mean_answer(size: int, ask: Callable[[Tensor], Tensor], image_NCHW: Tensor) -> Tensor:
    """The mean of F⁻¹(ask(F(x))) over `group(size)`: float32 [N,C,sH,sW].

    Args:
        ask: gives float32 in [0,1].
        image_NCHW: uint8 in 0…255, or float in [0,1], whose inversion rounds.
    """
    total_NCHW = torch.zeros((), dtype=torch.int32)
    for element in group(size):
        how = repeated(element, len(image_NCHW))
        rounded_NCHW = ask(apply(how, image_NCHW)).mul(_STEPS).round().div(_STEPS)  # of these, 1 − x is exact
        total_NCHW = total_NCHW + undo(how, rounded_NCHW).mul(_STEPS).int()
    return total_NCHW / (size * _STEPS)

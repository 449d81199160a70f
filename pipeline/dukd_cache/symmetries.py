"""The invertible augmentations: the 8 symmetries of the square (flips × transpose) × colour inversion × channel orders.

For F of this group, |F⁻¹(S(F(x))) − T(x)|₁ = |S(F(x)) − F(T(x))|₁, because F only permutes pixels and channels and
mirrors values. So one cached answer T(x) serves every F, and mapping the 8-bit answer is cheaper than mapping the
student's output back with gradients. Flips and transpose do not commute: `undo` takes the steps back in reverse order.

Shapes: N records, C = 3 channels, H = W sides.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import permutations, product
from typing import NamedTuple

import torch
from torch import Tensor

STEPS = ("hflip", "vflip", "transpose", "invert")
"""The generators but for the channels' order, in the order they are applied."""

CHANNEL_ORDERS: tuple[tuple[int, ...], ...] = tuple(permutations(range(3)))
"""Which channel becomes the first, second and third; 0 is as it was."""


class Element(NamedTuple):
    """One element of the group."""

    hflip: bool = False
    vflip: bool = False
    transpose: bool = False
    invert: bool = False
    channels: int = 0
    """Number of one of `CHANNEL_ORDERS`."""


@dataclass(frozen=True)
class Augmentation:
    """For each of N records, which steps are taken, in the order of the fields.

    On the CPU, wherever the records are: what is to be computed is known without asking a GPU.
    """

    hflip: Tensor
    """bool [N]. So the others."""
    vflip: Tensor
    transpose: Tensor
    invert: Tensor
    channels: Tensor
    """int64 [N]: numbers of `CHANNEL_ORDERS`."""

    def __getitem__(self, records: slice) -> "Augmentation":
        """Of some of the records."""
        return Augmentation(*(step[records] for step in vars(self).values()))


def elements() -> dict[str, Element]:
    """Name → element, of the 16 that keep the channels' order: `identity`, `hflip`, …, `hflip+vflip+transpose+invert`.

    Those without inversion come first.
    """
    taken = [Element(h, v, t, i) for i, t, v, h in product((False, True), repeat=4)]
    return {"+".join(step for step in STEPS if getattr(each, step)) or "identity": each for each in taken}


def channel_orders() -> dict[str, Element]:
    """Name → element, of the 5 that change the channels' order and nothing else: `channels RBG`, …, `channels BGR`."""
    return {
        f"channels {''.join('RGB'[channel] for channel in order)}": Element(channels=number)
        for number, order in enumerate(CHANNEL_ORDERS)
        if number
    }


def repeated(element: Element, count: int) -> Augmentation:
    """One element for all of `count` records."""
    return Augmentation(*(torch.full((count,), taken) for taken in element))


def apply(how: Augmentation, images_NCHH: Tensor) -> Tensor:
    """F(x). uint8 in 0…255, or float in [0,1]."""
    x = _changed(how.hflip, _hflip, images_NCHH)
    x = _changed(how.vflip, _vflip, x)
    x = _changed(how.transpose, _transpose, x)
    x = _changed(how.invert, _negative, x)
    return _reordered(how.channels, CHANNEL_ORDERS, x)


def undo(how: Augmentation, images_NCHH: Tensor) -> Tensor:
    """F⁻¹(x): the same steps in reverse order."""
    x = _reordered(how.channels, _ORDERS_BACK, images_NCHH)
    x = _changed(how.invert, _negative, x)
    x = _changed(how.transpose, _transpose, x)
    x = _changed(how.vflip, _vflip, x)
    return _changed(how.hflip, _hflip, x)


_ORDERS_BACK = tuple(tuple(order.index(channel) for channel in range(3)) for order in CHANNEL_ORDERS)


def _changed(chosen_N: Tensor, change: Callable[[Tensor], Tensor], x_NCHH: Tensor) -> Tensor:
    """`x` with `change` made to the chosen records."""
    if not chosen_N.any():
        return x_NCHH
    if chosen_N.all():  # images of any sides, even where the change is to transpose them
        return change(x_NCHH)
    return (_select_in_kernel if x_NCHH.is_cuda else _select_by_sorting)(chosen_N, change, x_NCHH)


def _select_in_kernel(chosen_N: Tensor, change: Callable[[Tensor], Tensor], x_NCHH: Tensor) -> Tensor:
    """Change all, keep what was chosen: few launches, for a GPU."""
    return torch.where(chosen_N.to(x_NCHH.device)[:, None, None, None], change(x_NCHH), x_NCHH)


def _select_by_sorting(chosen_N: Tensor, change: Callable[[Tensor], Tensor], x_NCHH: Tensor) -> Tensor:
    """Sort the chosen to the end, change them there, sort them back: four times as fast on a CPU.

    Whole records with their channels last are moved as blocks of memory, and only what is chosen is computed.
    """
    order = chosen_N.to(torch.uint8).argsort(stable=True)
    sorted_NHHC = x_NCHH.permute(0, 2, 3, 1).index_select(0, order)
    last_NCHH = sorted_NHHC[-int(chosen_N.sum()) :].permute(0, 3, 1, 2)
    last_NCHH.copy_(change(last_NCHH))
    return sorted_NHHC.index_select(0, order.argsort()).permute(0, 3, 1, 2)


def _reordered(numbers_N: Tensor, orders: tuple[tuple[int, ...], ...], x_NCHH: Tensor) -> Tensor:
    for number in sorted(set(numbers_N.tolist()) - {0}):
        order = torch.tensor(orders[number], device=x_NCHH.device)
        x_NCHH = _changed(numbers_N == number, partial(torch.index_select, dim=1, index=order), x_NCHH)
    return x_NCHH


def _hflip(x: Tensor) -> Tensor:
    return x.flip(-1)


def _vflip(x: Tensor) -> Tensor:
    return x.flip(-2)


def _transpose(x: Tensor) -> Tensor:
    return x.transpose(-1, -2).contiguous(memory_format=torch.channels_last)


def _negative(x: Tensor) -> Tensor:
    return 255 - x if x.dtype == torch.uint8 else 1 - x

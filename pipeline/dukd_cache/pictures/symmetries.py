"""The invertible augmentations: the 8 symmetries of the square (flips × transpose) × colour inversion × channel orders.

For F of this group, |F⁻¹(S(F(x))) − T(x)|₁ = |S(F(x)) − F(T(x))|₁, because F only permutes pixels and channels and
mirrors values. So one cached answer T(x) serves every F, and mapping the 8-bit answer is cheaper than mapping the
student's output back with gradients. Flips and transpose do not commute: `undo` takes the steps back in reverse order.

Shapes: N records, C = 3 channels, H = W sides.
"""

from collections.abc import Callable, Sequence
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
    return _changed([*_turns(how), *_reorderings(how, CHANNEL_ORDERS)], images_NCHH)


def undo(how: Augmentation, images_NCHH: Tensor) -> Tensor:
    """F⁻¹(x): the same steps in reverse order."""
    return _changed([*_reorderings(how, _ORDERS_BACK), *reversed(_turns(how))], images_NCHH)


_ORDERS_BACK = tuple(tuple(order.index(channel) for channel in range(3)) for order in CHANNEL_ORDERS)

_Step = tuple[Tensor, Callable[[Tensor], Tensor]]
"""bool [N], which records are changed, and how; a change takes [N,C,H,H] and [C,H,H]."""


def _turns(how: Augmentation) -> list[_Step]:
    """All but the channels' order."""
    return [(how.hflip, _hflip), (how.vflip, _vflip), (how.transpose, _transpose), (how.invert, _negative)]


def _reorderings(how: Augmentation, orders: Sequence[Sequence[int]]) -> list[_Step]:
    numbers = sorted(set(how.channels.tolist()) - {0})
    return [(how.channels == number, partial(_reordered, order=orders[number])) for number in numbers]


def _changed(steps: Sequence[_Step], x_NCHH: Tensor) -> Tensor:
    """`x` after all steps; channels lie last in it, as networks want them."""
    if x_NCHH.is_cuda:
        for chosen_N, change in steps:
            x_NCHH = _select_in_kernel(chosen_N, change, x_NCHH)
        return x_NCHH
    return _one_by_one([(chosen_N.tolist(), change) for chosen_N, change in steps], x_NCHH)


def _select_in_kernel(chosen_N: Tensor, change: Callable[[Tensor], Tensor], x_NCHH: Tensor) -> Tensor:
    """Change all, keep what was chosen: few launches, for a GPU."""
    if not chosen_N.any():
        return x_NCHH
    changed = change(x_NCHH)
    if not chosen_N.all():  # else images may have any sides, even where the change is to transpose them
        changed = torch.where(chosen_N.to(x_NCHH.device)[:, None, None, None], changed, x_NCHH)
    return changed.contiguous(memory_format=torch.channels_last)


def _one_by_one(steps: Sequence[tuple[list[bool], Callable[[Tensor], Tensor]]], x_NCHH: Tensor) -> Tensor:
    """Only what is chosen is computed, one record at a time while it is in the processor's cache: best on a CPU."""
    changed: list[Tensor] = []
    for index, x_CHH in enumerate(x_NCHH):
        for chosen, change in steps:
            if chosen[index]:
                x_CHH = change(x_CHH)
        changed.append(x_CHH.permute(1, 2, 0))
    return torch.stack(changed).permute(0, 3, 1, 2)


def _hflip(x: Tensor) -> Tensor:
    return x.flip(-1)


def _vflip(x: Tensor) -> Tensor:
    return x.flip(-2)


def _transpose(x: Tensor) -> Tensor:
    return x.transpose(-1, -2)


def _negative(x: Tensor) -> Tensor:
    return 255 - x if x.dtype == torch.uint8 else 1 - x


def _reordered(x: Tensor, order: Sequence[int]) -> Tensor:
    return x.index_select(-3, torch.tensor(order, device=x.device))

"""The invertible augmentations: the 8 symmetries of the square (flips × transpose) × colour inversion × channel orders.

For F of this group, `|F⁻¹(S(F(x))) − T(x)|₁ = |S(F(x)) − F(T(x))|₁`, because F only permutes pixels and channels and
mirrors values. So one cached answer T(x) serves every F, and mapping the 8-bit answer is cheaper than mapping the
student's output back with gradients. Flips and transpose do not commute: `undo` takes the steps back in reverse order.

Shapes: N records, C = 3 channels, H = W sides.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache, partial
from itertools import permutations, product
from typing import NamedTuple

import torch
from torch import Tensor

from dukd_cache.system.sending import sent

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

    @cached_property
    def numbers(self) -> Tensor:
        """int64 [N,8]: that of the turn, hflip + 2 vflip + 4 transpose; whether to invert; the channels' order, and
        the one that takes it back."""
        turn_N = self.hflip * 1 + self.vflip * 2 + self.transpose * 4
        orders = torch.tensor(_ORDERS)[:, self.channels]
        return torch.cat([turn_N.unsqueeze(1), self.invert.unsqueeze(1), *orders], 1)

    def __getitem__(self, records: slice) -> "Augmentation":
        """Of some of the records."""
        return Augmentation(*(getattr(self, step.name)[records] for step in fields(self)))


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
    return _changed(how, images_NCHH, back=False)


def undo(how: Augmentation, images_NCHH: Tensor) -> Tensor:
    """F⁻¹(x): the same steps in reverse order."""
    return _changed(how, images_NCHH, back=True)


_ORDERS = (CHANNEL_ORDERS, tuple(tuple(order.index(channel) for channel in range(3)) for order in CHANNEL_ORDERS))
"""There and back."""

_Step = tuple[Tensor, Callable[[Tensor], Tensor]]
"""bool [N], which records are changed, and how; a change takes [N,C,H,H] and [C,H,H]."""


def _changed(how: Augmentation, x_NCHH: Tensor, back: bool) -> Tensor:
    """`x` after all steps; channels lie last in it, as networks want them."""
    if x_NCHH.is_cuda and x_NCHH.shape[-2] == x_NCHH.shape[-1]:
        return _in_one_go(how, x_NCHH, back)
    steps = _turns(how.hflip, how.vflip, how.transpose, back)
    numbers = sorted(set(how.channels.tolist()) - {0})
    values = [(how.invert, _negative)]
    values += [(how.channels == number, partial(_reordered, order=_ORDERS[back][number])) for number in numbers]
    return _one_by_one([(chosen_N.tolist(), change) for chosen_N, change in (*steps, *values)], x_NCHH)


def _turns(hflip_N: Tensor, vflip_N: Tensor, transpose_N: Tensor, back: bool) -> list[_Step]:
    """Flips and transpose, which do not commute with each other; with what changes values and channels they do."""
    steps: list[_Step] = [(hflip_N, _hflip), (vflip_N, _vflip), (transpose_N, _transpose)]
    return steps[::-1] if back else steps


def _in_one_go(how: Augmentation, x_NCHH: Tensor, back: bool) -> Tensor:
    """All steps of all records in a few launches, for a GPU, which is never waited for.

    Each value of the result is looked up where it comes from.
    """
    count, channels, side, _ = x_NCHH.shape
    chosen = sent(how.numbers, x_NCHH.device)
    channel_NC = chosen[:, 5:8] if back else chosen[:, 2:5]
    pixel_NP1 = _sources(side, back, x_NCHH.device)[chosen[:, 0]].unsqueeze(2)
    index_NV = (pixel_NP1 * channels + channel_NC.unsqueeze(1)).reshape(count, -1)
    found_NV = x_NCHH.permute(0, 2, 3, 1).reshape(count, -1).gather(1, index_NV)
    found_NV = torch.where(chosen[:, 1:2].bool(), _negative(found_NV), found_NV)
    return found_NV.view(count, side, side, channels).permute(0, 3, 1, 2)


@lru_cache
def _sources(side: int, back: bool, device: torch.device) -> Tensor:
    """Where each of P = H² pixels comes from, by the number of its turn: int64 [8,P]."""
    numbers = torch.arange(8)
    places_81HH = torch.arange(side * side).reshape(1, 1, side, side).expand(8, -1, -1, -1)
    turns = _turns(numbers & 1 > 0, numbers & 2 > 0, numbers & 4 > 0, back)
    turned_81HH = _one_by_one([(chosen.tolist(), change) for chosen, change in turns], places_81HH)
    return turned_81HH.reshape(8, -1).to(device)


def _one_by_one(steps: Sequence[tuple[list[bool], Callable[[Tensor], Tensor]]], x_NCHH: Tensor) -> Tensor:
    """Only what is chosen is computed, one record at a time while it is in the processor's cache: best on a CPU.

    Images may have any sides, even where the change is to transpose all of them.
    """
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

"""What a program that is not understood takes, found by asking it: its scale, and the sides that it answers well.

Shapes: N images, H×W input sides, s scale.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import lcm

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from dukd_cache.networks.network import SCALES
from dukd_cache.system.errors import WeightsError

Ask = Callable[[Tensor], Tensor]
"""[N,3,H,W] float32 in [0,1] → [N,3,sH,sW]. Fails with a WeightsError that names the input's shape."""

_USUAL = (48, 64, 40, 56, 72, 96, 128, 32, 256)
"""Sides that are whole windows of most networks, or all that some take."""

_TRIED = {
    1: 41,
    2: 38,
    3: 39,
    4: 44,
    5: 55,
    6: 66,
    7: 77,
    8: 56,
    10: 30,
    12: 36,
    24: 72,
    16: 48,
    20: 60,
    **{side: side for side in (32, 64, 96, 128, 256)},
}
"""By the multiples that a network may require: a side that none of those which follow divides."""

_LARGE = 40
"""Pixels of a side, at least, where a multiple is known."""

_PERIODS = (1, 2, 4, 6, 7, 8, 12, 16)
"""Windows that networks have, of those that a side of 48 can show."""

_STILL = 0.01 / 255
"""Differences of answers, in [0,1], that mean no window; those of networks that have one are a hundred times larger."""


@dataclass(frozen=True)
class Found:
    """What a network takes."""

    scale: int
    required: int
    """Sides that are no multiple of it are refused, in pixels."""
    window: int
    """Those that are no multiple of it are answered worse."""
    one_by_one: bool
    """It takes one image at a time, or answers it otherwise beside others."""


@torch.no_grad()
def find(ask: Ask, required: int | None = None, window: int | None = None) -> Found:
    """Ask about a few sizes: a dozen inputs of 48×48 at most, most of them only where moving an input matters.

    Args:
        required, window: what is known of them; None: find it.

    Raises:
        WeightsError: it answers no size that was tried as an SR network of scale 2, 3 or 4 would, or one input in
            several ways.
    """
    known = window or required
    picture, answer = _first_answer(ask, [*([known * (-(-_LARGE // known))] if known else []), *_USUAL])
    side, scale = picture.shape[-1], answer.shape[-1] // picture.shape[-1]
    if required is None:
        required = next((multiple for multiple, tried in _TRIED.items() if _answers(ask, tried, scale)), side)
    if window is None:
        window = required if required >= _PERIODS[-1] else lcm(required, _period(ask, side, scale))
    try:
        one_by_one = _gap(ask(torch.cat([picture / 2, picture]))[1:], answer) > _STILL
    except WeightsError:
        one_by_one = True
    if (gap := _gap(ask(picture), answer)) > _STILL:
        why = "is it in training mode, does it draw at random, or keep what it was asked?"
        raise WeightsError(
            f"answers an input otherwise when it is asked again, by {255 * gap:.2g} of 255 levels: {why}"
        )
    return Found(scale, required, window, one_by_one)


def _gap(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().mean())


def _first_answer(ask: Ask, sides: Iterable[int]) -> tuple[Tensor, Tensor]:
    """The first picture that is answered, and the answer."""
    refused: WeightsError | None = None
    for side in sides:
        try:
            answer = ask(picture := _picture(side, side))
        except WeightsError as error:
            refused = refused or error
            continue
        shape, scale = tuple(answer.shape), answer.shape[-1] // side
        if shape != (1, 3, scale * side, scale * side) or scale not in SCALES:
            asked, answered = ("×".join(map(str, each)) for each in ((1, 3, side, side), shape))
            raise WeightsError(f"scale 2, 3 or 4 of 3 channels expected, but {asked} becomes {answered}")
        return picture, answer
    assert refused is not None
    raise refused


def _answers(ask: Ask, side: int, scale: int) -> bool:
    try:
        return tuple(ask(_picture(side, side)).shape) == (1, 3, scale * side, scale * side)
    except WeightsError:
        return False


def _period(ask: Ask, side: int, scale: int) -> int:
    """By how many pixels an input must be moved until its centre is answered as before; 1 where that never matters.

    Windows lie where the input begins: moved by less, it is cut into other ones. Moved by a window, it is not, but for
    what lies at the border. (Released DCTLSA, window 16: 1 to 4 levels of 255, and 0.6 at 16; SwinIR at 8: 0.)
    """
    picture = _picture(side + _PERIODS[-1], side)
    middle = scale * (side // 2)

    def centre(moved: int) -> Tensor:
        answer = ask(picture[:, :, moved : moved + side])
        top = middle - scale * moved
        return answer[..., top : top + 8 * scale, middle - 4 * scale : middle + 4 * scale]

    still = centre(0)
    gaps: list[float] = []
    for period in _PERIODS:
        gap = _gap(centre(period), still)
        if not gaps and gap < _STILL:
            return 1
        if gaps and gap < sum(gaps) / len(gaps) / 3:
            return period
        gaps.append(gap)
    return 1


def _picture(height: int, width: int) -> Tensor:
    """Smooth noise, always the same: [1,3,H,W] in [0,1]."""
    random = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, height // 4 + 1, width // 4 + 1, generator=random)
    smooth = interpolate(coarse, scale_factor=4, mode="bilinear")[..., :height, :width]
    return 0.7 * smooth + 0.3 * torch.rand(1, 3, height, width, generator=random)

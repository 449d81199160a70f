"""Large images in tiles: as much memory as a tile takes, the answer of the whole image where the network allows it.

Every tile sees `overlap` pixels of its neighbours on each side, of which its answer is cut away again. Where the
overlap covers what the network looks at (its receptive field), nothing else differs: tiles end with the image, and
begin at multiples of the network's window, so that padding and windows lie as they do in the whole image.

Legend of tensor names: N images, C=3, H and W the LR image's sides, T a tile's side.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from dukd_cache.errors import SettingError
from dukd_train.scoring.super_resolver import SuperResolver

Tile = int | Literal["auto"]
"""Side of a tile in LR pixels; 0: the whole image; auto: `AUTO_SIDE`, less where memory runs out."""

AUTO_SIDE = 512
"""The whole of an image of at most so many pixels squared; else tiles of this side to begin with."""

_SMALLEST_AUTO_SIDE = 64

_CPU_OUT_OF_MEMORY = "can't allocate memory"
"""In what torch says where a CPU's memory runs out; a GPU has an error of its own."""


def tile_side(text: str) -> Tile:
    """What a user writes for one.

    Raises:
        SettingError: neither `auto` nor a number of pixels.
    """
    if text == "auto":
        return "auto"
    if not text.isdecimal():
        raise SettingError(f"--tile {text}: expected auto, 0 (the whole image) or a number of pixels")
    return int(text)


class Span(NamedTuple):
    """Along one axis, in LR pixels: a tile sees `start` … `stop` and answers for `core_start` … `core_stop`."""

    start: int
    core_start: int
    core_stop: int
    stop: int


def spans(length: int, side: int, overlap: int, multiple: int) -> list[Span]:
    """The tiles along an axis of `length` pixels: their cores cover it once, each start is a multiple of `multiple`.

    Raises:
        SettingError: tiles of `side` pixels have no core within such an overlap.
    """
    reach = -(-overlap // multiple) * multiple
    step = (side - 2 * reach) // multiple * multiple
    if step < 1:
        raise SettingError(
            f"tiles of {side} pixels that overlap by {overlap} on each side: expected at least {2 * reach + multiple}"
        )
    return [
        Span(max(0, at - reach), at, min(at + step, length), min(at + step + reach, length))
        for at in range(0, length, step)
    ]


@dataclass(frozen=True)
class Tiled:
    """A network that answers tile by tile. The answer is put together on the CPU.

    Raises:
        SettingError: the tiles are too small for their overlap.
    """

    network: SuperResolver
    side: Tile
    overlap: int
    """LR pixels; in tiles that became small for want of memory, at most a quarter of their side."""
    multiple: int = 1
    """Side of the network's windows in LR pixels: spandrel's `size_requirements.multiple_of`."""

    def __post_init__(self) -> None:
        if self.side != "auto" and self.side:
            spans(self.side, self.side, self.overlap, self.multiple)

    @property
    def scale(self) -> int:
        return self.network.scale

    def __call__(self, image_NCHW: Tensor) -> Tensor:
        """[N,C,H,W] in [0,1] → [N,C,scale·H,scale·W].

        Raises:
            SettingError: memory runs out.
        """
        height, width = image_NCHW.shape[-2:]
        whole = max(height, width)
        if self.side != "auto":
            side = min(self.side, whole) if self.side else whole
        else:
            side = whole if height * width <= AUTO_SIDE**2 else min(AUTO_SIDE, whole)
        while (answer_NCHW := self._attempt(image_NCHW, side)) is None:
            if self.side != "auto" or side <= _SMALLEST_AUTO_SIDE:
                raise SettingError(f"out of memory with tiles of {side}×{side} pixels: choose a smaller tile, or auto")
            side = max(side // 2, _SMALLEST_AUTO_SIDE)
        return answer_NCHW

    def _attempt(self, image_NCHW: Tensor, side: int) -> Tensor | None:
        """The answer, or None where memory runs out; what was computed until then is free again."""
        try:
            return self._answer(image_NCHW, side)
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not isinstance(error, torch.OutOfMemoryError) and _CPU_OUT_OF_MEMORY not in str(error):
                raise
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return None

    def _answer(self, image_NCHW: Tensor, side: int) -> Tensor:
        if side >= max(image_NCHW.shape[-2:]):
            return self.network(image_NCHW).cpu()
        count, channels, height, width = image_NCHW.shape
        s = self.scale
        answer_NCHW = torch.empty(count, channels, s * height, s * width)
        for down, across in self._tiles(height, width, side):
            tile_NCTT = self.network(image_NCHW[..., down.start : down.stop, across.start : across.stop])
            inner = tile_NCTT[
                ...,
                s * (down.core_start - down.start) : s * (down.core_stop - down.start),
                s * (across.core_start - across.start) : s * (across.core_stop - across.start),
            ]
            answer_NCHW[..., s * down.core_start : s * down.core_stop, s * across.core_start : s * across.core_stop] = (
                inner
            )
        return answer_NCHW

    def _tiles(self, height: int, width: int, side: int) -> Iterator[tuple[Span, Span]]:
        overlap = min(self.overlap, side // 4) if self.side == "auto" else self.overlap
        across = spans(width, side, overlap, self.multiple)
        for down in spans(height, side, overlap, self.multiple):
            for each in across:
                yield down, each


def seen_beyond(network: SuperResolver, overlap: int, multiple: int = 1) -> float:
    """How much, in levels of 255, a network's answer can depend on what is more than `overlap` LR pixels away.

    Measured: noise whose far pixels are made black, the largest change in the middle. 0 for plain convolutions whose
    receptive field is smaller, more for attention and pooling over the whole image.
    """
    reach = -(-max(overlap, 1) // multiple) * multiple
    core = max(multiple, 8)
    far = max(reach, -(-32 // multiple) * multiple)
    side, near = core + 2 * (reach + far), slice(far, far + core + 2 * reach)
    noise_1CTT = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    blacked_1CTT = torch.zeros_like(noise_1CTT)
    blacked_1CTT[..., near, near] = noise_1CTT[..., near, near]
    middle = slice(network.scale * (far + reach), network.scale * (far + reach + core))
    one, other = (network(image)[..., middle, middle].float() for image in (noise_1CTT, blacked_1CTT))
    return float((one - other).abs().max() * 255)

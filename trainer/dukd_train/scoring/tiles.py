"""Large images in tiles: as much memory as a tile takes, the answer of the whole image where the network allows it.

Every tile sees `overlap` pixels of its neighbours on each side, of which its answer is cut away again. Where the
overlap covers what the network looks at (its receptive field), nothing else differs: tiles end with the image, and
begin at multiples of the network's window, so that padding and windows lie as they do in the whole image. Where it is
asked about flipped tiles, they end at such multiples, too, counted from the image's end.

Legend of tensor names: N images, C=3, H and W the LR image's sides, T a tile's side.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from dukd_cache.system.errors import ImageError, SettingError
from dukd_cache.system.memory import ran_out
from dukd_train.scoring.super_resolver import SuperResolver, device_of

Tile = int | Literal["auto"]
"""Side of a tile in LR pixels; 0: the whole image; auto: `AUTO_SIDE`, less where memory runs out."""

AUTO_SIDE = 512
"""The whole of an image of at most so many pixels squared; else tiles of this side to begin with."""

_SMALLEST_AUTO_SIDE = 64

Put = Callable[[slice, slice, Tensor], None]
"""Told rows and columns of the answer, in its own pixels, and the part of it [N,C,rows,columns] that belongs there."""


def tile_side(text: str) -> Tile:
    """What a user writes for one.

    Raises:
        SettingError: neither `auto` nor a number of pixels.
    """
    if text == "auto":
        return "auto"
    if not text.isdecimal():
        raise SettingError("expected auto, 0 (the whole image) or a number of pixels", f"`tile={text}`")
    return int(text)


class Span(NamedTuple):
    """Along one axis, in LR pixels: a tile sees `start` … `stop` and answers for `core_start` … `core_stop`."""

    start: int
    core_start: int
    core_stop: int
    stop: int


def spans(length: int, side: int, overlap: int, multiple: int, flipped: bool = False) -> list[Span]:
    """The tiles along an axis of `length` pixels: their cores cover it once.

    Each start is a multiple of `multiple`; where tiles are `flipped`, so is what remains behind each stop.

    Raises:
        SettingError: tiles of `side` pixels have no core within such an overlap.
    """
    before = -(-overlap // multiple) * multiple
    after = overlap + (length - overlap) % multiple if flipped else before
    step = (side - before - after) // multiple * multiple
    if step < 1:
        smallest = before + after + multiple
        raise SettingError(
            f"tiles of {side} pixels that overlap by {overlap} on each side: expected at least {smallest}"
        )
    return [
        Span(max(0, at - before), at, min(at + step, length), min(at + step + after, length))
        for at in range(0, length, step)
    ]


@dataclass(frozen=True)
class Tiled:
    """A network that answers tile by tile.

    Raises:
        SettingError: the tiles are too small for their overlap.
    """

    network: SuperResolver
    side: Tile
    overlap: int
    """LR pixels; in tiles that became small for want of memory, at most a quarter of their side."""
    multiple: int = 1
    """Side of the network's windows in LR pixels: `Network.window`."""
    flipped: bool = False
    """Whether the network flips what it is asked about: see `SelfEnsemble`."""

    def __post_init__(self) -> None:
        if self.side != "auto" and self.side:
            longest_overlap = self.overlap + self.multiple - 1
            spans(longest_overlap, self.side, self.overlap, self.multiple, self.flipped)

    @property
    def scale(self) -> int:
        return self.network.scale

    def __call__(self, image_NCHW: Tensor) -> Tensor:
        """[N,C,H,W] in [0,1] → [N,C,scale·H,scale·W], on the CPU.

        Raises:
            ImageError: memory runs out.
        """
        count, channels, height, width = image_NCHW.shape
        answer_NCHW = torch.empty(count, channels, self.scale * height, self.scale * width)

        def put(rows: slice, columns: slice, part: Tensor) -> None:
            answer_NCHW[..., rows, columns] = part

        self.fill(image_NCHW, put)
        return answer_NCHW

    def fill(self, image_NCHW: Tensor, put: Put) -> None:
        """The answer to an image, part by part, to `put` wherever it belongs: in any order, more than once if need be.

        Args:
            image_NCHW: in [0,1]; or uint8, of which each tile becomes that, where the network's parameters are.

        Raises:
            ImageError: memory runs out.
        """
        height, width = image_NCHW.shape[-2:]
        whole = max(height, width)
        if self.side != "auto":
            side = min(self.side, whole) if self.side else whole
        else:
            side = whole if height * width <= AUTO_SIDE**2 else min(AUTO_SIDE, whole)
        while not self._attempt(image_NCHW, side, put):
            if self.side != "auto" or side <= _SMALLEST_AUTO_SIDE:
                raise ImageError(f"out of memory with tiles of {side}×{side} pixels: choose a smaller tile, or auto")
            side = max(side // 2, _SMALLEST_AUTO_SIDE)

    def _attempt(self, image_NCHW: Tensor, side: int, put: Put) -> bool:
        """Whether memory was enough; else what was computed is free again."""
        try:
            self._answer(image_NCHW, side, put)
            return True
        except (MemoryError, RuntimeError) as error:
            if not ran_out(error):
                raise
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return False

    def _answer(self, image_NCHW: Tensor, side: int, put: Put) -> None:
        s = self.scale
        height, width = image_NCHW.shape[-2:]
        for down, across in self._tiles(height, width, side):
            tile_NCTT = image_NCHW[..., down.start : down.stop, across.start : across.stop]
            if tile_NCTT.dtype == torch.uint8:
                tile_NCTT = tile_NCTT.to(device_of(self.network)).float() / 255.0
            put(
                slice(s * down.core_start, s * down.core_stop),
                slice(s * across.core_start, s * across.core_stop),
                self.network(tile_NCTT)[
                    ...,
                    s * (down.core_start - down.start) : s * (down.core_stop - down.start),
                    s * (across.core_start - across.start) : s * (across.core_stop - across.start),
                ],
            )

    def _tiles(self, height: int, width: int, side: int) -> Iterator[tuple[Span, Span]]:
        if side >= max(height, width):
            yield Span(0, 0, height, height), Span(0, 0, width, width)
            return
        overlap = min(self.overlap, side // 4) if self.side == "auto" else self.overlap
        across = spans(width, side, overlap, self.multiple, self.flipped)
        for down in spans(height, side, overlap, self.multiple, self.flipped):
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

"""A network on whole images of 8 bits: where and how precisely it computes, in tiles or at once, eight times or once.

Legend of tensor names: N images (here always 1), C=3, H and W the LR image's sides, q an output side.
"""

from dataclasses import dataclass
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from dukd_cache.networks import Network, finite, refuse_unless_finite
from dukd_cache.networks.devices import autocast, check_precision
from dukd_cache.settings.choices import Precision
from dukd_cache.system.arrays import U8
from dukd_cache.system.errors import ImageError, SettingError, unknown_name
from dukd_cache.system.memory import obtainable_memory
from dukd_train.scoring.self_ensemble import SelfEnsemble
from dukd_train.scoring.super_resolver import SuperResolver, device_of
from dukd_train.scoring.tiles import AUTO_SIDE, Tile, Tiled, seen_beyond

TILE_OVERLAP = 32
"""LR pixels: the receptive field of an EDSR of 14 blocks."""

_BYTES = 7
"""Of main memory for a pixel of an answer: 3 of its levels, 4 of the picture that Pillow makes of them."""

_VISIBLE = 0.5
"""Levels of 255: less is lost in rounding."""


@dataclass(frozen=True)
class Inference:
    """How a network is asked: by default on the whole image, once, in float32.

    Raises:
        SettingError: a tile or a precision that there is not.
    """

    tile: Tile = 0
    """Side of a tile in LR pixels; 0: the whole image; auto: as large as memory allows."""
    tile_overlap: int = TILE_OVERLAP
    """LR pixels that a tile sees of its neighbours on each side."""
    self_ensemble: bool = False
    """The mean over the eight flips and turns of the image."""
    precision: Precision = "fp32"

    def __post_init__(self) -> None:
        if self.tile != "auto" and not isinstance(self.tile, int):
            raise SettingError(f"tile {self.tile!r}: expected auto, 0 (the whole image) or a number of pixels")
        if self.precision not in get_args(Precision):
            raise SettingError(unknown_name("precision", self.precision, get_args(Precision)))

    def facts(self) -> dict[str, int | str | bool]:
        """What makes a difference to scores, JSON-able: the overlap only where there are tiles."""
        tiles = {"tile": self.tile} | ({"tile_overlap": self.tile_overlap} if self.tile else {})
        return {**tiles, "self_ensemble": self.self_ensemble, "precision": self.precision}

    def __str__(self) -> str:
        """`whole images`; `tiles of 48 pixels that overlap by 8, self-ensemble, bf16`."""
        tiles = f"tiles of {self.tile} pixels that overlap by {self.tile_overlap}" if self.tile else "whole images"
        more = ["self-ensemble"] * self.self_ensemble + [self.precision] * (self.precision != "fp32")
        return ", ".join([tiles, *more])


WHOLE = Inference()
"""What scores are defined by."""


@dataclass(frozen=True)
class _Placed:
    """A network for images from any device; the same answer every time."""

    network: Network
    precision: Precision

    @property
    def scale(self) -> int:
        return self.network.scale

    def __call__(self, image_NCHW: Tensor) -> Tensor:
        device = device_of(self.network)
        deterministic = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
        with autocast(device, self.precision), deterministic:
            answer_NCHW = self.network.unclamped(image_NCHW.to(device)).float()
        refuse_unless_finite(finite(answer_NCHW).tolist(), self.network.architecture, self.precision)
        return answer_NCHW.clamp(0, 1)


def prepared(network: Network, how: Inference) -> SuperResolver:
    """`network`, where its parameters are, asked as `how` says; takes images from any device.

    Raises:
        SettingError: a precision that the device or the network does not have, or tiles too small for their overlap.
    """
    check_precision(device_of(network), how.precision)
    if how.precision == "fp16" and not network.descriptor.supports_half:
        raise SettingError(
            f"numbers in {network.architecture} may become too large", "precision fp16", cure="use bf16 or fp32"
        )
    placed = _Placed(network, how.precision)
    asked = SelfEnsemble(placed) if how.self_ensemble else placed
    return Tiled(asked, how.tile, how.tile_overlap, network.window, flipped=how.self_ensemble)


def seams(network: Network, how: Inference) -> str | None:
    """One line for a network that sees farther than its tiles overlap; None where no difference can show.

    Measured (see `tiles.seen_beyond`), as neither names nor settings tell what a network's weights make of far pixels.
    """
    levels = seen_beyond(_Placed(network, how.precision), how.tile_overlap, network.window)
    if levels <= _VISIBLE:
        return None
    return (
        f"{network.architecture} sees farther than the tiles' overlap of {how.tile_overlap} pixels (black instead of "
        f"noise there changed its answer by {levels:.1f} levels of 255): seams may show"
    )


def may_tile(how: Inference, width: int, height: int) -> bool:
    """Whether an LR image of this size is cut into tiles, memory permitting."""
    if how.tile == "auto":
        return width * height > AUTO_SIDE**2
    return 0 < how.tile < max(width, height)


def super_resolve(network: SuperResolver, lr: U8) -> U8:
    """The answer to one LR image u8 [H,W,3], clamped and rounded: u8 [scale·H,scale·W,3].

    Runs on the device of the network's parameters, without gradients. Of tiles no more than one is held in floating
    point: each becomes bytes at its position in the answer.

    Raises:
        ImageError: memory cannot hold it.
    """
    height, width = (network.scale * side for side in lr.shape[:2])
    _refuse_too_large(height, width)
    answer: U8 = np.empty((height, width, 3), np.uint8)

    def put(rows: slice, columns: slice, part_1Cqq: Tensor) -> None:
        levels_1Cqq = part_1Cqq.float().mul(255.0).clamp_(0.0, 255.0).round_()
        answer[rows, columns] = levels_1Cqq[0].permute(1, 2, 0).to(torch.uint8).cpu().numpy()

    tiled = network if isinstance(network, Tiled) else Tiled(network, 0, 0)
    with torch.no_grad():
        tiled.fill(torch.tensor(lr).permute(2, 0, 1)[None], put)
    return answer


def _refuse_too_large(height: int, width: int) -> None:
    """Else the system would kill the command, and what it still had to do with it."""
    needed, there = _BYTES * height * width, obtainable_memory()
    if needed > there:
        raise ImageError(
            f"its {width}×{height} pixels take {needed / 1e9:.1f} GB of memory, {there / 1e9:.1f} GB are free: "
            "cut it into parts"
        )

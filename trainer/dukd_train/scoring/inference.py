"""A network on whole images of 8 bits: where and how precisely it computes, in tiles or at once, eight times or once.

Legend of tensor names: N images (here always 1), C=3, H and W the LR image's sides, q an output side.
"""

import math
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor, nn

from dukd_cache.devices import autocast
from dukd_cache.errors import SettingError, unknown_name
from dukd_cache.manifest import Precision
from dukd_cache.networks import Network
from dukd_train.scoring.metrics import U8
from dukd_train.scoring.self_ensemble import SelfEnsemble
from dukd_train.scoring.super_resolver import SuperResolver
from dukd_train.scoring.tiles import AUTO_SIDE, Tile, Tiled, seen_beyond

TILE_OVERLAP = 32
"""LR pixels: the receptive field of an EDSR of 14 blocks."""

_VISIBLE = 0.5
"""Levels of 255: less is lost in rounding."""


@dataclass(frozen=True)
class Inference:
    """How a network is asked: by default on the whole image, once, in float32."""

    tile: Tile = 0
    """Side of a tile in LR pixels; 0: the whole image; auto: as large as memory allows."""
    tile_overlap: int = TILE_OVERLAP
    """LR pixels that a tile sees of its neighbours on each side."""
    self_ensemble: bool = False
    """The mean over the eight flips and turns of the image."""
    precision: Precision = "fp32"

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
            return self.network(image_NCHW.to(device)).float()


def prepared(network: Network, how: Inference) -> SuperResolver:
    """`network`, where its parameters are, asked as `how` says; takes images from any device.

    Raises:
        SettingError: a precision that the device or the network does not have, or tiles too small for their overlap.
    """
    autocast(device_of(network), how.precision)
    if how.precision == "fp16" and not network.descriptor.supports_half:
        raise SettingError(f"precision fp16: numbers in {network.architecture} may become too large; use bf16 or fp32")
    tiled = Tiled(_Placed(network, how.precision), how.tile, how.tile_overlap, window_of(network))
    return SelfEnsemble(tiled) if how.self_ensemble else tiled


def seams(network: Network, how: Inference) -> str | None:
    """One line for a network that sees farther than its tiles overlap; None where no difference can show.

    Measured (see `tiles.seen_beyond`), as neither names nor settings tell what a network's weights make of far pixels.
    """
    levels = seen_beyond(_Placed(network, how.precision), how.tile_overlap, window_of(network))
    if levels <= _VISIBLE:
        return None
    return (
        f"{network.architecture} sees farther than the tiles' overlap of {how.tile_overlap} pixels (black instead of "
        f"noise there changed its answer by {levels:.1f} levels of 255): seams may show"
    )


def precision_of(text: str) -> Precision:
    """What a user writes for one.

    Raises:
        SettingError: another word than fp32, bf16 and fp16.
    """
    known: dict[str, Precision] = {name: name for name in get_args(Precision)}
    if text not in known:
        raise SettingError(unknown_name("precision", text, known))
    return known[text]


def may_tile(how: Inference, width: int, height: int) -> bool:
    """Whether an LR image of this size is cut into tiles, memory permitting."""
    if how.tile == "auto":
        return width * height > AUTO_SIDE**2
    return 0 < how.tile < max(width, height)


def super_resolve(network: SuperResolver, lr: U8) -> U8:
    """The answer to one LR image u8 [H,W,3], clamped and rounded: u8 [scale·H,scale·W,3].

    Runs on the device of the network's parameters, without gradients.
    """
    lr_1CHW = torch.tensor(lr, device=device_of(network)).permute(2, 0, 1)[None].float() / 255.0
    with torch.no_grad():
        answer_1Cqq = network(lr_1CHW)
    levels_HWC = answer_1Cqq[0].permute(1, 2, 0).float().clamp(0.0, 1.0).mul(255.0).round()
    answer: U8 = levels_HWC.to(torch.uint8).cpu().numpy()
    return answer


def device_of(network: SuperResolver) -> torch.device:
    """Where a network's parameters are; the CPU for what has none, or takes images from anywhere."""
    module = network if isinstance(network, nn.Module) else getattr(network, "module", None)
    parameters = module.parameters() if isinstance(module, nn.Module) else iter(())
    return next((parameter.device for parameter in parameters), torch.device("cpu"))


def window_of(network: Network) -> int:
    """LR pixels after which a network's windows, and its padding of whole images to them, repeat."""
    sizes = [int(network.descriptor.size_requirements.multiple_of)]
    for name, value in network.settings.items():
        if "window_size" in name or "split_size" in name:  # SwinIR, HAT, DRCT, …; DAT, CRAFT: these pad by themselves
            sizes += [size for size in (value if isinstance(value, list) else [value]) if isinstance(size, int)]
    return math.lcm(*(size for size in sizes if size > 0))

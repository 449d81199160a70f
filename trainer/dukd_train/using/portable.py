"""An SR network as a plain module that other software can hold: padding, network, crop and clamp in one graph.

`Network.forward` decides about padding in Python, from numbers; a graph for all sizes needs arithmetic instead.

Shapes: N images, H×W input sides, s scale.
"""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from dukd_cache.networks import Network


class Portable(nn.Module):
    """[N,3,H,W] float32 in [0,1] to [N,3,sH,sW] in [0,1]: what calling `network` answers, for any N, H and W.

    In eval mode, on the CPU. Holds a copy of the network's module.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        required = network.descriptor.size_requirements
        self.network = settled(network)
        self.scale = network.scale
        self.multiple = int(required.multiple_of)
        """Both sides are padded to a multiple of it."""
        self.minimum = int(required.minimum)
        self.square = bool(required.square)
        self._answer = network.descriptor._call_fn  # some networks return more than the image
        self.eval()

    def forward(self, image_NCHW: Tensor) -> Tensor:
        height, width = image_NCHW.shape[-2:]
        padded_NCHW = self._padded(image_NCHW)
        answer_NCHW: Tensor = self._answer(self.network, padded_NCHW)
        return answer_NCHW[..., : self.scale * height, : self.scale * width].clamp(0, 1)

    def _padded(self, image_NCHW: Tensor) -> Tensor:
        """A copy, as some networks (RCAN) overwrite their input."""
        if self.multiple == 1 and not self.minimum and not self.square:
            return image_NCHW.clone()
        height, width = (self._wanted(side) for side in image_NCHW.shape[-2:])
        if self.square:
            height = width = _larger(height, width)
        return _mirrored(_mirrored(image_NCHW, 2, height), 3, width)

    def _wanted(self, side: int) -> int:
        """The side that the network takes for this one: as `SizeRequirements.get_padding`, without branches."""
        least = _larger(side, self.minimum) if self.minimum else side
        return (least + self.multiple - 1) // self.multiple * self.multiple


def _mirrored(image_NCHW: Tensor, axis: int, wanted: int) -> Tensor:
    """Padded at the end of `axis` to `wanted` pixels: mirrored as far as that goes, then the first pixel repeated."""
    last = image_NCHW.shape[axis] - 1
    indices = torch.arange(wanted)
    return image_NCHW.index_select(axis, (last - (indices - last).abs()).clamp(min=0))


def _larger(one: int, other: int) -> int:
    """`max`, in arithmetic that is recorded where the numbers are symbols or, while torch.jit traces, tensors."""
    return (one + other + abs(one - other)) // 2


def settled(network: Network) -> nn.Module:
    """A copy of the bare network that no longer computes weights from weights in each call (SPAN's convolutions)."""
    module = deepcopy(network.module).cpu().eval()
    part: Any
    for part in module.modules():
        if hasattr(part, "update_params") and hasattr(part, "eval_conv"):
            part.update_params()
            part.update_params = _nothing
    return module


def _nothing() -> None:
    """In place of what is done already."""

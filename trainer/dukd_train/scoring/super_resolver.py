"""What enlarges an image: a network, or one with something around it (tiles, a self-ensemble)."""

from typing import Protocol

import torch
from torch import Tensor, nn


class SuperResolver(Protocol):
    """A `dukd_cache.networks.loading.Network` is one; so is any function with a `scale`."""

    @property
    def scale(self) -> int: ...

    def __call__(self, image_NCHW: Tensor, /) -> Tensor:
        """RGB in [0,1], float32 [N,C,H,W] → [N,C,scale·H,scale·W]."""
        ...


def device_of(network: SuperResolver) -> torch.device:
    """Where a network's parameters are; the CPU for what has none, or takes images from anywhere."""
    module = network if isinstance(network, nn.Module) else getattr(network, "module", None)
    parameters = module.parameters() if isinstance(module, nn.Module) else iter(())
    return next((parameter.device for parameter in parameters), torch.device("cpu"))

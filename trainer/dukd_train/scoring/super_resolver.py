"""What enlarges an image: a network, or one with something around it (tiles, a self-ensemble)."""

from typing import Protocol

from torch import Tensor


class SuperResolver(Protocol):
    """A `dukd_cache.networks.Network` is one; so is any function with a `scale`."""

    @property
    def scale(self) -> int: ...

    def __call__(self, image_NCHW: Tensor, /) -> Tensor:
        """RGB in [0,1], float32 [N,C,H,W] → [N,C,scale·H,scale·W]."""
        ...

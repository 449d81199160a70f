"""A network on one whole image of 8 bits.

Legend of tensor names: N images (here always 1), C=3, H and W the LR image's sides, q an output side.
"""

from typing import Protocol

import torch
from torch import Tensor, nn

from dukd_train.metrics import U8


class SuperResolver(Protocol):
    """What is evaluated. A `dukd_cache.networks.Network` is one; so is any function with a `scale`."""

    @property
    def scale(self) -> int: ...

    def __call__(self, image_NCHW: Tensor, /) -> Tensor:
        """RGB in [0,1], float32 [N,C,H,W] → [N,C,scale·H,scale·W]."""
        ...


def super_resolve(network: SuperResolver, lr: U8) -> U8:
    """The network's answer to one LR image u8 [H,W,3], clamped and rounded: u8 [scale·H,scale·W,3].

    Runs on the device of the network's parameters, without gradients.
    """
    lr_1CHW = torch.tensor(lr, device=_device_of(network)).permute(2, 0, 1)[None].float() / 255.0
    with torch.no_grad():
        answer_1Cqq = network(lr_1CHW)
    levels_HWC = answer_1Cqq[0].permute(1, 2, 0).float().clamp(0.0, 1.0).mul(255.0).round()
    answer: U8 = levels_HWC.to(torch.uint8).cpu().numpy()
    return answer


def _device_of(network: SuperResolver) -> torch.device:
    module = network if isinstance(network, nn.Module) else getattr(network, "module", None)
    parameters = module.parameters() if isinstance(module, nn.Module) else iter(())
    return next((parameter.device for parameter in parameters), torch.device("cpu"))

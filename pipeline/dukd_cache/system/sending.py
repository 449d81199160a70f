"""Tensors on their way to a GPU, which is never waited for."""

import torch
from torch import Tensor


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """`tensor` on `device`, without waiting for what it computes before. It may be dropped at once.

    Its copy lies in pinned memory until the GPU has read it, also when that is much later. Of other memory this is not
    promised: CUDA *may* copy it before it returns ("API synchronization behavior", CUDA's reference).
    """
    if device.type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)

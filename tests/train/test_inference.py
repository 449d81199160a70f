"""A network on one image of 8 bits."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dukd_train.inference import super_resolve


@dataclass(frozen=True)
class Nearest:
    """Repeats pixels, after a change of brightness."""

    scale: int
    gain: float = 1.0

    def __call__(self, image_NCHW: Tensor) -> Tensor:
        enlarged = image_NCHW.repeat_interleave(self.scale, dim=2).repeat_interleave(self.scale, dim=3)
        return enlarged * self.gain


def test_answers_are_clamped_and_rounded() -> None:
    lr = np.array([[[0, 1, 2], [100, 101, 200]]], np.uint8)
    assert super_resolve(Nearest(2), lr).tolist() == np.kron(lr, np.ones((2, 2, 1), np.uint8)).tolist()
    brighter = super_resolve(Nearest(1, gain=1.3), lr)
    assert brighter.dtype == np.uint8
    assert brighter.tolist() == [[[0, 1, 3], [130, 131, 255]]]
    assert super_resolve(Nearest(1, gain=-1.0), lr).max() == 0


class Probe(nn.Module):
    """Remembers where it was asked, and whether it could have been trained on that."""

    scale = 1

    def __init__(self, device: str) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, device=device))
        self.seen: list[tuple[str, bool]] = []

    def forward(self, image_NCHW: Tensor) -> Tensor:
        self.seen.append((image_NCHW.device.type, (image_NCHW * self.weight).requires_grad))
        return torch.zeros(image_NCHW.shape)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_works_without_gradients_where_the_parameters_are(device: str) -> None:
    network = Probe(device)
    super_resolve(network, np.zeros((2, 2, 3), np.uint8))
    assert network.seen == [(device, False)]


def test_the_device_of_a_wrapped_module_is_found() -> None:
    @dataclass(frozen=True)
    class Wrapped:
        module: Probe
        scale: int = 1

        def __call__(self, image_NCHW: Tensor) -> Tensor:
            answer: Tensor = self.module(image_NCHW)
            return answer

    network = Wrapped(Probe("meta"))
    super_resolve(network, np.zeros((2, 2, 3), np.uint8))
    assert network.module.seen == [("meta", False)]

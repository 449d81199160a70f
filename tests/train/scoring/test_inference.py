"""A network on one image of 8 bits."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from tests.train.nearest import Nearest
from torch import Tensor, nn

from dukd_cache import networks
from dukd_cache.system.errors import SettingError
from dukd_train.scoring.inference import WHOLE, Inference, may_tile, prepared, seams, super_resolve
from dukd_train.scoring.self_ensemble import SelfEnsemble
from dukd_train.scoring.super_resolver import SuperResolver


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


@pytest.fixture(scope="module")
def edsr() -> networks.Network:
    torch.manual_seed(0)
    return networks.build("EDSR", 2, {"channels": 6, "blocks": 1})


def levels(network: SuperResolver, seed: int = 0) -> np.ndarray:
    image = np.random.default_rng(seed).integers(0, 256, (50, 67, 3), dtype=np.uint8)
    return super_resolve(network, image).astype(int)


def test_tiles_and_ensembles_can_be_had_together(edsr: networks.Network) -> None:
    whole = levels(edsr)
    assert np.array_equal(levels(prepared(edsr, WHOLE)), whole)
    assert np.abs(levels(prepared(edsr, Inference(tile=32, tile_overlap=6))) - whole).max() <= 1
    both = levels(prepared(edsr, Inference(tile=32, tile_overlap=6, self_ensemble=True)))
    assert np.abs(both - levels(SelfEnsemble(edsr))).max() <= 1
    assert (both != whole).any()


def test_lower_precision_is_near_but_not_equal(edsr: networks.Network) -> None:
    difference = np.abs(levels(prepared(edsr, Inference(precision="bf16"))) - levels(edsr))
    assert 0 < difference.max() < 8
    with pytest.raises(SettingError, match="`precision=fp16`: a CPU computes in fp32 or bf16"):
        prepared(edsr, Inference(precision="fp16"))


def test_farsighted_networks_are_named(edsr: networks.Network) -> None:
    assert seams(edsr, Inference(tile=64, tile_overlap=6)) is None
    line = seams(edsr, Inference(tile=64, tile_overlap=1))
    assert line is not None
    assert line.startswith("EDSR sees farther than the tiles' overlap of 1 pixels")


def test_which_images_may_be_cut() -> None:
    assert not may_tile(Inference(tile=0), 9999, 9999)
    assert [may_tile(Inference(tile=64), *size) for size in ((64, 64), (65, 10), (10, 65))] == [False, True, True]
    assert [may_tile(Inference(tile="auto"), side, side) for side in (512, 513)] == [False, True]

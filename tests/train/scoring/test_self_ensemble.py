"""The mean over the eight symmetries of the square."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from dukd_cache import networks
from dukd_cache.networks.self_ensemble import group
from dukd_train.scoring.self_ensemble import SYMMETRIES, SelfEnsemble
from dukd_train.scoring.tiles import Tiled


@dataclass(frozen=True)
class Ramp:
    """Adds to each pixel its column's number: knows left from right, so its eight answers differ."""

    scale: int = 1

    def __call__(self, image_NCHW: Tensor) -> Tensor:
        return image_NCHW + torch.arange(image_NCHW.shape[-1])


def by_hand(network: networks.Network, image_NCHW: Tensor) -> Tensor:
    """With `rot90` and one flip, as the EDSR+ of others is written."""
    answers = []
    for turns in range(4):
        for mirrored in (False, True):
            turned = torch.rot90(image_NCHW, turns, (2, 3))
            answer = network(turned.flip(3) if mirrored else turned)
            answers.append(torch.rot90(answer.flip(3) if mirrored else answer, -turns, (2, 3)))
    return torch.stack(answers).mean(dim=0)


def test_there_are_eight() -> None:
    assert len(set(group(SYMMETRIES))) == 8
    assert not any(element.invert or element.channels for element in group(SYMMETRIES))


@pytest.mark.parametrize(("height", "width"), [(9, 9), (7, 12), (20, 5)])
def test_equals_the_mean_of_turned_answers(height: int, width: int) -> None:
    torch.manual_seed(0)
    network = networks.build("EDSR", 3, {"channels": 6, "blocks": 1})
    image = torch.rand(2, 3, height, width)
    found = SelfEnsemble(network)(image)
    torch.testing.assert_close(found, by_hand(network, image), atol=1e-5, rtol=0)
    assert not torch.allclose(found, network(image), atol=1e-4)
    torch.testing.assert_close(SelfEnsemble(Tiled(network, 16, 6))(image), found, atol=1e-5, rtol=0)


def test_what_is_known_of_left_and_right_cancels() -> None:
    found = SelfEnsemble(Ramp())(torch.zeros(1, 1, 4, 6))
    assert torch.equal(found, torch.full((1, 1, 4, 6), (2.5 + 1.5) / 2))


def test_an_ensemble_turns_with_its_image() -> None:
    torch.manual_seed(0)
    ensemble = SelfEnsemble(networks.build("EDSR", 2, {"channels": 6, "blocks": 1}))
    image = torch.rand(1, 3, 8, 11)
    turned = ensemble(torch.rot90(image, 1, (2, 3)))
    torch.testing.assert_close(turned, torch.rot90(ensemble(image), 1, (2, 3)), atol=1e-6, rtol=0)

"""The mean over a group of symmetries: what it is, and that it turns exactly as its image does."""

import pytest
import torch
from torch import Tensor

from dukd_cache import networks
from dukd_cache.networks.self_ensemble import group, mean_answer
from dukd_cache.pictures import symmetries

SIZES = (1, 8, 16)


@pytest.fixture(scope="module")
def network() -> networks.Network:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return networks.build("EDSR", 2, {"channels": 6, "blocks": 1})


def pixels(height: int = 11, width: int = 11) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(256, (3, 3, height, width), generator=generator, dtype=torch.uint8)


def asked(network: networks.Network, image_NCHW: Tensor) -> Tensor:
    return network(image_NCHW.float() / 255)


def by_hand(network: networks.Network, image_NCHW: Tensor, size: int) -> Tensor:
    """With `rot90`, one flip and one subtraction, in float64."""
    answers = []
    for inverted in (False, True)[: max(1, size // 8)]:
        image = 255 - image_NCHW if inverted else image_NCHW
        for turns in range(4):
            for mirrored in (False, True):
                turned = torch.rot90(image, turns, (2, 3))
                answer = asked(network, turned.flip(3) if mirrored else turned).double()
                back = torch.rot90(answer.flip(3) if mirrored else answer, -turns, (2, 3))
                answers.append(1 - back if inverted else back)
    return torch.stack(answers).mean(dim=0)


def test_groups() -> None:
    assert group(1) == (symmetries.Element(),)
    assert [len(set(group(size))) for size in SIZES] == [*SIZES]
    assert not any(element.invert or element.channels for element in group(8))
    assert sum(element.invert for element in group(16)) == 8


@pytest.mark.parametrize("size", [8, 16])
@pytest.mark.parametrize(("height", "width"), [(9, 9), (7, 12)])
def test_it_is_the_mean_of_answers_turned_back(network: networks.Network, size: int, height: int, width: int) -> None:
    image = pixels(height, width)
    found = mean_answer(size, lambda each: asked(network, each), image)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), by_hand(network, image, size), atol=3e-7, rtol=0)
    assert not torch.allclose(found, asked(network, image), atol=1e-3)


@pytest.mark.parametrize("size", [8, 16])
def test_a_turned_image_gets_the_turned_mean_bit_for_bit(network: networks.Network, size: int) -> None:
    def mean(image_NCHW: Tensor) -> Tensor:
        return mean_answer(size, lambda each: asked(network, each), image_NCHW)

    image = pixels()
    plain = mean(image)
    for element in group(size):
        how = symmetries.repeated(element, len(image))
        found, expected = mean(symmetries.apply(how, image)), symmetries.apply(how, plain)
        if element.invert:  # 1 − x of what was rounded to float32, against what is rounded after it
            torch.testing.assert_close(found, expected, atol=2**-23, rtol=0)
        else:
            assert torch.equal(found, expected)

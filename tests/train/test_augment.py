"""The group of augmentations: all 16 elements undone, told apart, and exchanged with the student."""

from itertools import permutations, product

import numpy as np
import pytest
import torch
from torch import Tensor

from dukd_train import augment
from dukd_train.augment import Augmentation
from dukd_train.config import Chances

ELEMENTS = list(product([False, True], repeat=4))
"""(hflip, vflip, transpose, invert)"""


def everything() -> Augmentation:
    """All 16 elements, one a record."""
    return Augmentation(*torch.tensor(ELEMENTS).unbind(1))


def images(dtype: torch.dtype, count: int = 16, side: int = 5) -> Tensor:
    """The same random picture `count` times."""
    levels = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (1, 3, side, side), np.uint8))
    picture = levels if dtype == torch.uint8 else levels.to(dtype) / 255
    return picture.repeat(count, 1, 1, 1)


def in_numpy(element: tuple[bool, ...], image_CHH: np.ndarray) -> np.ndarray:
    """F(x) of one picture in 0…255, step by step as the module's text has it."""
    hflip, vflip, transpose, invert = element
    image = image_CHH[:, :, ::-1] if hflip else image_CHH
    image = image[:, ::-1] if vflip else image
    image = image.transpose(0, 2, 1) if transpose else image
    return 255 - image if invert else image


def test_each_record_takes_its_own_steps() -> None:
    x = images(torch.uint8)
    expected = np.stack([in_numpy(element, x[0].numpy()) for element in ELEMENTS])
    assert np.array_equal(augment.apply(everything(), x).numpy(), expected)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_undo_undoes_all_16(dtype: torch.dtype) -> None:
    x = images(dtype)
    there, back = everything(), augment.undo(everything(), augment.apply(everything(), x))
    assert back.dtype == dtype
    if dtype == torch.uint8:
        assert torch.equal(back, x)
        assert torch.equal(augment.apply(there, augment.undo(there, x)), x)
    else:
        torch.testing.assert_close(back, x, rtol=0, atol=1e-6)
        torch.testing.assert_close(augment.apply(there, augment.undo(there, x)), x, rtol=0, atol=1e-6)


def test_all_16_differ() -> None:
    changed = augment.apply(everything(), images(torch.uint8))
    assert len({picture.numpy().tobytes() for picture in changed}) == 16


def test_only_the_reverse_order_undoes() -> None:
    """Of all orders of undoing, those that put the transpose before both flips are right; the others fail."""
    how, x = everything(), images(torch.uint8)
    changed = augment.apply(how, x)

    def only(step: str) -> Augmentation:
        nothing = torch.zeros(16, dtype=torch.bool)
        steps = dict.fromkeys(("hflip", "vflip", "transpose", "invert"), nothing)
        return Augmentation(**(steps | {step: getattr(how, step)}))

    for order in permutations(("hflip", "vflip", "transpose", "invert")):
        back = changed
        for step in order:
            back = augment.apply(only(step), back)
        wrong = {ELEMENTS[i] for i in (back != x).flatten(1).any(1).nonzero().flatten()}
        if order.index("transpose") < min(order.index("hflip"), order.index("vflip")):
            assert not wrong
        else:
            assert wrong
            assert all(transpose and (hflip or vflip) for hflip, vflip, transpose, _ in wrong)


def test_comparing_on_either_side_is_the_same() -> None:
    """|F⁻¹(S(F(x))) − T|₁ = |S(F(x)) − F(T)|₁ for each F, and for an S that is no symmetry's friend."""
    torch.manual_seed(0)
    enlarge = torch.nn.Sequential(torch.nn.Conv2d(3, 12, 3, padding=1), torch.nn.PixelShuffle(2)).double()
    how, x = everything(), images(torch.float64)
    teacher = torch.rand(1, 3, 10, 10, dtype=torch.float64).repeat(16, 1, 1, 1)
    with torch.no_grad():
        answers = enlarge(augment.apply(how, x))
    on_students_side = (augment.undo(how, answers) - teacher).abs().mean((1, 2, 3))
    on_teachers_side = (answers - augment.apply(how, teacher)).abs().mean((1, 2, 3))
    torch.testing.assert_close(on_students_side, on_teachers_side, rtol=1e-12, atol=0)
    assert len(set(on_teachers_side.tolist())) == 16  # the claim is not true for want of differences


def test_8_bits_and_float_are_mapped_alike() -> None:
    how = everything()
    from_levels = augment.apply(how, images(torch.uint8)).float() / 255
    torch.testing.assert_close(augment.apply(how, images(torch.float32)), from_levels, rtol=0, atol=1e-6)


def test_draws_come_as_often_as_asked() -> None:
    count = 4000
    chances = Chances(hflip=0.1, vflip=0.35, transpose=0.6, invert=0.85)
    how = augment.draw(count, chances, np.random.default_rng(0))
    steps = torch.stack([how.hflip, how.vflip, how.transpose, how.invert]).double()
    wanted = torch.tensor([0.1, 0.35, 0.6, 0.85], dtype=torch.float64)
    assert ((steps.mean(1) - wanted).abs() < 4 * (wanted * (1 - wanted) / count).sqrt()).all()
    correlation = torch.corrcoef(steps) - torch.eye(4)
    assert correlation.abs().max() < 4 / count**0.5  # drawn apart from each other


@pytest.mark.parametrize("chance", [0.0, 1.0])
def test_never_and_always(chance: float) -> None:
    chances = Chances(hflip=chance, vflip=chance, transpose=chance, invert=chance)
    how = augment.draw(1000, chances, np.random.default_rng(0))
    for step in (how.hflip, how.vflip, how.transpose, how.invert):
        assert step.double().mean() == chance

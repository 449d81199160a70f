"""The group of augmentations: all 16 elements undone, told apart, and exchanged with the student."""

from itertools import permutations, product

import numpy as np
import pytest
import torch
from torch import Tensor

from dukd_cache import symmetries
from dukd_cache.symmetries import Augmentation, elements, repeated

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
    assert np.array_equal(symmetries.apply(everything(), x).numpy(), expected)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_undo_undoes_all_16(dtype: torch.dtype) -> None:
    x = images(dtype)
    there, back = everything(), symmetries.undo(everything(), symmetries.apply(everything(), x))
    assert back.dtype == dtype
    if dtype == torch.uint8:
        assert torch.equal(back, x)
        assert torch.equal(symmetries.apply(there, symmetries.undo(there, x)), x)
    else:
        torch.testing.assert_close(back, x, rtol=0, atol=1e-6)
        torch.testing.assert_close(symmetries.apply(there, symmetries.undo(there, x)), x, rtol=0, atol=1e-6)


def test_all_16_differ() -> None:
    changed = symmetries.apply(everything(), images(torch.uint8))
    assert len({picture.numpy().tobytes() for picture in changed}) == 16


def test_only_the_reverse_order_undoes() -> None:
    """Of all orders of undoing, those that put the transpose before both flips are right; the others fail."""
    how, x = everything(), images(torch.uint8)
    changed = symmetries.apply(how, x)

    def only(step: str) -> Augmentation:
        nothing = torch.zeros(16, dtype=torch.bool)
        steps = dict.fromkeys(symmetries.STEPS, nothing)
        return Augmentation(**(steps | {step: getattr(how, step)}))

    for order in permutations(("hflip", "vflip", "transpose", "invert")):
        back = changed
        for step in order:
            back = symmetries.apply(only(step), back)
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
        answers = enlarge(symmetries.apply(how, x))
    on_students_side = (symmetries.undo(how, answers) - teacher).abs().mean((1, 2, 3))
    on_teachers_side = (answers - symmetries.apply(how, teacher)).abs().mean((1, 2, 3))
    torch.testing.assert_close(on_students_side, on_teachers_side, rtol=1e-12, atol=0)
    assert len(set(on_teachers_side.tolist())) == 16  # the claim is not true for want of differences


def test_8_bits_and_float_are_mapped_alike() -> None:
    how = everything()
    from_levels = symmetries.apply(how, images(torch.uint8)).float() / 255
    torch.testing.assert_close(symmetries.apply(how, images(torch.float32)), from_levels, rtol=0, atol=1e-6)


def test_elements_are_named_by_their_steps() -> None:
    named = elements()
    assert set(named.values()) == set(ELEMENTS)
    assert list(named)[:4] == ["identity", "hflip", "vflip", "hflip+vflip"]
    assert named["hflip+transpose+invert"] == (True, False, True, True)
    assert [steps[3] for steps in named.values()] == [False] * 8 + [True] * 8


def test_one_element_for_all_records() -> None:
    x = images(torch.uint8, count=3)
    for element in elements().values():
        changed = symmetries.apply(repeated(element, 3), x)
        assert np.array_equal(changed[2].numpy(), in_numpy(element, x[2].numpy()))
        assert torch.equal(symmetries.undo(repeated(element, 3), changed), x)

"""The group of augmentations: all 96 elements undone, told apart, and exchanged with the student."""

from itertools import permutations, product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dukd_cache.pictures import symmetries
from dukd_cache.pictures.symmetries import CHANNEL_ORDERS, Augmentation, Element, channel_orders, elements, repeated

ELEMENTS = [
    Element(*steps, channels)
    for *steps, channels in product([False, True], [False, True], [False, True], [False, True], range(6))
]


def everything() -> Augmentation:
    """All 96 elements, one a record."""
    *steps, channels = zip(*ELEMENTS, strict=True)
    return Augmentation(*map(torch.tensor, steps), torch.tensor(channels))


def images(dtype: torch.dtype, count: int = 96, side: int = 5) -> Tensor:
    """The same random picture `count` times."""
    levels = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (1, 3, side, side), np.uint8))
    picture = levels if dtype == torch.uint8 else levels.to(dtype) / 255
    return picture.repeat(count, 1, 1, 1)


def in_numpy(element: Element, image_CHH: np.ndarray) -> np.ndarray:
    """F(x) of one picture in 0…255, step by step as the module's text has it."""
    hflip, vflip, transpose, invert, channels = element
    image = image_CHH[:, :, ::-1] if hflip else image_CHH
    image = image[:, ::-1] if vflip else image
    image = image.transpose(0, 2, 1) if transpose else image
    image = 255 - image if invert else image
    return image[list(CHANNEL_ORDERS[channels])]


def test_each_record_takes_its_own_steps() -> None:
    x = images(torch.uint8)
    expected = np.stack([in_numpy(element, x[0].numpy()) for element in ELEMENTS])
    assert np.array_equal(symmetries.apply(everything(), x).numpy(), expected)


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("back", [False, True])
def test_a_gpu_and_a_cpu_change_records_alike(memory: torch.memory_format, dtype: torch.dtype, back: bool) -> None:
    """In different ways, of which the GPU's works here too."""
    x = images(dtype).contiguous(memory_format=memory)
    kept = x.clone()
    expected = (symmetries.undo if back else symmetries.apply)(everything(), x)
    found = symmetries._in_one_go(everything(), x, back)
    assert torch.equal(found, expected)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(x, kept)


@given(
    st.lists(st.tuples(*[st.booleans()] * 4, st.integers(0, 5)), min_size=1, max_size=9),
    st.integers(1, 6),
    st.sampled_from([torch.uint8, torch.float16, torch.float32]),
)
def test_what_is_applied_can_be_undone(
    steps: list[tuple[bool, bool, bool, bool, int]], side: int, dtype: torch.dtype
) -> None:
    *taken, channels = zip(*steps, strict=True)
    how = Augmentation(*map(torch.tensor, taken), torch.tensor(channels))
    levels = torch.from_numpy(np.random.default_rng(side).integers(0, 256, (len(steps), 3, side, side), np.uint8))
    x = levels if dtype == torch.uint8 else (levels // 4 / 64).to(dtype)  # 1 − x of these is exact
    for there, back in ((symmetries.apply, symmetries.undo), (symmetries.undo, symmetries.apply)):
        assert torch.equal(back(how, there(how, x)), x)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_undo_undoes_all_96(dtype: torch.dtype) -> None:
    x = images(dtype)
    there, back = everything(), symmetries.undo(everything(), symmetries.apply(everything(), x))
    assert back.dtype == dtype
    if dtype == torch.uint8:
        assert torch.equal(back, x)
        assert torch.equal(symmetries.apply(there, symmetries.undo(there, x)), x)
    else:
        torch.testing.assert_close(back, x, rtol=0, atol=1e-6)
        torch.testing.assert_close(symmetries.apply(there, symmetries.undo(there, x)), x, rtol=0, atol=1e-6)


def test_all_96_differ() -> None:
    changed = symmetries.apply(everything(), images(torch.uint8))
    assert len({picture.numpy().tobytes() for picture in changed}) == 96


def test_only_the_reverse_order_undoes() -> None:
    """Of all orders of undoing, those that put the transpose before both flips are right; the others fail."""
    how, x = everything(), images(torch.uint8)
    changed = symmetries.apply(how, x)

    def only(step: str) -> Augmentation:
        nothing = vars(repeated(Element(), 96))
        return Augmentation(**(nothing | {step: getattr(how, step)}))

    for order in permutations(symmetries.STEPS):
        back = symmetries.undo(Augmentation(**(vars(repeated(Element(), 96)) | {"channels": how.channels})), changed)
        for step in order:
            back = symmetries.apply(only(step), back)
        wrong = {ELEMENTS[i] for i in (back != x).flatten(1).any(1).nonzero().flatten()}
        if order.index("transpose") < min(order.index("hflip"), order.index("vflip")):
            assert not wrong
        else:
            assert wrong
            assert all(transpose and (hflip or vflip) for hflip, vflip, transpose, *_ in wrong)


def test_comparing_on_either_side_is_the_same() -> None:
    """|F⁻¹(S(F(x))) − T|₁ = |S(F(x)) − F(T)|₁ for each F, and for an S that is no symmetry's friend."""
    torch.manual_seed(0)
    enlarge = torch.nn.Sequential(torch.nn.Conv2d(3, 12, 3, padding=1), torch.nn.PixelShuffle(2)).double()
    how, x = everything(), images(torch.float64)
    teacher = torch.rand(1, 3, 10, 10, dtype=torch.float64).repeat(96, 1, 1, 1)
    with torch.no_grad():
        answers = enlarge(symmetries.apply(how, x))
    on_students_side = (symmetries.undo(how, answers) - teacher).abs().mean((1, 2, 3))
    on_teachers_side = (answers - symmetries.apply(how, teacher)).abs().mean((1, 2, 3))
    torch.testing.assert_close(on_students_side, on_teachers_side, rtol=1e-12, atol=0)
    assert len(set(on_teachers_side.tolist())) == 96  # the claim is not true for want of differences


def test_8_bits_and_float_are_mapped_alike() -> None:
    how = everything()
    from_levels = symmetries.apply(how, images(torch.uint8)).float() / 255
    torch.testing.assert_close(symmetries.apply(how, images(torch.float32)), from_levels, rtol=0, atol=1e-6)


def test_elements_are_named_by_their_steps() -> None:
    named = elements()
    assert set(named.values()) == {element for element in ELEMENTS if element.channels == 0}
    assert list(named)[:4] == ["identity", "hflip", "vflip", "hflip+vflip"]
    assert named["hflip+transpose+invert"] == (True, False, True, True, 0)
    assert [element.invert for element in named.values()] == [False] * 8 + [True] * 8


def test_orders_of_channels_are_named_by_what_becomes_red_green_and_blue() -> None:
    assert list(channel_orders()) == [f"channels {order}" for order in ("RBG", "GRB", "GBR", "BRG", "BGR")]
    colours = torch.tensor([10, 20, 30], dtype=torch.uint8)[None, :, None, None]
    for name, element in channel_orders().items():
        found = symmetries.apply(repeated(element, 1), colours).flatten().tolist()
        assert found == [{"R": 10, "G": 20, "B": 30}[letter] for letter in name[-3:]]


def test_one_element_for_all_records() -> None:
    x = images(torch.uint8, count=3)
    for element in ELEMENTS:
        changed = symmetries.apply(repeated(element, 3), x)
        assert np.array_equal(changed[2].numpy(), in_numpy(element, x[2].numpy()))
        assert torch.equal(symmetries.undo(repeated(element, 3), changed), x)

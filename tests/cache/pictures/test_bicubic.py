"""Bicubic shrinking and enlarging: against published images, an exact reference, and symmetries."""

from collections.abc import Callable
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.cache.samples import photo

from dukd_cache.pictures import bicubic
from dukd_cache.pictures.bicubic import crop_to_scale, downscale, downscale_batch, upscale
from dukd_cache.system.arrays import U8
from dukd_cache.system.errors import ImageError

SCALES = (2, 3, 4)


def image_of(seed: int, width: int, height: int) -> U8:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def cubic(x: Fraction) -> Fraction:
    """Keys' kernel with a = −1/2 (IEEE Trans. ASSP 29(6), 1981, equation 15)."""
    x = abs(x)
    if x <= 1:
        return Fraction(3, 2) * x**3 - Fraction(5, 2) * x**2 + 1
    return -Fraction(1, 2) * x**3 + Fraction(5, 2) * x**2 - 4 * x + 2 if x < 2 else Fraction(0)


def resized(signal: list[int], factor: Fraction) -> list[int]:
    """One line of pixels resized in exact arithmetic: widened kernel when shrinking, mirrored borders, half up."""
    width = max(1 / factor, Fraction(1))
    result = []
    for place in range(int(len(signal) * factor)):
        centre = (place + Fraction(1, 2)) / factor - Fraction(1, 2)
        near = range(floor(centre - 2 * width), floor(centre + 2 * width) + 2)
        weights = [cubic((centre - at) / width) for at in near]
        mirrored = [min(at % (2 * len(signal)), -(at + 1) % (2 * len(signal))) for at in near]
        value = sum(w * signal[at] for w, at in zip(weights, mirrored, strict=True)) / sum(weights)
        result.append(min(255, max(0, floor(value + Fraction(1, 2)))))
    return result


@pytest.mark.parametrize("scale", SCALES)
def test_batches_are_shrunk_as_images_are(scale: int) -> None:
    images = [image_of(seed, 5 * scale, 12 * scale) for seed in range(3)]
    batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    expected = np.stack([downscale(image, scale) for image in images])
    for given_NCHW in (batch, batch.contiguous(), batch.float()):
        found = downscale_batch(given_NCHW, scale)
        assert found.dtype == torch.uint8
        assert np.array_equal(found.permute(0, 2, 3, 1).numpy(), expected)


@pytest.mark.parametrize("scale", SCALES)
def test_published_lr_images_are_reproduced_to_the_last_bit(data_dir: Path, scale: int) -> None:
    names = sorted(path.stem for path in (data_dir / "Set5/HR").glob("*.png"))
    assert len(names) == 5
    for name in names:
        with Image.open(data_dir / f"Set5/HR/{name}.png") as file:
            hr = np.asarray(file.convert("RGB"))
        with Image.open(data_dir / f"Set5/LR_bicubic/X{scale}/{name}x{scale}.png") as file:
            published = np.asarray(file.convert("RGB"))
        made = downscale(crop_to_scale(hr, scale), scale)
        assert np.count_nonzero(made != published) == 0, name


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("axis", [0, 1])
def test_lines_equal_exact_arithmetic(scale: int, axis: int) -> None:
    """Lines that differ along one axis only, so that the other axis changes nothing."""
    for seed, resize, factor in [(0, downscale, Fraction(1, scale)), (1, upscale, Fraction(scale))]:
        line = [int(value) for value in np.random.default_rng(seed).integers(0, 256, 8 * scale)]
        step = [0] * (4 * scale) + [255] * (4 * scale)  # overshoots on both sides
        for signal in (line, step):
            image = np.repeat(np.array(signal, np.uint8)[:, None, None], 3, axis=2).repeat(scale, axis=1)
            made = resize(image if axis == 0 else image.transpose(1, 0, 2), scale)
            lines = made[..., 0].T if axis == 0 else made[..., 0]
            assert all(list(one) == resized(signal, factor) for one in lines)


@pytest.mark.parametrize("scale", SCALES)
def test_height_is_resized_and_rounded_before_width(scale: int) -> None:
    image = image_of(scale, 3 * scale, 4 * scale)
    columns = np.array([resized([int(v) for v in column], Fraction(1, scale)) for column in image[..., 0].T]).T
    expected = np.array([resized([int(v) for v in row], Fraction(1, scale)) for row in columns])
    assert np.array_equal(downscale(image, scale)[..., 0], expected)


@given(
    colour=st.tuples(*[st.integers(0, 255)] * 3),
    scale=st.sampled_from(SCALES),
    h=st.integers(1, 6),
    w=st.integers(1, 6),
)
def test_constant_images_stay_constant(colour: tuple[int, int, int], scale: int, h: int, w: int) -> None:
    for resize, height, width in [(downscale, h * scale, w * scale), (upscale, h, w)]:
        image = np.full((height, width, 3), colour, np.uint8)
        made = resize(image, scale)
        assert made.dtype == np.uint8
        assert made.shape == ((h, w, 3) if resize is downscale else (h * scale, w * scale, 3))
        assert (made == np.array(colour, np.uint8)).all()


@given(seed=st.integers(0, 2**32), scale=st.sampled_from(SCALES), h=st.integers(1, 5), w=st.integers(1, 5))
def test_flipping_before_equals_flipping_after(seed: int, scale: int, h: int, w: int) -> None:
    image = image_of(seed, w * scale, h * scale)
    for resize in (downscale, upscale):
        assert np.array_equal(resize(image[::-1], scale), resize(image, scale)[::-1])
        assert np.array_equal(resize(image[:, ::-1], scale), resize(image, scale)[:, ::-1])


@given(seed=st.integers(0, 2**32), scale=st.sampled_from(SCALES), dy=st.integers(0, 4), dx=st.integers(0, 4))
def test_shifting_by_the_scale_shifts_lr_by_one(seed: int, scale: int, dy: int, dx: int) -> None:
    """Beyond two LR pixels from the border, which the mirrored edge reaches."""
    image = image_of(seed, 12 * scale, 11 * scale)
    whole, shifted = downscale(image, scale), downscale(image[dy * scale :, dx * scale :], scale)
    assert np.array_equal(shifted[2:-2, 2:-2], whole[dy + 2 : -2, dx + 2 : -2])


def test_channels_do_not_mix() -> None:
    image = photo(24, 12)
    assert np.array_equal(downscale(image[..., ::-1], 3), downscale(image, 3)[..., ::-1])


@pytest.mark.parametrize("scale", SCALES)
def test_cropping_keeps_the_top_left_and_drops_less_than_the_scale(scale: int) -> None:
    image = image_of(0, 17, 23)
    cropped = crop_to_scale(image, scale)
    height, width = cropped.shape[:2]
    assert height % scale == width % scale == 0
    assert 0 <= 23 - height < scale
    assert 0 <= 17 - width < scale
    assert np.array_equal(cropped, image[:height, :width])


def test_impossible_sizes_are_image_errors_with_the_numbers() -> None:
    with pytest.raises(ImageError, match=r"10×8 pixels.* scale 4"):
        downscale(image_of(0, 10, 8), 4)
    with pytest.raises(ImageError, match=r"9×3 pixels.* scale 4"):
        crop_to_scale(image_of(0, 9, 3), 4)


@pytest.mark.parametrize("resize", [downscale, upscale])
def test_lines_taken_some_at_a_time_are_the_same(resize: Callable[[U8, int], U8], monkeypatch: Any) -> None:
    image = photo(48, 36)
    expected = resize(image, 3)
    monkeypatch.setattr(bicubic, "_LINES", 7)
    assert np.array_equal(resize(image, 3), expected)

"""Photographs made of others, against what they must be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cache.samples import photo

from dukd_cache.pictures.levels import psnr_of
from dukd_cache.pictures.variants import blended, smaller, turned
from dukd_cache.system.arrays import U8


def psnr(one: U8, other: U8) -> float:
    return psnr_of(float(np.mean((one.astype(float) - other) ** 2)))


def smooth(width: int, height: int) -> U8:
    """A picture whose turned pixels can be computed: slopes of red along x, of green along y."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([40 + x, 40 + y, np.full_like(x, 90)], 2).astype(np.uint8)


def test_a_smaller_one_shows_the_same() -> None:
    image = photo(120, 80)
    half = smaller(image, 0.5)
    assert half.shape == (40, 60, 3)
    assert psnr(half, image.reshape(40, 2, 60, 2, 3).mean((1, 3)).round().astype(np.uint8)) > 25
    assert smaller(photo(10, 10), 0.01).shape == (1, 1, 3)


@pytest.mark.parametrize("quarter", [1, 2, 3])
def test_a_quarter_turn_is_anticlockwise(quarter: int) -> None:
    image = photo(100, 100)
    assert psnr(turned(image, 90 * quarter), smaller(np.rot90(image, quarter), 0.9)) > 40


@given(degrees=st.floats(0.1, 359.9), width=st.integers(40, 120), height=st.integers(40, 120))
def test_a_turned_one_is_all_inside_and_of_the_same_shape(degrees: float, width: int, height: int) -> None:
    """Pillow paints black what lies outside of the picture: here nothing is as dark as that."""
    found = turned(smooth(width, height), degrees)
    assert found.min() >= 35
    assert abs(found.shape[1] / found.shape[0] / (width / height) - 1) < 0.15


@pytest.mark.parametrize("degrees", [20.0, 45.0, 70.0, 200.0])
def test_slopes_turn_with_the_picture(degrees: float) -> None:
    """Red rises by a level a pixel to the right; in the turned picture in the direction that is turned there."""
    found = turned(smooth(150, 110), degrees).astype(float)[10:-10, 10:-10]
    down, right = (np.mean(np.diff(found[..., 0], axis=axis)) for axis in (0, 1))
    angle = np.deg2rad(degrees)
    assert (right, down) == pytest.approx((np.cos(angle) / 0.9, -np.sin(angle) / 0.9), abs=0.03)


def test_a_blend_is_the_weighted_mean_of_the_middles() -> None:
    one, other = photo(60, 40), photo(50, 44, seed=1)
    expected = 0.7 * one[:, 5:55] + 0.3 * other[2:42]
    assert np.abs(blended(one, other, 0.3) - expected).max() <= 0.5
    assert np.array_equal(blended(one, one, 0.5), one)


def test_images_of_a_blend_lie_or_stand_alike() -> None:
    one, other = photo(60, 40), photo(44, 50, seed=1)
    assert np.array_equal(blended(one, other, 0.5), blended(one, np.rot90(other), 0.5))

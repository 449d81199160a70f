"""PSNR-Y and SSIM-Y against values known by hand and against scikit-image."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from dukd_cache.system.arrays import U8
from dukd_cache.system.errors import ImageError
from dukd_train.scoring import metrics
from dukd_train.scoring.metrics import luma, psnr, psnr_y, ssim, ssim_y


def flat(value: int, height: int = 20, width: int = 24) -> U8:
    return np.full((height, width, 3), value, np.uint8)


def noisy_pair(seed: int = 0) -> tuple[U8, U8]:
    """A smooth colour picture and a disturbed copy of it."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:41, :53]
    waves = [128 + 100 * np.sin(rows / 5 + phase) * np.cos(columns / 7 - phase) for phase in (0, 1, 2)]
    truth = np.stack(waves, axis=2)
    image = truth + random.normal(0, 12, truth.shape)
    return image.clip(0, 255).astype(np.uint8), truth.clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("rgb", "expected"),
    [
        ((0, 0, 0), 16.0),
        ((255, 255, 255), 235.0),
        ((255, 0, 0), 16 + 65.481),
        ((0, 255, 0), 16 + 128.553),
        ((0, 0, 255), 16 + 24.966),
        ((51, 102, 204), 16 + 0.2 * 65.481 + 0.4 * 128.553 + 0.8 * 24.966),
    ],
)
def test_luma_is_bt601_in_studio_swing_and_not_rounded(rgb: tuple[int, int, int], expected: float) -> None:
    image = np.tile(np.array(rgb, np.uint8), (2, 3, 1))
    assert luma(image).shape == (2, 3)
    np.testing.assert_allclose(luma(image), expected, atol=1e-9)


def test_luma_agrees_with_scikit_image() -> None:
    color = pytest.importorskip("skimage.color")
    image, _ = noisy_pair()
    np.testing.assert_allclose(luma(image), color.rgb2ycbcr(image)[..., 0], atol=1e-9)


@pytest.mark.parametrize("step", [1, 2, 10])
def test_psnr_of_a_constant_shift_is_known(step: int) -> None:
    shift = step * 219 / 255  # a grey level is 219/255 of a luma level
    expected = 20 * math.log10(255 / shift)
    assert psnr_y(flat(100 + step), flat(100), border=0) == pytest.approx(expected, abs=1e-9)


def test_equal_images_have_infinite_psnr_and_ssim_one() -> None:
    image, _ = noisy_pair()
    assert psnr_y(image, image, border=4) == math.inf
    assert ssim_y(image, image, border=4) == pytest.approx(1.0, abs=1e-12)


def test_ssim_of_two_flat_images_is_the_luminance_term() -> None:
    first, second = luma(flat(60))[0, 0], luma(flat(180))[0, 0]
    c1 = (0.01 * 255) ** 2
    expected = (2 * first * second + c1) / (first**2 + second**2 + c1)
    assert ssim_y(flat(60), flat(180), border=0) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("border", [0, 2, 3, 4])
def test_scores_agree_with_scikit_image(border: int) -> None:
    scikit = pytest.importorskip("skimage.metrics")
    image, truth = noisy_pair()
    inner = np.s_[border : 41 - border, border : 53 - border]
    image_y, truth_y = luma(image)[inner], luma(truth)[inner]
    psnr = scikit.peak_signal_noise_ratio(truth_y, image_y, data_range=255)
    assert psnr_y(image, truth, border) == pytest.approx(psnr, abs=1e-9)
    # truncate=3.5 makes its Gaussian 11 wide; it averages over the inner windows only, as we do
    ssim = scikit.structural_similarity(
        truth_y,
        image_y,
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        truncate=3.5,
        use_sample_covariance=False,
    )
    assert ssim_y(image, truth, border) == pytest.approx(ssim, abs=1e-9)


@pytest.mark.parametrize("score", [psnr_y, ssim_y, psnr, ssim])
def test_the_border_is_left_out(score: Callable[[U8, U8, int], float]) -> None:
    image, truth = noisy_pair()
    spoilt = image.copy()
    spoilt[:3] = spoilt[-3:] = 0
    spoilt[:, :3] = spoilt[:, -3:] = 255
    assert score(spoilt, truth, 3) == score(image, truth, 3)
    assert score(spoilt, truth, 2) < score(image, truth, 2)


@pytest.mark.parametrize("score", [psnr_y, ssim_y, psnr, ssim])
def test_images_of_different_size_are_refused(score: Callable[[U8, U8, int], float]) -> None:
    with pytest.raises(ImageError, match=r"24×20 .* 24×21"):
        score(flat(0), flat(0, height=21), 0)


def test_a_border_that_leaves_too_little_is_refused() -> None:
    assert psnr_y(flat(0), flat(1), border=9) > 0
    with pytest.raises(ImageError, match="at least 1 pixels a side within a border of 10"):
        psnr_y(flat(0), flat(1), border=10)
    assert ssim_y(flat(0), flat(1), border=4) < 1
    with pytest.raises(ImageError, match="at least 11 pixels"):
        ssim_y(flat(0), flat(1), border=5)


@pytest.mark.parametrize("border", [0, 4])
def test_scores_of_rgb_agree_with_scikit_image(border: int) -> None:
    scikit = pytest.importorskip("skimage.metrics")
    image, truth = noisy_pair()
    inner = np.s_[border : 41 - border, border : 53 - border]
    expected = scikit.peak_signal_noise_ratio(truth[inner], image[inner], data_range=255)
    assert psnr(image, truth, border) == pytest.approx(expected, abs=1e-9)
    expected = scikit.structural_similarity(
        truth[inner],
        image[inner],
        channel_axis=2,
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        truncate=3.5,
        use_sample_covariance=False,
    )
    assert ssim(image, truth, border) == pytest.approx(expected, abs=1e-9)


def test_psnr_of_rgb_is_one_over_all_channels() -> None:
    red, blue = flat(100), flat(100)
    red[..., 0] += 10
    blue[..., 2] += 10
    assert (
        psnr(red, flat(100), 0)
        == psnr(blue, flat(100), 0)
        == pytest.approx(20 * math.log10(255 / 10) + 4.771, abs=1e-3)
    )
    assert psnr_y(red, flat(100), 0) < psnr_y(blue, flat(100), 0)


def test_of_grey_images_every_channel_counts_the_same() -> None:
    image, truth = (np.repeat(each[..., :1], 3, axis=2) for each in noisy_pair())
    assert psnr(image, truth, 2) == psnr(image[..., [1, 2, 0]], truth, 2)
    assert ssim(image, truth, 2) == pytest.approx(ssim(image[:, ::-1], truth[:, ::-1], 2), abs=1e-12)


@pytest.mark.parametrize("score", [psnr_y, ssim_y, psnr, ssim])
def test_strips_make_no_difference(score: Callable[[U8, U8, int], float], monkeypatch: pytest.MonkeyPatch) -> None:
    image, truth = noisy_pair()
    expected = score(image, truth, 2)
    for rows in (1, 7, 36, 37):
        monkeypatch.setattr(metrics, "_STRIP", rows)
        assert score(image, truth, 2) == pytest.approx(expected, abs=1e-11)

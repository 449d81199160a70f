"""Each step against another program's, or against what mathematics says of it."""

import io
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from tests.cache.samples import photo

from dukd_cache.pictures.degradation import effects, kernels
from dukd_cache.pictures.degradation.effects import Codec, Method

PICTURE = photo(61, 47).astype(np.float32)


def spectrum(kernel: np.ndarray, frequency_x: float, frequency_y: float = 0.0) -> float:
    """What a wave of these radians a pixel is multiplied with."""
    places = np.arange(kernel.shape[0]) - kernel.shape[0] // 2
    x, y = np.meshgrid(places, places)
    return float((kernel * np.cos(frequency_x * x + frequency_y * y)).sum())


@pytest.mark.parametrize(("sigma", "frequency"), [(1.2, 1.0), (1.5, 0.7), (2.0, 1.0)])
def test_a_gaussian_kernel_has_a_gaussian_spectrum(sigma: float, frequency: float) -> None:
    kernel = kernels.generalised_gaussian(21, sigma, sigma, 0, 1)
    assert spectrum(kernel, frequency) == pytest.approx(math.exp(-((sigma * frequency) ** 2) / 2), abs=1e-5)


def test_an_anisotropic_kernel_has_these_variances_along_its_axes() -> None:
    kernel = kernels.generalised_gaussian(31, 3.0, 1.2, 0.6, 1)
    places = np.arange(31) - 15
    x, y = np.meshgrid(places, places)
    moments = np.array([[(kernel * one * other).sum() for other in (x, y)] for one in (x, y)])
    variances, axes = np.linalg.eigh(moments)
    assert np.sqrt(variances) == pytest.approx([1.2, 3.0], rel=1e-2)
    assert abs(axes[:, 1] @ [math.cos(0.6), math.sin(0.6)]) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("shape", [0.5, 1, 2, 4])
def test_a_generalised_kernel_falls_by_its_power(shape: float) -> None:
    kernel = kernels.generalised_gaussian(15, 1.7, 1.7, 0, shape)
    for x, y in [(1, 0), (2, 3), (0, 4)]:
        fallen = math.log(kernel[7, 7] / kernel[7 + y, 7 + x])
        assert fallen == pytest.approx(0.5 * ((x * x + y * y) / 1.7**2) ** shape, rel=1e-9)


@pytest.mark.parametrize("shape", [1, 1.5, 2])
def test_a_plateau_falls_to_half_where_the_distance_is_sigma(shape: float) -> None:
    kernel = kernels.plateau(21, 3.0, 2.0, 0, shape)
    assert kernel[10, 13] / kernel[10, 10] == pytest.approx(0.5)
    assert kernel[12, 10] / kernel[10, 10] == pytest.approx(0.5)
    flat = kernels.generalised_gaussian(21, 3.0, 2.0, 0, 1)
    assert kernel[10, 11] / kernel[10, 10] > (flat[10, 11] / flat[10, 10] if shape > 1 else 0.5)


@pytest.mark.parametrize("cutoff", [math.pi / 3, math.pi / 2, 2.5])
def test_sinc_passes_what_is_below_its_cutoff_and_stops_what_is_above(cutoff: float) -> None:
    kernel = kernels.sinc(101, cutoff)
    for turned in (0.0, 0.5, math.pi / 4):
        below, above = (
            (factor * cutoff * math.cos(turned), factor * cutoff * math.sin(turned)) for factor in (0.8, 1.2)
        )
        assert spectrum(kernel, *below) == pytest.approx(1, abs=0.06)
        assert spectrum(kernel, *above) == pytest.approx(0, abs=0.06)


def test_sinc_is_made_with_scipys_bessel_function() -> None:
    special = pytest.importorskip("scipy.special")
    x = np.linspace(0, 199, 5000).reshape(100, 50)
    assert np.abs(kernels._bessel_1(x) - special.j1(x)).max() < 1e-12


@pytest.mark.parametrize(
    "kernel",
    [
        kernels.generalised_gaussian(7, 0.2, 3.0, -1.0, 0.5),
        kernels.plateau(21, 0.3, 2.9, 2.0, 1.4),
        kernels.sinc(13, 0.9),
    ],
)
def test_blur_is_scipys_convolution(kernel: np.ndarray) -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    assert kernel.sum() == pytest.approx(1)
    for picture in (PICTURE, PICTURE[:3, :5], PICTURE[:1, :40]):
        mode = "mirror"
        expected = np.stack(
            [ndimage.convolve(picture[..., at].astype(float), kernel, mode=mode) for at in range(3)], -1
        )
        found = effects.blurred(picture, kernel)
        assert found.dtype == np.float32
        assert np.abs(found - expected.clip(0, 255)).max() < 1e-3


@pytest.mark.parametrize("method", ["area", "bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(47, 61), (20, 33), (7, 90), (94, 122), (1, 1)])
def test_resizing_is_torchs(method: Method, size: tuple[int, int]) -> None:
    """Which is what Real-ESRGAN's own code calls."""
    planes = torch.from_numpy(PICTURE).permute(2, 0, 1)[None]
    flags = {} if method == "area" else {"align_corners": False}
    expected = F.interpolate(planes, size=size, mode=method, **flags)[0].permute(1, 2, 0).clamp(0, 255)
    assert np.abs(effects.resized(PICTURE, *size, method) - expected.numpy()).max() < 2e-3


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("sigma", [1.0, 12.0, 30.0])
def test_gaussian_noise_has_its_deviation(sigma: float, grey: bool) -> None:
    flat = np.full((256, 256, 3), 127.0, np.float32)
    noise = effects.with_gaussian_noise(flat, sigma, grey, np.random.default_rng(0)) - flat
    assert noise.std() == pytest.approx(sigma, rel=0.02)
    assert abs(noise.mean()) < 0.03 * sigma
    together = np.corrcoef(noise.reshape(-1, 3).T)[0, 1]
    assert together == pytest.approx(1) if grey else abs(together) < 0.02


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_poisson_noise_grows_with_the_light(scale: float, grey: bool) -> None:
    """Variance of photons is their number: of level v, v · 255 / photons · scale², where white is so many photons."""
    levels = np.arange(16, 240, 14)  # 16 of them: white is 16 photons … 255/16 levels each
    stripes = np.repeat(levels, 4000).astype(np.float32).reshape(len(levels) * 20, 200, 1) * np.ones(3, np.float32)
    noise = effects.with_poisson_noise(stripes + 0.0, scale / 16, grey, np.random.default_rng(1)) - stripes
    for level, of_level in zip(levels, noise.reshape(len(levels), -1, 3), strict=True):
        expected = scale / 16 * math.sqrt(level * 255 / 16)
        assert of_level.std() == pytest.approx(expected, rel=0.05)
        assert abs(of_level.mean()) < 0.05 * expected
        together = np.corrcoef(of_level.T)[0, 1]
        assert together == pytest.approx(1) if grey else abs(together) < 0.06


@pytest.mark.parametrize(("how", "more"), [("jpeg", {"subsampling": "4:2:0"}), ("webp", {})])
@pytest.mark.parametrize("quality", [10, 60, 95])
def test_compression_is_pillows(how: Codec, more: dict[str, str], quality: int) -> None:
    file = io.BytesIO()
    Image.fromarray(photo(61, 47)).save(file, how, quality=quality, **more)
    expected = np.asarray(Image.open(file).convert("RGB"))
    assert np.array_equal(effects.compressed(PICTURE, quality, how), expected)


def test_blocks_of_compression_can_begin_anywhere() -> None:
    file = io.BytesIO()
    Image.fromarray(np.pad(photo(61, 47), ((5, 0), (11, 0), (0, 0)), mode="reflect")).save(file, "jpeg", quality=30)
    expected = np.asarray(Image.open(file))[5:, 11:]
    assert np.array_equal(effects.compressed(PICTURE, 30, "jpeg", x=11, y=5), expected)
    assert effects.compressed(PICTURE[:2, :3], 30, "jpeg", x=11, y=5).shape == (2, 3, 3)


def test_jpeg_is_libjpegs_by_another_way() -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    written = imagecodecs.jpeg8_encode(photo(61, 47), level=50, subsampling="420")
    difference = effects.compressed(PICTURE, 50, "jpeg") - imagecodecs.jpeg8_decode(written)
    assert np.abs(difference).mean() < 0.1

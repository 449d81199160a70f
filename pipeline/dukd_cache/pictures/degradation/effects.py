"""What is done to pixels, step by step: float32 [H,W,3] in 0…255 → the same, clipped to that range.

Noise comes from a generator that is given; else pure. Sums are made in one order on every machine: no BLAS, no threads.
"""

import io
import math
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from dukd_cache.system.arrays import F32, F64, U8

Method = Literal["area", "bilinear", "bicubic"]
Codec = Literal["jpeg", "webp"]

_LUMA = (0.2989, 0.587, 0.114)
"""Of R, G, B: ITU-R BT.601."""
_CUBIC = -0.75
"""The cubic's slope, as in PyTorch and OpenCV; MATLAB has −0.5."""


def blurred(image: F32, kernel: F64) -> F32:
    """Convolved with `kernel` [k,k]; the picture is mirrored at its border, the edge pixel not twice."""
    reach = kernel.shape[0] // 2
    height, width = image.shape[:2]
    rows, columns = (_quick(length + 2 * reach) for length in (height, width))
    padded = np.zeros((3, rows, columns), np.float32)
    y, x = (_mirrored(length, reach) for length in (height, width))
    padded[:, : height + 2 * reach, : width + 2 * reach] = image.transpose(2, 0, 1)[:, y[:, None], x]
    spectrum = np.fft.rfft2(kernel.astype(np.float32), (rows, columns))
    found = np.fft.irfft2(np.fft.rfft2(padded) * spectrum, (rows, columns))
    return _clipped(found[:, 2 * reach : 2 * reach + height, 2 * reach : 2 * reach + width].transpose(1, 2, 0))


def resized(image: F32, height: int, width: int, method: Method) -> F32:
    """To another size, as PyTorch's `interpolate` does it: bilinear and bicubic do not average when they shrink."""
    for axis, length in ((0, height), (1, width)):
        if image.shape[axis] != length:
            image = _resized_area(image, axis, length) if method == "area" else _resized(image, axis, length, method)
    return _clipped(image)


def with_gaussian_noise(image: F32, sigma: float, grey: bool, random: np.random.Generator) -> F32:
    """Noise of standard deviation `sigma`, in levels, added; `grey`: the same to all three channels."""
    noise = random.standard_normal((*image.shape[:2], 1 if grey else 3), np.float32)
    return _clipped(image + noise * np.float32(sigma))


def with_poisson_noise(image: F32, scale: float, grey: bool, random: np.random.Generator) -> F32:
    """Noise of a light sensor, times `scale`, added; `grey`: that of the picture's luma, to all three channels.

    White stands for so many photons as the picture has levels, rounded up to a power of two.
    """
    red, green, blue = (image[..., channel, None] * np.float32(weight) for channel, weight in enumerate(_LUMA))
    whole = rounded(red + green + blue if grey else image)
    levels = int(np.count_nonzero(np.bincount(whole.reshape(-1), minlength=256)))
    photons = float(2 ** math.ceil(math.log2(levels)))
    expected = whole * (photons / 255)
    noise = (random.poisson(expected) - expected) * (255 / photons * scale)
    return _clipped(image + noise.astype(np.float32))


def compressed(image: F32, quality: int, how: Codec, x: int = 0, y: int = 0) -> F32:
    """Written as JPEG or WebP of `quality` 1…100, with colour at half the resolution, and read again.

    Args:
        x, y: how far the picture's corner lies from that of a block, in pixels: 0…15. Real pictures are cut later.
    """
    height, width = image.shape[:2]
    rows, columns = np.abs(np.arange(-y, height)), np.abs(np.arange(-x, width))
    moved = image[np.minimum(rows, height - 1)[:, None], np.minimum(columns, width - 1)] if x or y else image
    file = io.BytesIO()
    more = {"subsampling": 2} if how == "jpeg" else {}
    Image.fromarray(rounded(moved)).save(file, how, quality=quality, **more)
    with Image.open(file) as read:
        return np.asarray(read.convert("RGB"), np.float32)[y:, x:]


def rounded(image: F32) -> U8:
    """To the nearest of 8 bits, half up."""
    return np.floor(image.clip(0, 255) + np.float32(0.5)).astype(np.uint8)


def _resized(image: F32, axis: int, length: int, method: str) -> F32:
    """By a weighted sum of two or four neighbours of where each new pixel's middle lies."""
    there = image.shape[axis]
    middle = (np.arange(length) + 0.5) * (there / length) - 0.5
    first = np.floor(middle)
    t = middle - first
    taps = (1 - t, t) if method == "bilinear" else tuple(_cubic(np.abs(offset - t)) for offset in (-1, 0, 1, 2))
    shape = (-1, 1, 1) if axis == 0 else (1, -1, 1)
    total = np.float32(0)
    for offset, weight in enumerate(taps, start=0 if method == "bilinear" else -1):
        places = (first + offset).clip(0, there - 1).astype(np.int64)
        total = total + image.take(places, axis) * weight.astype(np.float32).reshape(shape)
    return np.asarray(total, np.float32)


def _cubic(distance: F64) -> F64:
    """Keys' kernel at distances of 0…2."""
    near = ((_CUBIC + 2) * distance - (_CUBIC + 3)) * distance**2 + 1
    far = ((distance - 5) * distance + 8) * distance * _CUBIC - 4 * _CUBIC
    found: F64 = np.where(distance <= 1, near, far)
    return found


def _resized_area(image: F32, axis: int, length: int) -> F32:
    """Each new pixel is the mean of all that it touches."""
    there = image.shape[axis]
    start = np.arange(length) * there // length
    stop = -(-(np.arange(length) + 1) * there // length)
    sums = np.zeros([size + (at == axis) for at, size in enumerate(image.shape)])
    np.cumsum(image, axis, np.float64, out=sums[1:] if axis == 0 else sums[:, 1:])
    shape = (-1, 1, 1) if axis == 0 else (1, -1, 1)
    found: F32 = ((sums.take(stop, axis) - sums.take(start, axis)) / (stop - start).reshape(shape)).astype(np.float32)
    return found


def _clipped(image: npt.NDArray[np.floating[Any]]) -> F32:
    return np.ascontiguousarray(image.clip(0, 255), np.float32)


def _mirrored(length: int, by: int) -> npt.NDArray[np.int64]:
    """Places of a row of pixels with `by` more at both ends, as `numpy.pad` has it with "reflect"."""
    return np.pad(np.arange(length), by, mode="reflect" if length > 1 else "edge")


def _quick(length: int) -> int:
    """The next length without a factor above 5: a Fourier transform of it takes least time."""
    rest = length
    for factor in (2, 3, 5):
        while rest % factor == 0:
            rest //= factor
    return length if rest == 1 else _quick(length + 1)

"""Pixels as levels of 0…255, rounded or not, and how far two pictures lie apart."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

PSNR_OF_EQUALS = 100.0
"""dB. Stands for the infinity of equal pictures, and for all above it."""


def to_uint8(pixels: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Stored pixels as u8: as they are, or, of floating point in [0,1], clamped and rounded half up."""
    if pixels.dtype == np.uint8:
        return pixels
    return np.floor(pixels.astype(np.float32).clip(0, 1) * 255 + np.float32(0.5)).astype(np.uint8)


def psnr(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    """dB of two pictures in 0…255, of any shape, over all values; at most `PSNR_OF_EQUALS`."""
    return psnr_of(float(np.mean((one - other) ** 2)))


def psnr_of(error: float) -> float:
    """dB of a mean squared error of values in 0…255; at most `PSNR_OF_EQUALS`."""
    return min(PSNR_OF_EQUALS, 10 * math.log10(255**2 / error)) if error else PSNR_OF_EQUALS


def levels(pixels: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    """Stored pixels in 0…255: as they are, or, of floating point in [0,1], clamped and not rounded."""
    plain = pixels.astype(np.float64)
    return plain if pixels.dtype == np.uint8 else plain.clip(0, 1) * 255

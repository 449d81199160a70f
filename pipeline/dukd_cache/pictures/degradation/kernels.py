"""Blur kernels [side,side], odd sides, sums of 1. Source: Wang et al., ICCVW 2021, sections 3.2 and 3.3.

All but sinc are functions of d = xᵀΣ⁻¹x, where Σ has the variances σx² and σy² along axes turned by an angle.
"""

import math

import numpy as np

from dukd_cache.system.arrays import F64

_BESSEL_POINTS = 256
"""Of the integral below. Exact to 1e-12 for arguments below 200; that of the largest kernel in its corner is 70."""


def generalised_gaussian(side: int, sigma_x: float, sigma_y: float, angle: float, shape: float) -> F64:
    """exp(−d^β / 2), with β = `shape`: 1 is a Gaussian, less has a sharper peak, more is flatter.

    Args:
        sigma_x, sigma_y: in pixels.
        angle: of the axes, in radians.
    """
    return _normalised(np.exp(-0.5 * _distance(side, sigma_x, sigma_y, angle) ** shape))


def plateau(side: int, sigma_x: float, sigma_y: float, angle: float, shape: float) -> F64:
    """1 / (1 + d^β), with β = `shape`: flat in the middle."""
    return _normalised(1 / (1 + _distance(side, sigma_x, sigma_y, angle) ** shape))


def sinc(side: int, cutoff: float) -> F64:
    """The circular low-pass filter: no frequency above `cutoff`, in radians a pixel (π: all that pixels can hold).

    Cut to `side`, it rings around edges, as sharpened and strongly compressed pictures do.
    """
    x, y = _grid(side)
    radius = np.hypot(x, y)
    radius[side // 2, side // 2] = 1
    kernel = cutoff * _bessel_1(cutoff * radius) / (2 * math.pi * radius)
    kernel[side // 2, side // 2] = cutoff**2 / (4 * math.pi)
    return _normalised(kernel)


def _bessel_1(x: F64) -> F64:
    """J₁, by Bessel's integral: 1/π ∫ cos(t − x sin t) dt over 0…π; it is periodic, so equal steps converge at once."""
    t = (np.arange(_BESSEL_POINTS) + 0.5) * (math.pi / _BESSEL_POINTS)
    unique, places = np.unique(x, return_inverse=True)
    values: F64 = np.cos(t - unique[:, None] * np.sin(t)).mean(axis=1)
    return values[places].reshape(x.shape)


def _distance(side: int, sigma_x: float, sigma_y: float, angle: float) -> F64:
    x, y = _grid(side)
    along, across = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    found: F64 = (along / sigma_x) ** 2 + (across / sigma_y) ** 2
    return found


def _grid(side: int) -> tuple[F64, F64]:
    places = np.arange(side, dtype=np.float64) - side // 2
    x, y = np.meshgrid(places, places)
    return x, y


def _normalised(kernel: F64) -> F64:
    found: F64 = kernel / kernel.sum()
    return found

"""Whether an LR image shows what its HR image shows, however it was made smaller, and if not, what it may be.

Both are compared by the correlation of their details: grey levels less those around, HR averaged to the size of LR. So
blur, noise, JPEG and changed brightness of legitimate LR images count for little, and like colours of other images for
nothing. The bounds are measured: docs/images.md.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
import torch.nn.functional as F

from dukd_cache.system.arrays import F32, U8

LEAST = 0.25
"""Correlation below which LR is not of HR."""

_CLEARLY = 0.15
"""By so much more than it, LR correlates with HR when it was turned or mirrored."""

_FITS = 0.4
"""Correlation from which a guess is told."""

_FLAT = 4.0
"""Standard deviation of details, in levels, below which noise and JPEG may be all that there is to compare."""

_SMALLEST = 16
"""Side of an LR image, in pixels, below which correlations are high by chance."""

_FINE, _COARSE = 3, 9
"""Sides of the means whose difference is a detail: finer ones are noise, coarser ones are alike in many images."""

_SWAPPED = -0.5
"""Correlation of red less blue: the channels are in another order."""

_TURNS: Mapping[str, Callable[[F32], F32]] = {  # what undoes each
    "turned by 180°": lambda image: image[::-1, ::-1],
    "turned clockwise": np.rot90,
    "turned counterclockwise": lambda image: np.rot90(image, 3),
    "mirrored": lambda image: image[:, ::-1],
    "upside down": lambda image: image[::-1],
    "transposed": lambda image: image.T,
    "transposed and turned by 180°": lambda image: image[::-1, ::-1].T,
}


def mismatch(lr: U8, hr: U8) -> str | None:
    """How `lr` u8 [h,w,3] differs from what `hr` u8 [s·h,s·w,3] shows, for people; None where it does not, or where
    nothing can be told: small or flat images.
    """
    if min(lr.shape[:2]) < _SMALLEST:
        return None
    small = _averaged(hr, hr.shape[0] // lr.shape[0])
    expected, found = _details(small.mean(axis=2)), _details(lr.mean(axis=2, dtype=np.float32))
    if expected.std() < _FLAT or found.std() == 0:
        return None
    straight = _correlation(expected, found)
    turned = _turned(expected, found) if straight < 1 - _CLEARLY else {}
    likely = max(turned, key=turned.__getitem__, default="")
    if turned and turned[likely] > max(_FITS, straight + _CLEARLY):
        return f"{likely}? (their details correlate by {straight:.2f}, so by {turned[likely]:.2f})"
    if straight < LEAST:
        guess = _guess(expected, found, straight)
        return f"{guess} (their details correlate by {straight:.2f}, expected {LEAST} or more)"
    if _red_is_blue(small, lr):
        return "red and blue swapped?"
    return None


def fits(lr: U8, hr: U8) -> bool:
    """Whether `lr` [h,w,3] clearly is `hr` [s·h,s·w,3] made smaller."""
    small = _averaged(hr, hr.shape[0] // lr.shape[0])
    return _correlation(_details(small.mean(axis=2)), _details(lr.mean(axis=2, dtype=np.float32))) > _FITS


def _turned(expected: F32, found: F32) -> dict[str, float]:
    """Correlations once each of the turns of this shape is undone."""
    undone = ((name, undo(found)) for name, undo in _TURNS.items())
    return {name: _correlation(expected, image) for name, image in undone if image.shape == expected.shape}


def _guess(expected: F32, found: F32, straight: float) -> str:
    if straight < -_FITS:
        return "its brightness is inverted?"
    down, right, there = _best_shift(expected, found)
    if there > _FITS:
        return f"shifted by {right} pixels to the right and {down} down?"
    return "another image's?"


def _averaged(image: U8, scale: int) -> F32:
    """[s·h,s·w,3] → [h,w,3], the mean of each square of `scale` pixels."""
    rows = np.zeros((image.shape[0] // scale, *image.shape[1:]), np.uint16)
    for row in range(scale):
        rows += image[row::scale]
    total = np.zeros((len(rows), image.shape[1] // scale, 3), np.float32)
    for column in range(scale):
        total += rows[:, column::scale]
    total /= scale**2
    return total


def _details(grey: F32) -> F32:
    """[h,w] less what is around each pixel."""
    grey_11hw = torch.from_numpy(np.ascontiguousarray(grey))[None, None]
    fine, coarse = (
        F.avg_pool2d(grey_11hw, side, stride=1, padding=side // 2, count_include_pad=False) for side in (_FINE, _COARSE)
    )
    return np.asarray((fine - coarse)[0, 0].numpy())


def _correlation(one: F32, other: F32) -> float:
    one, other = one - one.mean(), other - other.mean()
    size = float(np.sqrt((one * one).sum() * (other * other).sum()))
    return float((one * other).sum()) / size if size else 0.0


def _best_shift(expected: F32, found: F32) -> tuple[int, int, float]:
    """Rows down and columns to the right by which `found` lies off, and the correlation there, all round the edges."""
    spectrum = np.fft.rfft2(found) * np.fft.rfft2(expected).conj()
    surface = np.fft.irfft2(spectrum, found.shape)
    row, column = np.unravel_index(surface.argmax(), surface.shape)
    height, width = found.shape
    down, right = (int(row) + height // 2) % height - height // 2, (int(column) + width // 2) % width - width // 2
    return down, right, float(surface.max() / np.sqrt((found**2).sum() * (expected**2).sum()))


def _red_is_blue(small: F32, lr: U8) -> bool:
    expected = _details(small[..., 0] - small[..., 2])
    found = _details(lr[..., 0].astype(np.float32) - lr[..., 2])
    return min(expected.std(), found.std()) >= _FLAT and _correlation(expected, found) < _SWAPPED

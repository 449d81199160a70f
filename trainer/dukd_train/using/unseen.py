"""Colours that nobody sees, replaced: a network looks at all pixels, and would mix them into those that are seen.

Files hold anything under full transparency, often black or white. Shapes: H, W are sides, C the three colours.
"""

import numpy as np

from dukd_cache.system.arrays import F32, U8

_SEEN = 16
"""Opacity of 255 from which a colour counts in full: of fainter ones, files hold but a few levels."""


def with_seen_colours(pixels_HWC: U8, alpha_HW: U8) -> U8:
    """The same where pixels are seen; elsewhere the colours of those nearby that are.

    A picture that is transparent all over stays as it is.
    """
    if alpha_HW.min() >= _SEEN or not alpha_HW.any():
        return pixels_HWC
    weight_HW1 = np.minimum(alpha_HW[..., None].astype(np.float32) / _SEEN, 1)
    around_HWC = _spread(pixels_HWC.astype(np.float32) * weight_HW1, weight_HW1)
    mixed_HWC = pixels_HWC * weight_HW1 + around_HWC * (1 - weight_HW1)
    return np.where(weight_HW1 == 1, pixels_HWC, np.rint(mixed_HWC).astype(np.uint8))


def _spread(weighted_HWC: F32, weight_HW1: F32) -> F32:
    """The mean of each pixel's square of pixels, of the smallest one (2, 4, 8, … wide) where anything is seen."""
    height, width = weight_HW1.shape[:2]
    squares, weights = _halved(weighted_HWC), _halved(weight_HW1)
    known = weights > 0
    means = np.asarray(squares / np.where(known, weights, 1), np.float32)
    if not known.all():
        means = np.where(known, means, _spread(squares, weights))
    return means.repeat(2, axis=0)[:height].repeat(2, axis=1)[:, :width]


def _halved(image: F32) -> F32:
    """The sums of squares of two by two pixels; beyond the edges is nothing."""
    height, width = image.shape[:2]
    padded = np.pad(image, [(0, height % 2), (0, width % 2), (0, 0)])
    rows = padded[::2] + padded[1::2]
    return rows[:, ::2] + rows[:, 1::2]

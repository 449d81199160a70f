"""Other photographs made of the same ones: smaller, turned by any angle, or laid over each other. Pure functions.

Shapes: H, W sides of an image; C = 3, RGB. Images are u8 [H,W,3].
"""

import math

import numpy as np
from PIL import Image

from dukd_cache.system.arrays import U8

_SHARP = 0.9
"""Size of a turned image over that of its pixels in the photograph: interpolation blurs, and this hides it."""


def smaller(image: U8, size: float) -> U8:
    """`image` with `size` times its sides, by Lanczos."""
    height, width = image.shape[:2]
    return _resized(image, round(width * size), round(height * size))


def turned(image: U8, degrees: float) -> U8:
    """What fills the largest upright rectangle of the same shape in `image` turned anticlockwise, by bicubic."""
    height, width = image.shape[:2]
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    across, along = abs(cosine), abs(sine)
    inside = min(width / (width * across + height * along), height / (width * along + height * across))
    twice = round(2 * width * inside), round(2 * height * inside)
    # Pillow takes the place in `image` of each place of the result: half as far from the middle, and turned back.
    back = (cosine / 2, -sine / 2), (sine / 2, cosine / 2)
    middle = (width / 2, height / 2)
    lines = [(*row, at - (row[0] * twice[0] + row[1] * twice[1]) / 2) for row, at in zip(back, middle, strict=True)]
    large = Image.fromarray(image).transform(
        twice, Image.Transform.AFFINE, (*lines[0], *lines[1]), Image.Resampling.BICUBIC
    )
    return _resized(np.asarray(large), *(round(side * _SHARP / 2) for side in twice))


def blended(image: U8, other: U8, share: float) -> U8:
    """(1 − share)·image + share·other, of the middle that both have; `other` lies or stands as `image` does."""
    if (image.shape[0] > image.shape[1]) != (other.shape[0] > other.shape[1]):
        other = np.rot90(other)
    height, width = (min(sides) for sides in zip(image.shape[:2], other.shape[:2], strict=True))
    one, two = (_middle(each, height, width).astype(np.float64) for each in (image, other))
    mixed: U8 = np.rint((1 - share) * one + share * two).astype(np.uint8)
    return mixed


def _resized(image: U8, width: int, height: int) -> U8:
    sides = max(width, 1), max(height, 1)
    return np.asarray(Image.fromarray(image).resize(sides, Image.Resampling.LANCZOS))


def _middle(image: U8, height: int, width: int) -> U8:
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width]

"""HR → LR, bit for bit as the benchmarks did it, and the bicubic enlargement that every table compares with.

The published LR images were made with MATLAB's `imresize` (Keys' cubic, a = −0.5, antialiased when it shrinks) on
8-bit images. Equal pixels need its three habits: borders are mirrored with the edge pixel repeated, height goes
before width, and the image is rounded to 8 bits after *each* of the two.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dukd_cache.system.arrays import U8
from dukd_cache.system.errors import ImageError

REACH = 2
"""Of the cubic, in source pixels where it enlarges."""
_MARGIN = 2 * REACH
"""Source pixels (times the scale when shrinking) mirrored at each border."""

_LINES = 256


def crop_to_scale(hr: U8, scale: int) -> U8:
    """The part of `hr` [H,W,3] from its top left corner whose sides divide by `scale`.

    Raises:
        ImageError: nothing is left.
    """
    height, width = hr.shape[0] // scale * scale, hr.shape[1] // scale * scale
    if not height or not width:
        raise ImageError(f"image of {hr.shape[1]}×{hr.shape[0]} pixels is smaller than the scale {scale}")
    return hr[:height, :width]


def downscale(image: U8, scale: int) -> U8:
    """`image` u8 [H,W,3] made `scale` times smaller → u8 [H/scale,W/scale,3].

    Raises:
        ImageError: a side does not divide by `scale` (see `crop_to_scale`).
    """
    height, width = image.shape[:2]
    if height % scale or width % scale:
        raise ImageError(f"image of {width}×{height} pixels: its sides must divide by the scale {scale}")
    return _resize_axis(_resize_axis(image, 0, 1, scale), 1, 1, scale)


def downscale_batch(images_NCHW: Tensor, scale: int) -> Tensor:
    """Images in 0…255, of whole numbers or not, made `scale` times smaller as `downscale` does: u8, on their device."""
    for axis in (2, 3):
        images_NCHW = _resized(_mirrored(images_NCHW, axis, _MARGIN * scale), axis, 1, scale)
    return images_NCHW


def upscale(image: U8, scale: int) -> U8:
    """`image` u8 [H,W,3] enlarged `scale` times by the same bicubic → u8 [scale·H,scale·W,3]."""
    return _resize_axis(_resize_axis(image, 0, scale, 1), 1, scale, 1)


def _resize_axis(image: U8, axis: int, up: int, down: int) -> U8:
    """One axis of `image` [H,W,3] resized by up/down and rounded half up to 8 bits.

    Lines along it do not know of each other, so they are resized some at a time: in float64 an image takes much memory.
    """
    shape = list(image.shape)
    shape[axis] = shape[axis] * up // down
    resized = np.empty(shape, np.uint8)
    for start in range(0, image.shape[1 - axis], _LINES):
        lines = (slice(None), slice(start, start + _LINES))[:: 1 if axis == 0 else -1]
        resized[lines] = _resize_lines(image[lines], axis, up, down)
    return resized


def _resize_lines(image: U8, axis: int, up: int, down: int) -> U8:
    margin = _MARGIN * down
    padding = [(0, 0)] * 3
    padding[axis] = (margin, margin)
    padded = torch.from_numpy(np.pad(image, padding, mode="symmetric")).permute(2, 0, 1)[None]
    return np.ascontiguousarray(_resized(padded, 2 + axis, up, down)[0].permute(1, 2, 0).numpy())


def _mirrored(images_NCHW: Tensor, axis: int, margin: int) -> Tensor:
    places = np.pad(np.arange(images_NCHW.shape[axis]), margin, mode="symmetric")
    return images_NCHW.index_select(axis, torch.from_numpy(places).to(images_NCHW.device))


def _resized(padded_NCHW: Tensor, axis: int, up: int, down: int) -> Tensor:
    """Values in 0…255 with margins along an axis, resized along it and rounded half up to u8; without the margins."""
    margin, size = _MARGIN * down, [padded_NCHW.shape[2], padded_NCHW.shape[3]]
    side = (size[axis - 2] - 2 * margin) * up // down
    size[axis - 2] = size[axis - 2] * up // down
    resized = F.interpolate(padded_NCHW.double(), size=size, mode="bicubic", antialias=True, align_corners=False)
    inner = resized.narrow(axis, margin * up // down, side)
    return inner.clamp(0, 255).add(0.5).floor().to(torch.uint8)

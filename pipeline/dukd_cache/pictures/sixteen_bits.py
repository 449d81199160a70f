"""Pixels of 16 bits a channel, rounded to 8. Of several such channels Pillow keeps only the high bytes."""

import struct
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from dukd_cache.system.arrays import U8, U16

_PHOTOMETRIC, _SHORT, _RGB, _INKS = 262, 3, 2, 5
"""A tag of TIFF 6.0, its type and two of its values."""


def channels_of(content: bytes, tiff: bool, planes: bool) -> U16:
    """All channels u16 [H,W,C] of the content of a PNG or TIFF of 16 bits, as they lie there.

    Of a PNG a transparent colour makes one of alpha. `planes`: a TIFF holds one channel after another.

    Raises:
        Exception: whatever the decoder raises of bytes that it cannot make sense of.
    """
    import imagecodecs  # takes a while, and few have such files

    if tiff:
        # The decoder makes RGB of 8 bits of inks, and no such of 16: it is told that they are red, green and blue.
        entry = ("<" if content[:1] == b"I" else ">") + ("HHQH" if 43 in content[2:4] else "HHLH")
        inks, colours = (struct.pack(entry, _PHOTOMETRIC, _SHORT, 1, value) for value in (_INKS, _RGB))
        stored = np.asarray(imagecodecs.tiff_decode(content.replace(inks, colours, 1)))
    else:
        stored = np.asarray(imagecodecs.png_decode(content))
    if stored.ndim == 2:
        return stored[..., None]
    return np.moveaxis(stored, 0, -1) if planes else stored


def rgb_of_channels(values_HWC: U16, inks: bool) -> U8:
    """The pixels u8 [H,W,3] of grey or RGB, with alpha or without, or of CMYK."""
    if inks:
        return np.asarray(Image.fromarray(to_8_bits(values_HWC), "CMYK").convert("RGB"))
    height, width, count = values_HWC.shape
    return np.broadcast_to(to_8_bits(values_HWC[..., : 3 if count > 2 else 1]), (height, width, 3))


def to_8_bits(values: npt.NDArray[np.integer[Any]], depth: int = 16) -> U8:
    """Whole numbers of `depth` bits, up to 16, as 0…255, rounded: of 16 bits 257·k becomes k."""
    white = 2**depth - 1
    rounded: U8 = ((values.astype(np.uint32) * 255 + white // 2) // white).astype(np.uint8)
    return rounded

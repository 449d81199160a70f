"""JPEG XL files, which Pillow does not know, as images of 8 bits. The header is that of ISO/IEC 18181-1."""

from typing import IO

import numpy as np
from PIL import Image

from dukd_cache.pictures.sixteen_bits import to_8_bits

_CODESTREAM = b"\xff\x0a"
_CONTAINER = b"\x00\x00\x00\x0cJXL \x0d\x0a\x87\x0a"
_SIDE_BITS = (9, 13, 18, 30)
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
"""Width to height, for the numbers 1 to 7."""


def is_jpeg_xl(beginning: bytes) -> bool:
    """Of a file; 12 bytes of it are enough."""
    return beginning.startswith((_CODESTREAM, _CONTAINER))


def open_jpeg_xl(stream: IO[bytes], max_pixels: int) -> Image.Image:
    """The first frame, upright, 16 bits rounded to 8.

    Raises:
        ValueError: pixels that are no integers, or more than `max_pixels` of them by the header.
        Exception: whatever the decoder raises of bytes that it cannot make sense of.
    """
    import imagecodecs  # takes a while, and few have such files

    content = stream.read()
    width, height = _size(content)
    if width * height > max_pixels:
        raise ValueError(f"{width}×{height} are more than {max_pixels} pixels: cut it into parts")
    pixels = imagecodecs.jpegxl_decode(content, index=0)
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"expected 8 or 16 bits a channel, found {pixels.dtype}")
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    return Image.fromarray(to_8_bits(pixels) if pixels.dtype == np.uint16 else pixels)


def _size(content: bytes) -> tuple[int, int]:
    """Width and height, as they are stored."""
    bits = int.from_bytes(_codestream(content)[2:16], "little")

    def take(count: int) -> int:
        nonlocal bits
        value, bits = bits & ((1 << count) - 1), bits >> count
        return value

    small = take(1)

    def side() -> int:
        return (take(5) + 1) * 8 if small else take(_SIDE_BITS[take(2)]) + 1

    height = side()
    ratio = take(3)
    if not ratio:
        return side(), height
    over, under = _RATIOS[ratio - 1]
    return height * over // under, height


def _codestream(content: bytes) -> bytes:
    """Its beginning."""
    offset = 0 if content.startswith(_CONTAINER) else len(content)
    while len(head := content[offset : offset + 16]) >= 8:
        length, kind = int.from_bytes(head[:4]), head[4:8]
        start = offset + (16 if length == 1 else 8)
        if kind in (b"jxlc", b"jxlp"):
            return content[start + 4 * (kind == b"jxlp") :][:32]
        offset += {0: len(content), 1: int.from_bytes(head[8:])}.get(length, max(length, 8))
    return content[:32]

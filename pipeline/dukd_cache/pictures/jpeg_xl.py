"""JPEG XL files, which Pillow does not know, as images of 8 bits. The header is that of ISO/IEC 18181-1."""

from collections.abc import Sequence
from typing import IO

import numpy as np
from PIL import Image

from dukd_cache.pictures.sixteen_bits import to_8_bits

_CODESTREAM = b"\xff\x0a"
_CONTAINER = b"\x00\x00\x00\x0cJXL \x0d\x0a\x87\x0a"
_SIDES = ((1, 9), (1, 13), (1, 18), (1, 30))
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
"""Width to height, for the numbers 1 to 7."""
_ANIMATION = (
    ((100, 0), (1000, 0), (1, 10), (1, 30)),
    ((1, 0), (1001, 0), (1, 8), (1, 10)),
    ((0, 0), (0, 3), (0, 16), (0, 32)),
)
"""Ticks a second, their divisor, and loops."""
_DEPTHS = ((8, 0), (10, 0), (12, 0), (1, 6))
"""Of whole numbers; for each of four choices what is added to a number, and the bits of that. So above."""


def is_jpeg_xl(beginning: bytes) -> bool:
    """Of a file; 12 bytes of it are enough."""
    return beginning.startswith((_CODESTREAM, _CONTAINER))


def open_jpeg_xl(stream: IO[bytes], max_pixels: int) -> Image.Image:
    """The first frame, upright, of whatever depth, rounded to 8 bits.

    Raises:
        ValueError: pixels that are no integers of up to 16 bits, or more than `max_pixels` of them by the header.
        Exception: whatever the decoder raises of bytes that it cannot make sense of.
    """
    import imagecodecs  # takes a while, and few have such files

    content = stream.read()
    width, height, depth = _header(content)
    if width * height > max_pixels:
        raise ValueError(f"{width}×{height} are more than {max_pixels} pixels: cut it into parts")
    pixels = imagecodecs.jpegxl_decode(content, index=0)
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"expected up to 16 bits a channel, found {pixels.dtype}")
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    return Image.fromarray(pixels if depth == 8 else to_8_bits(pixels, depth))  # white of 10 bits is 1023


def _header(content: bytes) -> tuple[int, int, int]:
    """Width and height, as they are stored, and bits a channel where those are no floating point."""
    bits = int.from_bytes(_codestream(content)[2:], "little")

    def take(count: int) -> int:
        nonlocal bits
        value, bits = bits & ((1 << count) - 1), bits >> count
        return value

    def number(choices: Sequence[tuple[int, int]]) -> int:
        least, count = choices[take(2)]
        return least + take(count)

    def size() -> tuple[int, int]:
        small = take(1)

        def side() -> int:
            return (take(5) + 1) * 8 if small else number(_SIDES)

        height = side()
        if ratio := take(3):
            over, under = _RATIOS[ratio - 1]
            return height * over // under, height
        return side(), height

    width, height = size()
    if take(1):  # all else is as usual
        return width, height, 8
    if take(1):
        take(3)  # orientation
        if take(1):
            size()  # at which it is to be shown
        if take(1):
            raise ValueError("a preview before the image: save it without")
        if take(1):
            for choices in _ANIMATION:
                number(choices)
            take(1)
    return width, height, 0 if take(1) else number(_DEPTHS)


def _codestream(content: bytes) -> bytes:
    """Its beginning."""
    offset = 0 if content.startswith(_CONTAINER) else len(content)
    while len(head := content[offset : offset + 16]) >= 8:
        length, kind = int.from_bytes(head[:4]), head[4:8]
        start = offset + (16 if length == 1 else 8)
        if kind in (b"jxlc", b"jxlp"):
            return content[start + 4 * (kind == b"jxlp") :][:64]
        offset += {0: len(content), 1: int.from_bytes(head[8:])}.get(length, max(length, 8))
    return content[:64]

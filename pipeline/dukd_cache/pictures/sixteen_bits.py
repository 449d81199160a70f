"""Pixels of 16 bits a channel, rounded to 8. Pillow has no type for several such channels and keeps the high bytes.

Its decoders are told how bytes become pixels by a *raw mode*; one that names the other end of the number first gives
the low bytes. So the file is decoded twice, and nothing is lost.
"""

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

U8 = npt.NDArray[np.uint8]
U16 = npt.NDArray[np.uint16]


def rgb_of_16_bits(path: Path, formats: tuple[str, ...], mode: str, raw_mode: str) -> U8:
    """The pixels u8 [H,W,3] of a file of several channels, which Pillow opens with this mode and raw mode."""
    if raw_mode.startswith("LA"):  # as four channels of 8 bits: both bytes of grey, both of alpha
        bytes_HW4 = _as_raw(path, formats, "RGBA")
        grey_HW = to_8_bits(_joined(bytes_HW4[..., 0], bytes_HW4[..., 1]))
        return np.repeat(grey_HW[..., None], 3, axis=2)
    rounded = to_8_bits(channels_of_16_bits(path, formats, raw_mode))
    if mode == "CMYK":
        inks = Image.frombytes("CMYK", (rounded.shape[1], rounded.shape[0]), rounded.tobytes())
        return np.asarray(inks.convert("RGB"))
    return rounded[..., :3]


def channels_of_16_bits(path: Path, formats: tuple[str, ...], raw_mode: str) -> U16:
    """All channels u16 [H,W,C] of such a file, as they are stored."""
    kind, order = raw_mode[:-1], raw_mode[-1]
    big = order == "B" or (order == "N" and sys.byteorder == "big")
    even, odd = _as_raw(path, formats, f"{kind}B"), _as_raw(path, formats, f"{kind}L")
    return _joined(even, odd) if big else _joined(odd, even)


def _as_raw(path: Path, formats: tuple[str, ...], raw_mode: str) -> U8:
    """The pixels, their bytes taken for `raw_mode`, whatever the file says of them."""
    with path.open("rb") as stream, Image.open(stream, formats=formats) as image:
        image.tile = [
            tile._replace(args=raw_mode if isinstance(tile.args, str) else (raw_mode, *(tile.args or ())[1:]))
            for tile in image.tile
        ]
        image.load()
        return np.asarray(image)


def _joined(high: U8, low: U8) -> U16:
    return (high.astype(np.uint16) << np.uint16(8)) | low.astype(np.uint16)


def to_8_bits(values: U16) -> U8:
    """0…65535 → 0…255, rounded: 257·k becomes k."""
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def raw_mode_of(image: Image.Image) -> str:
    """How the file holds its pixels, as Pillow calls it: `RGB;16B` for 16 bits, big end first."""
    tiles = getattr(image, "tile", None)
    args = tiles[0].args if tiles else None
    return args if isinstance(args, str) else str(args[0]) if args else ""

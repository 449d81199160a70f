"""Pixels ↔ bytes of an image file, losslessly. The file suffix says how to read the bytes back."""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image

from dukd_cache.layout import Kind, Pixels
from dukd_cache.manifest import Codec


def encode(pixels: Pixels, codec: Codec) -> tuple[str, bytes]:
    """`pixels` [H,W,3] as (suffix, bytes). No image codec holds floating point: `.npy` does, whatever the codec."""
    buffer = io.BytesIO()
    if codec == "raw" or pixels.dtype != np.uint8:
        np.save(buffer, pixels, allow_pickle=False)
        return "npy", buffer.getvalue()
    if codec == "png":
        Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
        return "png", buffer.getvalue()
    # Quality and method are WebP's effort here, not its fidelity: the fastest is already smaller than PNG.
    Image.fromarray(pixels).save(buffer, "WEBP", lossless=True, quality=0, method=0)
    return "webp", buffer.getvalue()


def decode(suffix: str, content: bytes, kind: Kind) -> Pixels:
    """The pixels that `encode` was given, which are of `kind`.

    The header of `content` is compared with `kind` first: memory is taken for pixels of `kind` only.

    Raises:
        ValueError: the bytes are not of that kind.
    """
    if suffix not in _DECODERS:
        raise ValueError(f"unknown suffix {suffix!r:.20} (valid: {', '.join(_DECODERS)})")
    try:
        return _DECODERS[suffix](content, kind)
    except _REFUSALS as error:
        raise ValueError(str(error)) from error


def _decode_npy(content: bytes, kind: Kind) -> Pixels:
    # Compared, not parsed: numpy's own parser is made for files one trusts. Source: numpy.lib.format, version 1.0.
    dtype = np.dtype(kind.dtype).newbyteorder("<")
    header = f"{{'descr': '{dtype.str}', 'fortran_order': False, 'shape': {kind.shape}, }}".encode()
    start = 10 + int.from_bytes(content[8:10], "little")
    if content[:8] != b"\x93NUMPY\x01\x00":
        raise ValueError("not version 1.0 of .npy")
    if content[10:start].strip() != header:
        raise ValueError(f"expected {header!r}, found {content[10:start].strip()!r:.100}")
    if len(content) - start != kind.nbytes:
        raise ValueError(f"expected {kind.nbytes} bytes of pixels, found {len(content) - start}")
    pixels: Pixels = np.frombuffer(content, dtype, offset=start).reshape(kind.shape).astype(kind.dtype, copy=False)
    return pixels


def _decode_png(content: bytes, kind: Kind) -> Pixels:
    return _decode_image("PNG", content, kind)


def _decode_webp(content: bytes, kind: Kind) -> Pixels:
    # Pillow's decoder takes memory for the canvas as soon as it is opened: the size is read here, by the
    # "WebP Lossless Bitstream Specification", section 3. Anything but one plain lossless image is refused.
    if content[:4] != b"RIFF" or content[8:16] != b"WEBPVP8L" or content[20:21] != b"\x2f":
        raise ValueError("not a plain lossless WebP image")
    bits = int.from_bytes(content[21:25], "little")
    _same_size((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, kind)
    return _decode_image("WEBP", content, kind)


_REFUSALS = (OSError, EOFError, SyntaxError, Image.DecompressionBombError)
"""How Pillow says no, besides ValueError."""

_DECODERS: dict[str, Callable[[bytes, Kind], Pixels]] = {
    "webp": _decode_webp,
    "png": _decode_png,
    "npy": _decode_npy,
}


def _decode_image(name: str, content: bytes, kind: Kind) -> Pixels:
    with Image.open(io.BytesIO(content), formats=[name]) as image:
        _same_size(image.width, image.height, kind)
        if image.mode != "RGB" or kind.dtype != "uint8":
            raise ValueError(f"expected {kind.dtype} RGB, found an image of mode {image.mode}")
        return np.asarray(image)


def _same_size(width: int, height: int, kind: Kind) -> None:
    if (width, height) != (kind.side, kind.side):
        raise ValueError(f"expected {kind.side}×{kind.side} pixels, found {width}×{height}")

"""Pixels ↔ bytes, losslessly. The file suffix says how to read the bytes back."""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from dukd_cache.manifest import Codec

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.float16]


def encode(pixels: Pixels, codec: Codec) -> tuple[str, bytes]:
    """`pixels` [H,W,3] as (suffix, bytes). No image codec holds float16: it is stored as `.npy` whatever the codec."""
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


def decode(suffix: str, content: bytes) -> Pixels:
    """The pixels that `encode` was given: u8 or f16 [H,W,3].

    Raises:
        ValueError, OSError: the bytes are not of that kind.
    """
    if suffix == "npy":
        pixels: Pixels = np.load(io.BytesIO(content), allow_pickle=False)
        return pixels
    with Image.open(io.BytesIO(content), formats=[suffix]) as image:
        return np.asarray(image)

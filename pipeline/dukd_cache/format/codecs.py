"""Pixels ↔ bytes, losslessly: every codec, and which store has it. A new one is one more line of `CODECS`."""

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from dukd_cache.format.record import Array, Pixels
from dukd_cache.system.errors import SettingError, unknown_name

if TYPE_CHECKING:
    import numpy.typing as npt


@dataclass(frozen=True)
class Codec:
    """A way to write pixels."""

    suffix: str
    """Of a file that holds them."""
    library: str
    """Whose version the bytes depend on."""
    encode: Callable[[Pixels, bool], bytes]
    """From pixels [H,W,3]; the second says that they are smooth, as a network's answers are, and worth more time."""
    decode: Callable[[bytes, Array], Pixels]
    """The pixels that `encode` was given. The header of the bytes is compared with the array that is expected first:
    memory is taken for that only. Call it through `decode`."""
    floats: bool = True
    """Whether it holds floating point; where not, the store's `raw` does."""
    zarr: Callable[[Array], list[dict[str, Any]]] = lambda _array: []
    """What Zarr's metadata say of it, after the codec `bytes`."""


_REFUSALS = (ValueError, OSError, EOFError, SyntaxError, RuntimeError)
"""How Pillow, imagecodecs, numcodecs and the functions here say no."""


def choose_codec(store: str, name: str | None) -> str:
    """`name`, or the store's default: its first.

    Raises:
        SettingError: the store cannot compress with it, or there is no such store.
    """
    if store not in CODECS:
        raise SettingError(unknown_name("store", store, CODECS))
    if name is None:
        return next(iter(CODECS[store]))
    if name not in CODECS[store]:
        raise SettingError(f"`store={store}` has {', '.join(CODECS[store])}", f"`codec={name}`")
    return name


def decode(codec: Codec, content: bytes, array: Array) -> Pixels:
    """The pixels in `content`, which are of the kind `array`.

    Raises:
        ValueError: they are not.
    """
    try:
        return codec.decode(content, array)
    except _REFUSALS as error:
        raise ValueError(str(error)) from error


def _same_size(width: int, height: int, array: Array) -> None:
    if (width, height) != (array.side, array.side):
        raise ValueError(f"expected {array.side}×{array.side} pixels, found {width}×{height}")


def _rgb8(mode: str, array: Array) -> None:
    if mode != "RGB" or array.dtype != "uint8":
        raise ValueError(f"expected {array.dtype} RGB, found an image of mode {mode}")


# WebP, method 1 for what is smooth: that takes 13 % off a network's answers and 5 % off photographs, in 2.5 times the
# time of method 0. Both are decoded in the same time.


def _to_webp(pixels: Pixels, smooth: bool) -> bytes:
    import imagecodecs  # these libraries wait until a record is written or read: the words of a command need none
    import numpy as np

    contiguous = np.ascontiguousarray(pixels)
    return bytes(imagecodecs.webp_encode(contiguous, level=0, lossless=True, method=int(smooth)))


def _from_webp(content: bytes, array: Array) -> Pixels:
    import imagecodecs

    # A decoder takes memory for what a header says: the size is read here first, by the "WebP Lossless Bitstream
    # Specification", section 3. Anything but one plain lossless image is refused.
    if content[:4] != b"RIFF" or content[8:16] != b"WEBPVP8L" or content[20:21] != b"\x2f":
        raise ValueError("not a plain lossless WebP image")
    bits = int.from_bytes(content[21:25], "little")
    _same_size((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, array)
    pixels: Pixels = imagecodecs.webp_decode(content)  # in two thirds of the time that Pillow takes
    if pixels.shape != array.shape or array.dtype != "uint8":
        raise ValueError(f"expected {array.dtype} RGB, found {pixels.shape[-1]} channels of uint8")
    return pixels


def _to_png(pixels: Pixels, _smooth: bool) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _from_png(content: bytes, array: Array) -> Pixels:
    import numpy as np
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            _same_size(image.width, image.height, array)
            _rgb8(image.mode, array)
            return np.asarray(image)
    except Image.DecompressionBombError as error:
        raise ValueError(str(error)) from error


def _to_npy(pixels: Pixels, _smooth: bool) -> bytes:
    return _npy_head(pixels.dtype.str, pixels.shape) + pixels.tobytes()


@lru_cache(maxsize=64)
def _npy_head(dtype: str, shape: tuple[int, ...]) -> bytes:
    import numpy as np

    empty, buffer = np.zeros(shape, dtype), io.BytesIO()
    np.save(buffer, empty, allow_pickle=False)
    return buffer.getvalue()[: -empty.nbytes]


def _from_npy(content: bytes, array: Array) -> Pixels:
    import numpy as np

    # Compared, not parsed: numpy's own parser is made for files one trusts. Source: numpy.lib.format, version 1.0.
    dtype = np.dtype(array.dtype).newbyteorder("<")
    header = f"{{'descr': '{dtype.str}', 'fortran_order': False, 'shape': {array.shape}, }}".encode()
    start = 10 + int.from_bytes(content[8:10], "little")
    if content[:8] != b"\x93NUMPY\x01\x00":
        raise ValueError("not version 1.0 of .npy")
    if content[10:start].strip() != header:
        raise ValueError(f"expected {header!r}, found {content[10:start].strip()!r:.100}")
    return _from_raw(content[start:], array)


def _to_raw(pixels: Pixels, _smooth: bool) -> bytes:
    return _little(pixels).tobytes()


def _from_raw(content: bytes | bytearray, array: Array) -> Pixels:
    import numpy as np

    if len(content) != array.nbytes:
        raise ValueError(f"expected {array.nbytes} bytes of pixels, found {len(content)}")
    pixels: Pixels = np.frombuffer(content, np.dtype(array.dtype).newbyteorder("<")).reshape(array.shape)
    return pixels.astype(array.dtype, copy=False)


def _little(pixels: Pixels) -> "npt.NDArray[Any]":
    import numpy as np

    return np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<"))


_COMPRESSOR, _LEVEL = "zstd", 3
_BLOSC_HEADER = struct.Struct("<BBBBIII")
"""Version, version of the compressor, flags, type's size, bytes, bytes of a block, compressed bytes."""


def _to_blosc(pixels: Pixels, _smooth: bool) -> bytes:
    from numcodecs import blosc

    # One block a chunk: nothing is left to the number of threads, so equal pixels give equal bytes.
    content = _little(pixels)
    found: bytes = blosc.compress(content, _COMPRESSOR.encode(), _LEVEL, blosc.BITSHUFFLE, content.nbytes)
    return found


def _from_blosc(content: bytes, array: Array) -> Pixels:
    from numcodecs import blosc

    if len(content) < _BLOSC_HEADER.size:
        raise ValueError(f"{len(content)} bytes are no Blosc chunk")
    *_, length, _, compressed = _BLOSC_HEADER.unpack_from(content)
    if (length, compressed) != (array.nbytes, len(content)):
        raise ValueError(
            f"expected {array.nbytes} bytes of pixels in {len(content)} bytes, found {length} in {compressed}"
        )
    pixels = bytearray(array.nbytes)
    blosc.decompress(content, pixels)
    return _from_raw(pixels, array)


def _blosc_in_zarr(array: Array) -> list[dict[str, Any]]:
    import numpy as np

    settings = {
        "cname": _COMPRESSOR,
        "clevel": _LEVEL,
        "shuffle": "bitshuffle",
        "typesize": np.dtype(array.dtype).itemsize,
        "blocksize": array.nbytes,
    }
    return [{"name": "blosc", "configuration": settings}]


CODECS: dict[str, dict[str, Codec]] = {
    "webdataset": {
        "webp": Codec("webp", "imagecodecs", _to_webp, _from_webp, floats=False),
        "png": Codec("png", "imagecodecs", _to_png, _from_png, floats=False),
        "raw": Codec("npy", "imagecodecs", _to_npy, _from_npy),
    },
    "zarr": {
        "blosc": Codec("", "numcodecs", _to_blosc, _from_blosc, zarr=_blosc_in_zarr),
        "raw": Codec("", "numcodecs", _to_raw, _from_raw),
    },
}
"""What each store can write with; the first is its default."""

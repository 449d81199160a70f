"""An image file → upright RGB of 8 bits, or one line that says why not. What is done with what: docs/images.md.

Only PNG, JPEG, WebP, TIFF, BMP, AVIF and JPEG XL are tried, whatever a file's name ends with: Pillow has other
decoders, but some of them run other programs.
"""

import hashlib
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile
from PIL.PngImagePlugin import PngImageFile

from dukd_cache.pictures.jpeg_xl import is_jpeg_xl, open_jpeg_xl
from dukd_cache.pictures.png_chunks import late_facts
from dukd_cache.pictures.sixteen_bits import channels_of, rgb_of_channels
from dukd_cache.system.arrays import U8, U16
from dukd_cache.system.errors import ImageError

MAX_PIXELS = 178_956_970
"""An image whose header claims more is not decoded: Pillow's own limit, half a gigabyte of RGB."""

FORMATS = ("BMP", "JPEG", "PNG", "TIFF", "WEBP") + ("AVIF",) * (find_spec("PIL._avif") is not None)

_BEGINNINGS = {
    b"\x89PNG": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"RIFF": "WebP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"BM": "BMP",
}

_8_BIT_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"})
SIXTEEN_BIT_GREY = frozenset({"I;16", "I;16B", "I;16L", "I;16N"})

_ORIENTATION = 0x0112
_TURNED: dict[int, Callable[[Any], Any]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: pixels.swapaxes(0, 1)[:, ::-1],
    7: lambda pixels: pixels.swapaxes(0, 1)[::-1, ::-1],
    8: lambda pixels: pixels.swapaxes(0, 1)[::-1],
}
"""EXIF orientation (tag 0x0112) → what turns [H,W,…] upright."""

_FIRST_SIDEWAYS = 5
"""EXIF orientations 5 to 8 lie on their side."""

_BITS, _PHOTOMETRIC, _PLANES, _TILE_WIDTH, _TILE_HEIGHT, _EXTRA_SAMPLES, _SAMPLE_FORMAT = (
    258,
    262,
    284,
    322,
    323,
    338,
    339,
)
"""Tags of TIFF 6.0."""

_WHITE_IS_0, _SEPARATE, _MULTIPLIED = 0, 2, 1
"""Values of three of them: of grey; each channel lies by itself; colours are multiplied by alpha."""

# What Pillow warns of (odd metadata, large images) the user of a cache can neither see nor mend.
warnings.filterwarnings("ignore", module=r"PIL\.")


def read_size(path: Path) -> tuple[int, int]:
    """Width and height of an image, upright, from its header; no pixel is decoded.

    Raises:
        ImageError: the file cannot be read, is no image of a known kind, or its pixels cannot become RGB of 8 bits.
    """
    with opened(path) as image:
        return _upright_size(image)


def read_rgb(path: Path, sha256: str = "") -> U8:
    """The pixels of an image file, u8 [H,W,3]: upright, grey repeated to RGB, alpha dropped, 16 bits rounded to 8.

    Args:
        sha256: of the file when it was identified; empty: whatever it holds will do.

    Raises:
        ImageError: as `read_size`, or the file is truncated, damaged, or another than was identified.
    """
    with opened(path, sha256) as image:
        width, height = _upright_size(image)
        orientation = orientation_of(image)
        if (channels := deep_channels(image)) is not None:
            pixels = rgb_of_channels(channels, image.mode == "CMYK")
        else:
            image.load()  # before its pixels are looked at: Pillow turns a TIFF, and its size, while it loads
            image.info.pop("transparency", None)
            pixels = np.asarray(image.convert("RGB"))
    pixels = np.ascontiguousarray(upright(pixels, orientation))
    if pixels.shape != (height, width, 3):
        raise ImageError(f"not a readable image (its header says {width}×{height}, its content is another)", path)
    return pixels


@contextmanager
def opened(path: Path, sha256: str = "") -> Iterator[Image.Image]:
    """The image with its header read; whatever goes wrong in the block becomes an `ImageError`.

    With a hash, the very bytes that are decoded are those that were hashed.
    """
    try:
        if not path.is_file():
            raise ImageError(_no_file(path), path)
        # From a stream: given a name, Pillow maps files into memory, and maps sideways TIFF wrongly.
        with _unchanged(path, sha256) if sha256 else path.open("rb") as stream, _open(stream) as image:
            if reason := _refusal(image):
                raise ImageError(reason, path)
            yield image
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"not a readable image ({_looks_like(path)})", path) from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"more than {MAX_PIXELS} pixels: cut it into parts", path) from error
    except MemoryError as error:
        raise ImageError("out of memory", path) from error
    except Exception as error:  # decoders raise anything of bytes that they cannot make sense of
        if isinstance(error, OSError) and error.errno:
            raise ImageError(f"cannot be read ({error.strerror})", path) from error
        raise ImageError(f"unreadable or truncated image ({_one_line(error)})", path) from error


def _unchanged(path: Path, sha256: str) -> IO[bytes]:
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ImageError("changed since it was identified", path, "run the same command again")
    return BytesIO(content)


def _open(stream: IO[bytes]) -> Image.Image:
    beginning = stream.read(12)
    stream.seek(0)
    if is_jpeg_xl(beginning):
        return open_jpeg_xl(stream, MAX_PIXELS)
    return Image.open(stream, formats=FORMATS)


def _refusal(image: Image.Image) -> str | None:
    """Why the pixels are not decoded, or None."""
    if image.width * image.height > MAX_PIXELS:
        return f"{image.width}×{image.height} are more than {MAX_PIXELS} pixels: cut it into parts"
    if image.mode == "F":
        return "floating-point pixels, whose range nobody knows: save it with 8 or 16 bits a channel"
    if image.format == "TIFF" and (reason := _refusal_of_tiff(image)):
        return reason
    if image.mode == "LAB":
        return "LAB colours: save it as RGB"
    if image.mode not in _8_BIT_MODES | SIXTEEN_BIT_GREY:
        return f"expected 8 or 16 bits a channel, found Pillow's mode {image.mode}"
    return None


def _refusal_of_tiff(image: Image.Image) -> str | None:
    """TIFF can hold what Pillow opens and reads wrongly, or in tiles larger than memory."""
    if (_tag(image, _TILE_WIDTH) or 0) * (_tag(image, _TILE_HEIGHT) or 0) > MAX_PIXELS:
        return f"tiles of {_tag(image, _TILE_WIDTH)}×{_tag(image, _TILE_HEIGHT)} pixels"
    bits, formats = _tags(image, _BITS) or (1,), _tags(image, _SAMPLE_FORMAT) or (1,)
    if any(kind != 1 for kind in formats):
        return "expected unsigned integers as pixels, found others: save it with 8 or 16 bits a channel"
    if any(depth > 8 and depth != 16 for depth in bits):
        return f"expected 8 or 16 bits a channel, found {max(bits)}"
    if 16 in bits and _MULTIPLIED in _tags(image, _EXTRA_SAMPLES):
        return "16 bits a channel, multiplied by alpha: save it with plain alpha"
    return None


def deep_channels(image: Image.Image) -> U16 | None:
    """All channels u16 [H,W,C] of a file of 16 bits, lying as Pillow gives pixels, 0 black; None for other files.

    `image` is opened and not loaded; of a file of 16 bits it cannot be loaded any more.
    """
    tiff = image.format == "TIFF"
    stream = image.fp if isinstance(image, ImageFile) else None
    if stream is None or not (
        16 in _tags(image, _BITS) if tiff else image.format == "PNG" and ";16" in raw_mode_of(image)
    ):
        return None
    stream.seek(0)
    channels = channels_of(stream.read(), tiff, planes=_tag(image, _PLANES) == _SEPARATE)
    if tiff and _tag(image, _PHOTOMETRIC) == _WHITE_IS_0:
        channels = 65535 - channels
    return upright(channels, _tag(image, _ORIENTATION) or 1)


def raw_mode_of(image: Image.Image) -> str:
    """How a file that is not loaded holds its pixels, as Pillow calls it: `RGB;16B` for 16 bits, big end first."""
    tiles = getattr(image, "tile", None)
    args = tiles[0].args if tiles else None
    return args if isinstance(args, str) else str(args[0]) if args else ""


def _upright_size(image: Image.Image) -> tuple[int, int]:
    sideways = orientation_of(image) >= _FIRST_SIDEWAYS
    return (image.height, image.width) if sideways else (image.width, image.height)


def upright(pixels_HWC: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    return _TURNED[orientation](pixels_HWC) if orientation in _TURNED else pixels_HWC


def orientation_of(image: Image.Image) -> int:
    """How the pixels lie that Pillow will give: 1 is upright."""
    if image.format == "TIFF":
        return 1  # turned by Pillow, size and pixels
    try:
        if isinstance(image, PngImageFile):
            for key, value in late_facts(image.fp).items() if image.fp else ():
                image.info.setdefault(key, value)
            found = Image.Image.getexif(image).get(_ORIENTATION, 1)  # PNG's own would decode the pixels first
        else:
            found = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged metadata of good pixels: every viewer shows them as they are stored
        return 1
    return found if found in _TURNED else 1


def _tags(image: Image.Image, tag: int) -> tuple[int, ...]:
    value: Any = getattr(image, "tag_v2", {}).get(tag, ())
    return value if isinstance(value, tuple) else (value,)


def _tag(image: Image.Image, tag: int) -> int | None:
    return next(iter(_tags(image, tag)), None)


def _no_file(path: Path) -> str:
    if path.is_symlink() and not path.exists():
        return "a link to nothing"
    return "not a file" if path.exists() else "no such image"


def _looks_like(path: Path) -> str:
    with path.open("rb") as stream:
        beginning = stream.read(12)
    if not beginning:
        return "an empty file"
    if beginning[4:11] == b"ftypavi":
        return "begins like AVIF, but is damaged or of a kind that Pillow does not know (it knows AVIF from 11.3 on)"
    beginning = beginning[:8]
    for start, kind in _BEGINNINGS.items():
        if beginning.startswith(start):
            return f"begins like {kind}, but is damaged or of a kind that Pillow does not know"
    return f"expected PNG, JPEG, WebP, TIFF, BMP, AVIF or JPEG XL, found a file that begins with {beginning!r}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__

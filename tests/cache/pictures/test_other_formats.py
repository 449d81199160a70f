"""AVIF and JPEG XL, and orientations that PNGs tell late."""

import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image, features
from tests.cache.samples import photo, png_chunk

from dukd_cache.pictures import decode
from dukd_cache.pictures.decode import read_rgb, read_size
from dukd_cache.pictures.extras import read_extras
from dukd_cache.system.errors import ImageError

XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>"""


def jpeg_xl(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    path.write_bytes(imagecodecs.jpegxl_encode(pixels, lossless=True, **options))
    return path


@pytest.mark.parametrize("options", [{}, {"usecontainer": True}])
@pytest.mark.parametrize(("width", "height"), [(16, 8), (9, 7), (40, 30), (300, 200), (640, 512)])
def test_jpeg_xl(tmp_path: Path, width: int, height: int, options: dict[str, Any]) -> None:
    path = jpeg_xl(tmp_path / "x.jxl", photo(width, height), **options)
    assert read_size(path) == (width, height)
    assert np.array_equal(read_rgb(path), photo(width, height))


@pytest.mark.parametrize(("channels", "grey"), [(1, True), (2, True), (3, False), (4, False)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_jpeg_xl_of_every_kind(tmp_path: Path, channels: int, grey: bool, dtype: type) -> None:
    pixels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (7, 9, channels), dtype, endpoint=True)
    path = jpeg_xl(tmp_path / "x.jxl", pixels[..., 0] if channels == 1 else pixels)
    rounded = pixels if dtype == np.uint8 else ((pixels.astype(int) + 128) // 257).astype(np.uint8)
    assert np.array_equal(read_rgb(path), np.broadcast_to(rounded[..., : 1 if grey else 3], (7, 9, 3)))
    extras = read_extras(path)
    assert extras.grey == grey
    assert (extras.alpha is not None) == (channels in (2, 4))


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("depth", [1, 4, 8, 10, 12, 14, 16])
def test_jpeg_xl_of_every_depth_has_whites(tmp_path: Path, depth: int, frames: int) -> None:
    """The decoder leaves values in their own range."""
    dtype, white = np.uint8 if depth <= 8 else np.uint16, 2**depth - 1
    pixels = np.linspace(0, white, 40 * 30 * 3).round().astype(dtype).reshape(30, 40, 3)
    animated = np.stack([pixels, *[pixels // 2] * (frames - 1)]) if frames > 1 else pixels
    path = jpeg_xl(tmp_path / "x.jxl", animated, bitspersample=depth, usecontainer=frames > 1, photometric="rgb")
    assert read_size(path) == (40, 30)
    assert np.abs(read_rgb(path) - pixels.astype(float) * 255 / white).max() <= 0.5


def test_bad_jpeg_xl_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = jpeg_xl(tmp_path / "x.jxl", photo(40, 30))
    whole = path.read_bytes()
    for content in (whole[:3], whole[:20], whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(ImageError, match=r"x\.jxl: .*readable") as told:
            read_rgb(path)
        assert "\n" not in str(told.value)
    jpeg_xl(path, np.zeros((8, 8, 3), np.float32))
    with pytest.raises(ImageError, match="expected up to 16 bits a channel, found float32"):
        read_rgb(path)
    path.write_bytes(whole)
    monkeypatch.setattr(decode, "MAX_PIXELS", 1000)
    monkeypatch.setattr(imagecodecs, "jpegxl_decode", lambda *_args, **_options: pytest.fail("decoded"))
    with pytest.raises(ImageError, match="40×30 are more than 1000 pixels"):
        read_size(path)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_avif(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(photo(48, 32)).save(tmp_path / "x.avif", quality=95, exif=exif)
    upright = np.rot90(photo(48, 32), {1: 0, 3: 2, 6: 3}[orientation])
    assert read_size(tmp_path / "x.avif") == upright.shape[1::-1]
    assert np.abs(read_rgb(tmp_path / "x.avif").astype(int) - upright).mean() < 6
    content = (tmp_path / "x.avif").read_bytes()
    for length in (14, 100, len(content) - 200):
        (tmp_path / "x.avif").write_bytes(content[:length])
        with pytest.raises(ImageError, match=r"x\.avif: .*readable"):
            read_rgb(tmp_path / "x.avif")


LATE = {
    "XMP": png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP.encode()),
    "compressed XMP": png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0en\0\0" + zlib.compress(XMP.encode())),
    "raw EXIF": png_chunk(
        b"zTXt",
        b"Raw profile type exif\0\0"
        + zlib.compress(b"\nexif\n26\n" + b"MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0".hex().encode()),
    ),
}


@pytest.mark.parametrize("kind", LATE)
@pytest.mark.parametrize("late", [True, False])
def test_an_orientation_of_a_png_counts_wherever_it_is_told(tmp_path: Path, kind: str, late: bool) -> None:
    Image.fromarray(photo(24, 16)).save(tmp_path / "x.png")
    content = (tmp_path / "x.png").read_bytes()
    place = len(content) - 12 if late else 33
    (tmp_path / "x.png").write_bytes(content[:place] + LATE[kind] + content[place:])
    assert read_size(tmp_path / "x.png") == (16, 24)
    assert np.array_equal(read_rgb(tmp_path / "x.png"), np.rot90(photo(24, 16), 3))
    for spoilt in (LATE[kind][:-20], LATE[kind].replace(b"\0", b"")):
        (tmp_path / "x.png").write_bytes(content[:-12] + spoilt + content[-12:])
        assert read_size(tmp_path / "x.png") in ((24, 16), (16, 24))

"""One image file into a larger one: every kind of pixels, against a network that repeats them."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch.nn.functional as F
from PIL import Image, ImageCms
from tests.cache.samples import png_chunk
from tests.train.nearest import Nearest
from torch import Tensor

from dukd_cache.pictures.sources import read_rgb
from dukd_cache.system.errors import ImageError
from dukd_train.using.pictures import upscale_file

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def levels(channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (12, 9, channels), dtype=np.uint8)


def twice(pixels: np.ndarray) -> np.ndarray:
    return pixels.repeat(2, axis=0).repeat(2, axis=1)


def enlarged(image: Image.Image, folder: Path, target: str = "out.png", **options: Any) -> Image.Image:
    image.save(folder / "in.png", **options)
    upscale_file(Nearest(), folder / "in.png", folder / target)
    with Image.open(folder / target) as found:
        found.load()
        return found


@pytest.mark.parametrize("target", ["out.png", "out.webp", "out.tif", "out.TIFF", "out.bmp"])
def test_formats_that_lose_nothing(tmp_path: Path, target: str) -> None:
    found = enlarged(Image.fromarray(levels()), tmp_path, target)
    assert found.mode == "RGB"
    assert np.array_equal(np.asarray(found), twice(levels()))


def test_jpeg_is_near(tmp_path: Path) -> None:
    smooth = np.add.outer(np.arange(12), np.arange(9))[..., None].astype(np.uint8) * np.array([9, 5, 3], np.uint8)
    found = enlarged(Image.fromarray(smooth), tmp_path, "out.jpg")
    assert found.format == "JPEG"
    assert np.abs(np.asarray(found).astype(int) - twice(smooth)).mean() < 3


@pytest.mark.parametrize("mode", ["L", "1"])
def test_grey_stays_grey(tmp_path: Path, mode: str) -> None:
    grey = Image.fromarray(levels()).convert(mode)
    found = enlarged(grey, tmp_path)
    assert found.mode == "L"
    assert np.array_equal(np.asarray(found), twice(np.asarray(grey.convert("L"))))


def test_palettes_become_colours(tmp_path: Path) -> None:
    palette = Image.fromarray(levels()).quantize(16)
    found = enlarged(palette, tmp_path)
    assert np.array_equal(np.asarray(found), twice(np.asarray(palette.convert("RGB"))))


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    deep = levels(1)[..., 0].astype(np.uint16) * 257
    assert np.array_equal(np.asarray(enlarged(Image.fromarray(deep), tmp_path)), twice(levels(1)[..., 0]))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("target", ["out.png", "out.tif", "out.webp"])
def test_transparency_goes_through_the_network(tmp_path: Path, mode: str, target: str) -> None:
    image = Image.fromarray(levels(4)).convert(mode)
    found = enlarged(image, tmp_path, target).convert("RGBA")
    expected = twice(np.asarray(image.convert("RGBA")))
    assert np.array_equal(np.asarray(found)[..., 3], expected[..., 3])
    seen = expected[..., 3] >= 16  # of what is fainter, colours are those nearby
    assert np.array_equal(np.asarray(found)[seen], expected[seen])


def test_opaque_images_are_asked_once_and_stay_opaque(tmp_path: Path) -> None:
    pixels = levels(4)
    pixels[..., 3] = 255
    Image.fromarray(pixels).save(tmp_path / "in.png")
    network = Nearest()
    upscale_file(network, tmp_path / "in.png", tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as found:
        assert np.array_equal(np.asarray(found), twice(pixels))
    assert len(network.asked) == 1


DISC = (np.add.outer((np.arange(24) - 11.3) ** 2, (np.arange(20) - 9.6) ** 2) < 60).astype(np.uint8)
"""What is seen; around it is nothing."""


def coloured(hidden: int, dtype: type = np.uint8) -> np.ndarray:
    """A red disc with colours of level `hidden` where nobody sees them."""
    pixels = np.full((*DISC.shape, 4), hidden, dtype)
    pixels[DISC == 1] = (255, 0, 0, 255)
    pixels[..., 3] = 255 * DISC
    return pixels * dtype(257) if dtype is np.uint16 else pixels


def png(samples: np.ndarray, kind: int, key: bytes = b"", bits: int = 0) -> bytes:
    """Written by hand (W3C PNG, 11.2 and 11.3.1.1): of 16 bits, or a transparent colour, or few bits."""
    height, width = samples.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, bits or 8 * samples.itemsize, kind, 0, 0, 0)
    rows = samples.astype(samples.dtype.newbyteorder(">")).reshape(height, -1)
    lines = [(np.packbits(np.unpackbits(row[:, None], axis=1)[:, -bits:]) if bits else row).tobytes() for row in rows]
    parts = [(b"IHDR", header), *([(b"tRNS", key)] if key else []), (b"IDAT", zlib.compress(b"\0" + b"\0".join(lines)))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*part) for part in (*parts, (b"IEND", b"")))


def palette(hidden: int) -> bytes:
    image = Image.fromarray(1 - DISC)
    image.putpalette([255, 0, 0, hidden, hidden, hidden])
    buffer = io.BytesIO()
    image.save(buffer, "PNG", transparency=bytes([255, 0]))
    return buffer.getvalue()


def grey(dtype: type) -> np.ndarray:
    return np.dstack([200 * DISC, 255 * DISC]).astype(dtype) * dtype(257 if dtype is np.uint16 else 1)


def colours(dtype: type, step: int) -> np.ndarray:
    """Red, and a colour key that differs from it in each channel."""
    return np.where(DISC[..., None] == 1, np.array([255, 0, 0]) * step, np.array([3, 2, 1])).astype(dtype)


TRANSPARENT: dict[str, tuple[bytes, tuple[int, int, int]]] = {
    "RGBA": (png(coloured(0), 6), (255, 0, 0)),
    "RGBA, white": (png(coloured(255), 6), (255, 0, 0)),
    "RGBA, 16 bits": (png(coloured(0, np.uint16), 6), (255, 0, 0)),
    "LA": (png(grey(np.uint8), 4), (200, 200, 200)),
    "LA, 16 bits": (png(grey(np.uint16), 4), (200, 200, 200)),
    "palette": (palette(0), (255, 0, 0)),
    "RGB key": (png(colours(np.uint8, 1), 2, struct.pack(">3H", 3, 2, 1)), (255, 0, 0)),
    "RGB key, 16 bits": (png(colours(np.uint16, 257), 2, struct.pack(">3H", 3, 2, 1)), (255, 0, 0)),
    "L key": (png(200 * DISC, 0, struct.pack(">H", 0)), (200, 200, 200)),
    "L key, 16 bits": (png(DISC.astype(np.uint16) * 51400, 0, struct.pack(">H", 0)), (200, 200, 200)),
    "L key, 4 bits": (png(7 * (1 - DISC) + 3 * DISC, 0, struct.pack(">H", 7), bits=4), (51, 51, 51)),
    "L key, 1 bit": (png(DISC, 0, struct.pack(">H", 0), bits=1), (255, 255, 255)),
}


class Blurring(Nearest):
    """Mixes each pixel with those around it, as networks do."""

    def __call__(self, image_NCHW: Tensor) -> Tensor:
        return F.avg_pool2d(super().__call__(image_NCHW), 9, stride=1, padding=4, count_include_pad=False)


@pytest.mark.parametrize("kind", TRANSPARENT)
def test_colours_that_nobody_sees_do_not_reach_those_that_are_seen(tmp_path: Path, kind: str) -> None:
    content, colour = TRANSPARENT[kind]
    (tmp_path / "in.png").write_bytes(content)
    upscale_file(Blurring(), tmp_path / "in.png", tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as found:
        assert found.mode == ("LA" if len({*colour}) == 1 else "RGBA")
        pixels = np.asarray(found.convert("RGBA")).astype(int)
    seen = pixels[..., 3] > 0
    assert 0.2 < seen.mean() < 0.8
    assert np.abs(pixels[seen][:, :3] - colour).max() <= 1


def test_hidden_colours_of_a_picture_without_any_other_stay(tmp_path: Path) -> None:
    pixels = levels(4)
    pixels[..., 3] = 0
    found = enlarged(Image.fromarray(pixels), tmp_path)
    assert np.array_equal(np.asarray(found), twice(pixels))


def test_sixteen_bits_of_grey_with_alpha_stay_grey(tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(0, 65536, (12, 9, 2), np.uint16)
    (tmp_path / "in.png").write_bytes(png(values, 4))
    upscale_file(Nearest(), tmp_path / "in.png", tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as found:
        assert found.mode == "LA"


@pytest.mark.parametrize("name", ["out.jfif", "out.JPE", "out.apng"])
def test_other_names_of_plain_formats(tmp_path: Path, name: str) -> None:
    found = enlarged(Image.fromarray(levels()), tmp_path, name)
    assert found.format == ("PNG" if name.endswith("png") else "JPEG")


@pytest.mark.parametrize("target", ["out.jpg", "out.bmp"])
def test_formats_without_transparency_are_refused(tmp_path: Path, target: str) -> None:
    with pytest.raises(ImageError, match=r"in\.png: (JPEG|BMP) holds no transparency"):
        enlarged(Image.fromarray(levels(4)), tmp_path, target)
    assert not (tmp_path / target).exists()


def test_orientation_is_applied_once(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    found = enlarged(Image.fromarray(levels()), tmp_path, exif=exif)
    assert found.getexif().get(0x0112, 1) == 1
    assert np.array_equal(np.asarray(found), twice(read_rgb(tmp_path / "in.png")))
    assert found.size == (24, 18)


@pytest.mark.parametrize("target", ["out.png", "out.jpg", "out.tif", "out.webp"])
def test_colour_profiles_are_kept(tmp_path: Path, target: str) -> None:
    found = enlarged(Image.fromarray(levels()), tmp_path, target, icc_profile=SRGB)
    assert found.info["icc_profile"] == SRGB


def test_sizes_that_a_format_cannot_hold_are_named(tmp_path: Path) -> None:
    Image.new("L", (9000, 1)).save(tmp_path / "long.png")
    with pytest.raises(ImageError, match=r"out\.webp: WEBP cannot hold 18000×2 pixels"):
        upscale_file(Nearest(), tmp_path / "long.png", tmp_path / "out.webp")
    assert [path.name for path in tmp_path.iterdir()] == ["long.png"]

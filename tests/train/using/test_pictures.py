"""One image file into a larger one: every kind of pixels, against a network that repeats them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms
from torch import Tensor

from dukd_cache.errors import ImageError
from dukd_cache.images import read_rgb
from dukd_train.using.pictures import upscale_file

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@dataclass(frozen=True)
class Nearest:
    """Repeats pixels, so that what comes out is known; counts how often it was asked."""

    scale: int = 2
    asked: list[int] = field(default_factory=list)

    def __call__(self, image_NCHW: Tensor) -> Tensor:
        self.asked.append(1)
        return image_NCHW.repeat_interleave(self.scale, dim=2).repeat_interleave(self.scale, dim=3)


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
    seen = expected[..., 3] > 0  # WebP may drop colours that nobody sees
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

"""What a file holds beside its colours."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from dukd_cache.pictures.extras import read_extras
from dukd_cache.pictures.sources import read_rgb
from dukd_cache.system.errors import ImageError

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def pixels(channels: int) -> np.ndarray:
    return np.random.default_rng(channels).integers(0, 256, (5, 7, channels), dtype=np.uint8)


@pytest.mark.parametrize(
    ("mode", "grey", "alpha"),
    [("RGB", False, False), ("RGBA", False, True), ("L", True, False), ("LA", True, True), ("P", False, False)],
)
def test_modes(tmp_path: Path, mode: str, grey: bool, alpha: bool) -> None:
    image = Image.fromarray(pixels(4 if alpha else 3)).convert(mode)
    image.save(tmp_path / "a.png")
    found = read_extras(tmp_path / "a.png")
    assert (found.grey, found.alpha is not None, found.icc_profile) == (grey, alpha, None)
    if found.alpha is not None:
        assert np.array_equal(found.alpha, pixels(4)[..., 3])


def test_one_bit_and_sixteen_bits_of_grey(tmp_path: Path) -> None:
    Image.fromarray(pixels(1)[..., 0] > 99).save(tmp_path / "bit.png")
    Image.fromarray(pixels(1)[..., 0].astype(np.uint16) * 257).save(tmp_path / "deep.png")
    for name in ("bit.png", "deep.png"):
        found = read_extras(tmp_path / name)
        assert (found.grey, found.alpha) == (True, None)


def test_a_transparent_colour_is_alpha(tmp_path: Path) -> None:
    levels = pixels(3)
    levels[2, 3] = (1, 2, 3)
    Image.fromarray(levels).save(tmp_path / "key.png", transparency=(1, 2, 3))
    alpha = read_extras(tmp_path / "key.png").alpha
    assert alpha is not None
    assert np.argwhere(alpha == 0).tolist() == [[2, 3]]
    palette = Image.fromarray(levels).convert("P")
    palette.save(tmp_path / "palette.png", transparency=palette.getpixel((0, 0)))
    alpha = read_extras(tmp_path / "palette.png").alpha
    assert alpha is not None
    assert alpha[0, 0] == 0


@pytest.mark.parametrize("kind", ["png", "tiff", "webp"])
def test_alpha_is_turned_with_its_image(tmp_path: Path, kind: str) -> None:
    levels = pixels(4)
    levels[..., 3] = levels[..., 0]
    path = tmp_path / f"a.{kind}"
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {"lossless": True, "exact": True} if kind == "webp" else {}
    Image.fromarray(levels).save(path, exif=exif, **options)
    alpha = read_extras(path).alpha
    assert alpha is not None
    assert alpha.shape == (7, 5)
    assert np.array_equal(alpha, read_rgb(path)[..., 0])


def test_profiles_are_kept_for_their_own_kind_of_pixels(tmp_path: Path) -> None:
    image = Image.fromarray(pixels(3))
    image.save(tmp_path / "rgb.png", icc_profile=SRGB)
    assert read_extras(tmp_path / "rgb.png").icc_profile == SRGB
    image.convert("L").save(tmp_path / "grey.png", icc_profile=SRGB)
    assert read_extras(tmp_path / "grey.png").icc_profile is None
    image.convert("CMYK").save(tmp_path / "inks.tif", icc_profile=SRGB[:16] + b"CMYK" + SRGB[20:])
    assert read_extras(tmp_path / "inks.tif").icc_profile is None


def test_bad_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"bad\.png"):
        read_extras(tmp_path / "bad.png")

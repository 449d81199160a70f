"""LR images that are not of their HR images, by content."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter
from tests.cache.samples import photo

from dukd_cache.pictures.bicubic import downscale
from dukd_cache.pictures.pairs import mismatch
from dukd_cache.pictures.sources import read_scene
from dukd_cache.system.arrays import U8
from dukd_cache.system.errors import ImageError

RANDOM = np.random.default_rng(0)


def resized(hr: U8, scale: int, how: Image.Resampling) -> U8:
    return np.asarray(Image.fromarray(hr).resize((hr.shape[1] // scale, hr.shape[0] // scale), how))


def jpeg(image: U8, quality: int) -> U8:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def noisy(image: U8, sigma: float) -> U8:
    return (image + RANDOM.normal(0, sigma, image.shape)).clip(0, 255).astype(np.uint8)


def blurred(image: U8, side: int) -> U8:
    """The mean of squares, as large as before."""
    return np.asarray(Image.fromarray(image).filter(ImageFilter.BoxBlur(side // 2)))


LEGITIMATE: dict[str, Callable[[U8, int], U8]] = {
    "benchmark": downscale,
    **{how.name: lambda hr, s, how=how: resized(hr, s, how) for how in Image.Resampling},
    "corners": lambda hr, s: np.ascontiguousarray(hr[::s, ::s]),
    "jpeg": lambda hr, s: jpeg(downscale(hr, s), 30),
    "noise": lambda hr, s: noisy(downscale(hr, s), 25),
    "blur, noise, jpeg": lambda hr, s: jpeg(noisy(downscale(blurred(hr, 7), s), 10), 40),
    "dark": lambda hr, s: downscale(hr, s) // 3,
    "grey": lambda hr, s: np.repeat(downscale(hr, s).mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2),
}

WRONG: dict[str, Callable[[U8], U8]] = {
    "turned by 180°": lambda lr: lr[::-1, ::-1],
    "turned clockwise": lambda lr: np.rot90(lr, -1),
    "turned counterclockwise": lambda lr: np.rot90(lr),
    "mirrored": lambda lr: lr[:, ::-1],
    "upside down": lambda lr: lr[::-1],
    "transposed": lambda lr: lr.swapaxes(0, 1),
    "its brightness is inverted": lambda lr: 255 - lr,
    "red and blue swapped": lambda lr: lr[..., ::-1],
    "shifted by 4 pixels to the right and -3 down": lambda lr: np.roll(lr, (-3, 4), (0, 1)),
}


def scene(scale: int, seed: int) -> U8:
    """Of no symmetry: four photographs in one, square."""
    parts = [photo(24 * scale, 24 * scale, seed=4 * seed + part) for part in range(4)]
    return np.block([[[parts[0]], [parts[1]]], [[parts[2]], [parts[3]]]])


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("how", LEGITIMATE)
def test_legitimate_lr_images_pass_however_they_were_made(how: str, scale: int) -> None:
    for seed in range(2):
        hr = blurred(scene(scale, seed), 3)
        assert mismatch(LEGITIMATE[how](hr, scale), hr) is None


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("likely", WRONG)
def test_wrong_ones_are_named_with_what_they_may_be(likely: str, scale: int) -> None:
    for seed in range(2):
        hr = scene(scale, seed)
        found = mismatch(np.ascontiguousarray(WRONG[likely](downscale(hr, scale))), hr)
        assert found is not None
        assert found.startswith(f"{likely}?")


def test_another_image_is_refused_and_a_symmetric_one_may_be_mirrored() -> None:
    for seed in range(4):
        found = mismatch(downscale(scene(2, seed + 5), 2), scene(2, seed))
        assert found is not None
        assert found.startswith("another image's?")
    half = photo(48, 64)
    both = np.concatenate([half, half[:, ::-1]], axis=1)
    assert mismatch(downscale(both, 2)[:, ::-1], both) is None


@pytest.mark.parametrize("level", [0, 128])
def test_where_nothing_can_be_seen_nothing_is_refused(level: int) -> None:
    flat = np.full((96, 96, 3), level, np.uint8)
    assert mismatch(noisy(downscale(flat, 2), 25), flat) is None
    assert mismatch(np.zeros((48, 48, 3), np.uint8), flat) is None
    assert mismatch(photo(8, 8, seed=3), photo(16, 16)) is None


def test_a_pair_that_is_read_is_compared_and_a_shift_by_one_name_is_seen(tmp_path: Path) -> None:
    (tmp_path / "lr").mkdir()
    for number in range(3):
        Image.fromarray(scene(2, number)).save(tmp_path / f"{number}.png")
        Image.fromarray(downscale(scene(2, number), 2)).save(tmp_path / "lr" / f"{number + 1}.png")
    says = r"lr/1\.png: does not show what 1\.png shows: another image's\?.*; 2\.png beside it is like it"
    with pytest.raises(ImageError, match=says) as told:
        read_scene(tmp_path / "1.png", tmp_path / "lr/1.png", 2)
    assert "\n" not in str(told.value)
    assert read_scene(tmp_path / "1.png", tmp_path / "lr/2.png", 2).lr.shape == (48, 48, 3)


def test_an_orientation_that_only_hr_says_is_seen(tmp_path: Path) -> None:
    exif = Image.Exif()
    stored = scene(2, 0)[:, :80]
    Image.fromarray(downscale(stored, 2)).save(tmp_path / "lr.png")
    for orientation, says in ((3, r"turned by 180°\?"), (6, r"expected 48×40 pixels .* found 40×48: turned by 90°\?")):
        exif[0x0112] = orientation
        Image.fromarray(stored).save(tmp_path / "hr.png", exif=exif)
        with pytest.raises(ImageError, match=rf"lr\.png: .*{says}"):
            read_scene(tmp_path / "hr.png", tmp_path / "lr.png", 2)

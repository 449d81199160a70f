"""Find, identify and decode source images: HR files, and the LR files that may come with them."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from dukd_cache.degrade import crop_to_scale, downscale
from dukd_cache.errors import ImageError, SettingError

U8 = npt.NDArray[np.uint8]

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""File names that are taken for images, in any case."""

_ORIENTATION = 0x0112
_FIRST_SIDEWAYS = 5
"""EXIF orientations 5 to 8 lie on their side."""

_UNDECODABLE = (OSError, SyntaxError, ValueError)
"""What Pillow raises of bytes that it cannot make sense of."""


@dataclass(frozen=True)
class LrFolder:
    """Where LR images of given HR images lie, for those who bring their own."""

    root: Path
    template: str = "{stem}x{scale}"
    """File name without its suffix; `{stem}` is the HR file's, `{scale}` the scale."""

    def find(self, hr: Path, scale: int) -> Path:
        """The LR file of `hr`.

        Raises:
            ImageError: there is none.
            SettingError: the template names something else than stem and scale.
        """
        try:
            stem = self.template.format(stem=hr.stem, scale=scale)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise SettingError(
                f"--lr-template {self.template!r}: expected a name made of {{stem}} and {{scale}}"
            ) from error
        for suffix in (hr.suffix, *SUFFIXES):
            if (candidate := self.root / f"{stem}{suffix}").is_file():
                return candidate
        raise ImageError(f"{self.root / stem}.*: no LR image for {hr.name}")


@dataclass(frozen=True, slots=True)
class SourceImage:
    """An HR file as a plan sees it: where it is, what it holds, how large it is."""

    name: str
    """Path below the images' folder, with forward slashes."""
    path: Path
    sha256: str
    """Of the file's bytes: a changed file is another image."""
    width: int
    """Pixels, upright (EXIF orientation applied)."""
    height: int
    lr: Path | None
    """The LR file, or none where the LR image is made by `degrade.downscale`."""


@dataclass(frozen=True)
class Scene:
    """One scene at both resolutions: `hr` u8 [s·h,s·w,3] and `lr` u8 [h,w,3]."""

    hr: U8
    lr: U8


def find_images(root: Path) -> list[Path]:
    """All image files below `root`, sorted by their path.

    Raises:
        ImageError: `root` is no folder, or holds no image.
    """
    if not root.is_dir():
        raise ImageError(f"{root}: expected a folder of images, found {'a file' if root.exists() else 'nothing'}")
    found = sorted(_files_below(root), key=lambda path: path.relative_to(root).as_posix())
    if not found:
        raise ImageError(f"{root}: no images found (looked for {', '.join(SUFFIXES)})")
    return found


def identify(root: Path, path: Path, scale: int, lr: LrFolder | None = None) -> SourceImage:
    """What a plan needs of an image; its pixels are decoded only where the file's kind hides its orientation.

    Raises:
        ImageError: the file is no image that Pillow can open, or its LR file is missing.
    """
    with _opened(path) as image:
        try:
            if image.format == "TIFF":
                image.load()  # it turns itself upright on loading, and only then drops the orientation
            orientation = image.getexif().get(_ORIENTATION, 1)
        except _UNDECODABLE as error:
            raise ImageError(f"{path}: unreadable or truncated image ({_one_line(error)})") from error
        width, height = image.size
        if orientation >= _FIRST_SIDEWAYS:
            width, height = height, width
    return SourceImage(
        name=path.relative_to(root).as_posix(),
        path=path,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        width=width,
        height=height,
        lr=lr.find(path, scale) if lr else None,
    )


def read_rgb(path: Path) -> U8:
    """The pixels of an image file, u8 [H,W,3]: upright, grey repeated to RGB, alpha dropped.

    Raises:
        ImageError: the file cannot be decoded to its end, or holds grey of more than 8 bits.
    """
    with _opened(path) as image:
        try:
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        except _UNDECODABLE as error:
            raise ImageError(f"{path}: unreadable or truncated image ({_one_line(error)})") from error


def read_scene(hr: Path, lr: Path | None, scale: int) -> Scene:
    """`hr` cropped so that its sides divide by `scale`, with its LR image: read from `lr`, or made.

    Raises:
        ImageError: a file cannot be decoded, HR is smaller than the scale, or the LR image is not HR ÷ scale.
    """
    pixels = read_rgb(hr)
    try:
        hr_pixels = crop_to_scale(pixels, scale)
    except ImageError as error:
        raise ImageError(f"{hr}: {error}") from None
    if lr is None:
        return Scene(hr_pixels, downscale(hr_pixels, scale))
    lr_pixels = read_rgb(lr)
    expected = (hr_pixels.shape[0] // scale, hr_pixels.shape[1] // scale)
    if lr_pixels.shape[:2] != expected:
        raise ImageError(
            f"{lr}: expected {expected[1]}×{expected[0]} pixels (1/{scale} of {hr.name}), "
            f"found {lr_pixels.shape[1]}×{lr_pixels.shape[0]}: is the scale right?"
        )
    return Scene(hr_pixels, lr_pixels)


def _files_below(root: Path) -> Iterator[Path]:
    """Image files below `root`. Links to folders are followed, as data sets are often linked; rings are not."""
    seen: set[str] = set()
    for folder, subfolders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        for name in files:
            path = Path(folder, name)
            if path.suffix.lower() in SUFFIXES and path.is_file():
                yield path


def _opened(path: Path) -> Image.Image:
    try:
        image = Image.open(path)
    except FileNotFoundError as error:
        raise ImageError(f"{path}: no such image") from error
    except (*_UNDECODABLE, Image.DecompressionBombError) as error:
        raise ImageError(f"{path}: not a readable image ({_one_line(error)})") from error
    if image.mode.startswith(("I", "F")):  # Pillow would clip these to 8 bits, not scale them
        image.close()
        raise ImageError(f"{path}: expected 8 bits a channel, found grey of more (Pillow's mode {image.mode})")
    return image


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__

"""Identify and read source images: HR files, and the LR files that may come with them."""

import hashlib
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from threading import Lock

from dukd_cache.pictures.bicubic import crop_to_scale, downscale
from dukd_cache.pictures.decode import read_rgb, read_size
from dukd_cache.pictures.finding import SUFFIXES, find, find_images
from dukd_cache.pictures.lr_folder import LrFolder
from dukd_cache.pictures.pairs import fits, mismatch
from dukd_cache.system.arrays import U8
from dukd_cache.system.errors import ImageError

__all__ = [
    "SUFFIXES",
    "LrFolder",
    "Scene",
    "SourceImage",
    "find",
    "find_images",
    "identify",
    "read_rgb",
    "read_scene",
    "read_size",
    "refuse_shared_lr",
    "scene_of",
]


Stamp = tuple[int, int]
"""A file's size, and time of change in nanoseconds (mtime): where they are the same, it hardly has changed."""

NO_STAMP: Stamp = (0, 0)
"""That of no image."""


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
    """The LR file, or none where the LR image is made by `bicubic.downscale`."""
    lr_sha256: str = ""
    """Of its bytes."""
    stamp: Stamp = NO_STAMP
    """Of the HR file, when it was identified."""
    lr_stamp: Stamp = NO_STAMP


@dataclass(frozen=True)
class Scene:
    """One scene at both resolutions: `hr` u8 [s·h,s·w,3] and `lr` u8 [h,w,3]."""

    hr: U8
    read: U8 | None
    """The LR image, or none where it is made of `hr`, `scale` times smaller, when it is looked at."""
    scale: int = 1

    _making: Lock = field(default_factory=Lock, repr=False, compare=False)

    @property
    def lr(self) -> U8:
        """The LR image."""
        with self._making:  # of many threads that cut crops of it, one makes it
            return self._lr

    @cached_property
    def _lr(self) -> U8:
        return downscale(self.hr, self.scale) if self.read is None else self.read


@dataclass(frozen=True)
class FileFacts:
    """What is read of an image file without decoding its pixels."""

    sha256: str
    """Of the file's bytes."""
    width: int
    """Pixels, upright."""
    height: int
    stamp: Stamp


def read_facts(path: Path) -> FileFacts:
    """Size and hash of an image file.

    Raises:
        ImageError: its header cannot be used (see `decode.read_size`), the file cannot be read to its end, or it
            changes meanwhile.
    """
    stamp = stamp_of(path)
    width, height = read_size(path)
    try:
        with path.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ImageError(f"cannot be read ({error.strerror})", path) from error
    if stamp_of(path) != stamp:
        raise ImageError("changed while it was read", path, "run the same command again")
    return FileFacts(sha256, width, height, stamp)


def stamp_of(path: str | Path) -> Stamp:
    """The stamp of a file; `NO_STAMP` where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return NO_STAMP
    return found.st_size, found.st_mtime_ns


def identify(
    root: Path,
    path: Path,
    scale: int,
    lr: LrFolder | None = None,
    facts_of: Callable[[Path], FileFacts] = read_facts,
) -> SourceImage:
    """What a plan needs of an image, from the header of its file and of its LR file; no pixel is decoded.

    Args:
        facts_of: reads a file, or remembers what it held.

    Raises:
        ImageError: a header cannot be used (see `decode.read_size`), the LR file is missing or of another size than
            HR ÷ scale, or the name is not UTF-8.
    """
    name = path.relative_to(root)
    try:
        name.as_posix().encode()
    except UnicodeEncodeError as error:
        raise ImageError("its name is not UTF-8: rename it", path) from error
    facts = facts_of(path)
    image = SourceImage(name.as_posix(), path, facts.sha256, facts.width, facts.height, None, stamp=facts.stamp)
    if lr is None:
        return image
    lr_path = lr.find(name, scale)
    lr_facts = facts_of(lr_path)
    _check_lr_size(lr_path, (lr_facts.width, lr_facts.height), path, (facts.width, facts.height), scale)
    return replace(image, lr=lr_path, lr_sha256=lr_facts.sha256, lr_stamp=lr_facts.stamp)


def refuse_shared_lr(lr_of: Iterable[tuple[str, Path | None]]) -> None:
    """Check that no two HR images, given by name, have one LR file.

    Raises:
        ImageError: two have.
    """
    names: dict[Path, str] = {}
    for name, lr in lr_of:
        if lr is not None and names.setdefault(lr, name) != name:
            both = f"{names[lr]} and {name}"
            raise ImageError(f"would be the LR image of both {both}: rename one, or use subfolders", lr)


def scene_of(image: SourceImage, scale: int) -> Scene:
    """The scene that was identified, as `read_scene` reads it.

    Raises:
        ImageError: as there, or a file holds other bytes than it did then.
    """
    return read_scene(image.path, image.lr, scale, image.sha256, image.lr_sha256)


def read_scene(hr: Path, lr: Path | None, scale: int, sha256: str = "", lr_sha256: str = "") -> Scene:
    """`hr` cropped so that its sides divide by `scale`, with its LR image: read from `lr`, or made.

    Args:
        sha256: of the HR file, where it is known; empty: whatever it holds will do. `lr_sha256` likewise.

    Raises:
        ImageError: a file cannot be decoded or is another, HR is smaller than the scale, or the LR image is not
            HR ÷ scale or shows something else (see `pairs.mismatch`).
    """
    pixels = read_rgb(hr, sha256)
    try:
        hr_pixels = crop_to_scale(pixels, scale)
    except ImageError as error:
        raise error.about(hr) from None
    if lr is None:
        return Scene(hr_pixels, None, scale)
    lr_pixels = read_rgb(lr, lr_sha256)
    _check_lr_size(lr, lr_pixels.shape[1::-1], hr, hr_pixels.shape[1::-1], scale)
    if reason := mismatch(lr_pixels, hr_pixels):
        other = _neighbour_that_fits(lr, lr_pixels.shape, hr_pixels)
        hint = f"; {other.name} beside it is like it" if other else ""
        raise ImageError(f"does not show what {hr.name} shows: {reason}{hint}", lr)
    return Scene(hr_pixels, lr_pixels)


def _neighbour_that_fits(lr: Path, shape: tuple[int, ...], hr: U8) -> Path | None:
    """The file before or after `lr` in its folder, if it is of this shape and of `hr`: names are shifted by one."""
    there = sorted(path for path in lr.parent.iterdir() if path.suffix.lower() in SUFFIXES)
    index = there.index(lr)
    for path in (*there[max(index - 1, 0) : index], *there[index + 1 : index + 2]):
        with suppress(ImageError):
            pixels = read_rgb(path)
            if pixels.shape == shape and fits(pixels, hr):
                return path
    return None


def _check_lr_size(lr: Path, found: tuple[int, ...], hr: Path, size: tuple[int, ...], scale: int) -> None:
    """Sizes are (width, height)."""
    expected = (size[0] // scale, size[1] // scale)
    if found != expected:
        guess = "turned by 90°" if found == expected[::-1] else "is the scale right"
        raise ImageError(
            f"expected {expected[0]}×{expected[1]} pixels (1/{scale} of {hr.name}), "
            f"found {found[0]}×{found[1]}: {guess}?",
            lr,
        )

"""What an image file holds beside its RGB pixels, for those who write a picture like it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL.ImageFile import ImageFile

from dukd_cache.decode import SIXTEEN_BIT_GREY, opened, orientation_of, upright

U8 = npt.NDArray[np.uint8]

_GREY = frozenset({"1", "L", "LA"}) | SIXTEEN_BIT_GREY

_PROFILE_SPACE = slice(16, 20)
"""Where an ICC profile names the colour space of the pixels it is for (ICC.1:2022, section 7.2)."""


@dataclass(frozen=True)
class Extras:
    """Of one image."""

    grey: bool
    """It holds no colour: `read_rgb` repeats its one channel."""
    alpha: U8 | None
    """Opacity [H,W], upright; None where the file has none."""
    icc_profile: bytes | None
    """For pixels of the kind that `grey` says; those of other kinds (CMYK) are left out."""


def read_extras(path: Path) -> Extras:
    """All but the pixels that `decode.read_rgb` gives.

    Raises:
        ImageError: as `decode.read_rgb`.
    """
    with opened(path) as image:
        orientation = orientation_of(image)  # before Pillow turns a TIFF, while it loads it
        image.load()
        alpha = _alpha(image)
        grey = image.mode in _GREY
        profile = image.info.get("icc_profile")
    fits = isinstance(profile, bytes) and profile[_PROFILE_SPACE] == (b"GRAY" if grey else b"RGB ")
    return Extras(
        grey=grey,
        alpha=None if alpha is None else np.ascontiguousarray(upright(alpha, orientation)),
        icc_profile=profile if fits else None,
    )


def _alpha(image: ImageFile) -> U8 | None:
    """As it is stored; of 16 bits the high ones."""
    if image.mode in SIXTEEN_BIT_GREY or not image.has_transparency_data:
        return None
    return np.asarray(image.convert("RGBA").getchannel("A"))

"""What an image file holds beside its RGB pixels, for those who write a picture like it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from dukd_cache.pictures.decode import SIXTEEN_BIT_GREY, deep_channels, opened, orientation_of, raw_mode_of, upright
from dukd_cache.pictures.sixteen_bits import to_8_bits
from dukd_cache.system.arrays import U8

_GREY = frozenset({"1", "L", "LA"}) | SIXTEEN_BIT_GREY

_GREY_STEPS = {"L;2": 85, "L;4": 17}
"""Levels of 8 bits between two values of PNGs of few bits: Pillow scales pixels, but not the transparent value."""

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
        raw_mode = raw_mode_of(image)
        alpha = _alpha(image, raw_mode)
        grey = image.mode in _GREY or raw_mode.startswith("LA")
        profile = image.info.get("icc_profile")
    fits = isinstance(profile, bytes) and profile[_PROFILE_SPACE] == (b"GRAY" if grey else b"RGB ")
    return Extras(
        grey=grey,
        alpha=None if alpha is None else np.ascontiguousarray(upright(alpha, orientation)),
        icc_profile=profile if fits else None,
    )


def _alpha(image: Image.Image, raw_mode: str) -> U8 | None:
    """As it is stored, 16 bits rounded to 8. A colour that is transparent is compared in all its bits."""
    key = image.info.get("transparency")
    if (channels := deep_channels(image)) is not None:
        return to_8_bits(channels[..., -1]) if image.mode == "RGBA" or key is not None else None
    image.load()
    if raw_mode in _GREY_STEPS and isinstance(key, int):
        image.info["transparency"] = key * _GREY_STEPS[raw_mode]
    if not image.has_transparency_data:
        return None
    return np.asarray(image.convert("RGBA").getchannel("A"))

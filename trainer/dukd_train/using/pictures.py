"""One image file → one larger image file: colours, grey, transparency and colour profile stay what they are."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from dukd_cache.pictures.extras import read_extras
from dukd_cache.pictures.sources import read_rgb
from dukd_cache.system.arrays import U8
from dukd_cache.system.errors import ImageError
from dukd_cache.system.files import write_atomically
from dukd_train.scoring.inference import super_resolve
from dukd_train.scoring.super_resolver import SuperResolver
from dukd_train.using.unseen import with_seen_colours

FORMATS = {
    ".png": "PNG",
    ".apng": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".jif": "JPEG",
    ".pjpeg": "JPEG",
    ".pjp": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}
"""Pillow's names by suffix."""

_OPTIONS: dict[str, dict[str, object]] = {
    "PNG": {},
    "JPEG": {"quality": 95, "subsampling": "4:4:4"},
    "WEBP": {"lossless": True},
    "TIFF": {"compression": "tiff_deflate"},
    "BMP": {},
}
"""Only JPEG loses anything, and little."""

_WITHOUT_ALPHA = ("JPEG", "BMP")


def upscale_file(network: SuperResolver, source: Path, target: Path) -> None:
    """Enlarge the image `source` into the file `target`, whole or not at all; its suffix names the format.

    Transparency goes through the network as a grey picture, unless the image is opaque all over; colours under full
    transparency become those of seen pixels nearby. Of 16-bit channels
    8 bits are kept. EXIF is not: its orientation is applied.

    Raises:
        ImageError: `source` cannot be used, or its like cannot be written in the format of `target`.
    """
    pixels, extras = read_rgb(source), read_extras(source)
    kind = FORMATS[target.suffix.lower()]
    if extras.alpha is not None and kind in _WITHOUT_ALPHA:
        raise ImageError(f"{kind} holds no transparency", source, cure="choose another format")
    if extras.alpha is not None:
        pixels = with_seen_colours(pixels, extras.alpha)
    picture = Image.fromarray(super_resolve(network, pixels))
    if extras.grey:
        picture = picture.convert("L")
    if extras.alpha is not None:
        picture.putalpha(Image.fromarray(_enlarged_alpha(network, extras.alpha)))
    content = io.BytesIO()  # libtiff, given a file, tells of a full disk in lines of its own, or not at all
    try:
        picture.save(content, kind, icc_profile=extras.icc_profile, **_OPTIONS[kind])
    except (OSError, ValueError) as error:
        size = f"{picture.width}×{picture.height}"
        raise ImageError(f"{kind} cannot hold {size} pixels in mode {picture.mode} ({error})", target) from error
    write_atomically(target, content.getbuffer())


def _enlarged_alpha(network: SuperResolver, alpha: U8) -> U8:
    """[H,W] → [scale·H,scale·W]."""
    if alpha.min() == alpha.max() == 255:
        return np.full([network.scale * side for side in alpha.shape], 255, np.uint8)
    grey = Image.fromarray(super_resolve(network, np.repeat(alpha[..., None], 3, axis=2))).convert("L")
    return np.asarray(grey)

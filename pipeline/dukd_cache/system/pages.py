"""HTML pages that need nothing else (no script, no other file, no network): what all of them have in common."""

import base64
import io

import numpy as np
import numpy.typing as npt
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from PIL import Image


def environment(package: str) -> Environment:
    """Templates of `package`, and those that all pages share: `page.html.jinja`, its style, `pieces.jinja`."""
    return Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("dukd_cache.system")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def data_uri(content: bytes, kind: str) -> str:
    """`content` of a MIME type as an address that needs no file."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def png_uri(pixels: npt.NDArray[np.uint8]) -> str:
    """A picture u8 [H,W,3] likewise."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png", optimize=True)
    return data_uri(buffer.getvalue(), "image/png")

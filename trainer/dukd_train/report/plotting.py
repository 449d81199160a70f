"""What all figures of a report have in common: colours, axes, and how they become files."""

import base64
import io
from itertools import cycle, islice
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

FAINT = "#8a8f98"
"""Of what is not a student."""

_DASHES = ("-", "--", ":", "-.")


def styles(names: list[str]) -> dict[str, dict[str, Any]]:
    """A colour for each name, and with more than there are colours another kind of line."""
    palette = mpl.colormaps["tab10" if len(names) <= 10 else "tab20"]
    colors = [mpl.colors.to_hex(palette(number)) for number in range(palette.N)]
    dashes = [_DASHES[(at // len(colors)) % len(_DASHES)] for at in range(len(names))]
    return {
        name: {"color": color, "linestyle": dash}
        for name, color, dash in zip(names, islice(cycle(colors), len(names)), dashes, strict=True)
    }


def new_figure(width: float, height: float) -> Figure:
    """A figure of so many inches; without pyplot nothing depends on a display."""
    return Figure(figsize=(width, height), layout="constrained")


def tidy(axes: Axes) -> None:
    """A light grid and no box."""
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def literal(text: str) -> str:
    """`text` with no part of it taken for a formula."""
    return text.replace("$", r"\$")


def svg_uri(figure: Figure) -> str:
    """The figure as a `data:` address; equal figures give equal text."""
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "dukd"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return data_uri(buffer.getvalue(), "image/svg+xml")


def data_uri(content: bytes, kind: str) -> str:
    """`content` of a MIME type as an address that needs no file."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"

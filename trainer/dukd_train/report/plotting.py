"""What all figures of a report have in common: colours, axes, and how they become files."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dukd_cache.system.pages import data_uri

FAINT = "#6b7280"
"""Of what is not a student."""

_COLORS = ("#0072b2", "#d55e00", "#008a64", "#b0589c", "#a87700", "#1c2128")
"""After Okabe and Ito, told apart by people who see few colours; the lighter ones darkened to 3:1 on white."""

_DASHES = ("-", "--", ":", "-.")
SHAPES = {
    "o": "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
    "s": "M-4-4h8v8h-8z",
    "^": "M0-5L5 4H-5z",
    "D": "M0-5L5 0 0 5-5 0z",
    "v": "M0 5L5-4H-5z",
    "X": "M-5-5L0-2 5-5 2 0 5 5 0 2-5 5-2 0z",
    "P": "M-2-5H2V-2H5V2H2V5H-2V2H-5V-2H-2z",
}
"""Markers, each with its outline as SVG writes it; so many that with the colours they make other pairs each round."""

_MARKERS = [*SHAPES]


def styles(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """A colour and a marker for each name, and with more than there are colours another kind of line."""
    return {
        name: {
            "color": _COLORS[at % len(_COLORS)],
            "linestyle": _DASHES[at // len(_COLORS) % len(_DASHES)],
            "marker": _MARKERS[at % len(_MARKERS)],
        }
        for at, name in enumerate(names)
    }


def new_figure(width: float, height: float) -> Figure:
    """A figure of so many inches; without pyplot nothing depends on a display."""
    return Figure(figsize=(width, height), layout="constrained")


def tidy(axes: Axes) -> None:
    """A light grid and no box."""
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def literal(text: str, most: int = 48) -> str:
    """`text` with no part of it taken for a formula, and without its middle if it has more than `most` letters."""
    half = most // 2
    return (text if len(text) <= most else f"{text[: half - 1]}…{text[-half:]}").replace("$", r"\$")


@dataclass(frozen=True)
class Drawing:
    """A figure to look at, and to take away; on no ground, so that it can lie on any."""

    svg: str
    """A `data:` address, as `pdf`."""
    pdf: str
    says: str
    """In words, for people who do not see it."""
    name: str
    """Of a file, without suffix."""


def drawing(figure: Figure, says: str) -> Drawing:
    """`figure` as files of both kinds, which are equal for equal figures."""
    kinds: dict[str, bytes] = {}
    facts = {"svg": {"Date": None, "Creator": None}, "pdf": {"CreationDate": None, "Creator": None}}
    with mpl.rc_context({"svg.hashsalt": "dukd", "pdf.fonttype": 42}):
        for kind, metadata in facts.items():
            buffer = io.BytesIO()
            figure.savefig(buffer, format=kind, transparent=True, metadata=metadata)
            kinds[kind] = buffer.getvalue()
    name = re.sub(r"\W+", "-", says.partition(";")[0]).strip("-").lower()
    return Drawing(data_uri(kinds["svg"], "image/svg+xml"), data_uri(kinds["pdf"], "application/pdf"), says, name)

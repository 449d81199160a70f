"""Labelled grids of small pictures, to look at: contact sheets of a cache, crops of a report.

A tile is enlarged by a whole number without smoothing, so that every pixel of it can be seen as it is.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
from matplotlib import get_data_path
from PIL import Image, ImageDraw, ImageFont

from dukd_cache.system.arrays import U8

MIN_HEIGHT = 192
"""Least height of a tile as displayed, in pixels."""

_MAX_HEIGHT = 640
"""No tile is enlarged beyond this for the sake of equal heights."""

_MIN_COLUMN = 96
"""Least width of a column, so that captions of narrow tiles stay legible."""

_MARGIN, _GAP, _LINE = 16, 10, 17
_TITLE_SIZE, _LABEL_SIZE, _CAPTION_SIZE = 20, 15, 13
_GROUND, _INK, _FAINT = (255, 255, 255), (20, 20, 20), (60, 60, 60)


@dataclass(frozen=True)
class Panel:
    """A picture and the text under it."""

    image: U8
    """RGB [H,W,3]."""
    caption: str
    """Broken into lines where it is wider than the tile, and where it has a newline."""


@dataclass(frozen=True)
class _Row:
    """A row of tiles ready to be drawn."""

    label: str
    pictures: list[Image.Image]
    captions: list[list[str]]

    @property
    def height(self) -> int:
        """Label, tiles, captions and the space below them."""
        return self.tiles_top + self.tiles_height + _LINE * max(map(len, self.captions), default=0) + 2 * _GAP

    @property
    def tiles_top(self) -> int:
        return _LABEL_SIZE + _GAP if self.label else 0

    @property
    def tiles_height(self) -> int:
        return max((picture.height for picture in self.pictures), default=0)


def sheet(rows: Sequence[tuple[str, Sequence[Panel]]], title: str) -> Image.Image:
    """Rows of tiles, each with a label above it and captions below, under a title; dark on white, RGB.

    All tiles get the same height where whole factors allow it, else those of one row; columns are aligned.
    """
    heights = [[len(tile.image) for tile in tiles] for _, tiles in rows]
    common = _common_height([height for row in heights for height in row])
    enlarged = [
        [_enlarged(tile.image, common or _common_height(row) or max(MIN_HEIGHT, *row)) for tile in tiles]
        for (_, tiles), row in zip(rows, heights, strict=True)
    ]
    widths = zip_longest(*([picture.width for picture in row] for row in enlarged), fillvalue=0)
    columns = [max(_MIN_COLUMN, *column) for column in widths]
    font = _font(_CAPTION_SIZE)
    drawn = []
    for (label, tiles), pictures in zip(rows, enlarged, strict=True):
        captions = [_wrapped(tile.caption, columns[at], font) for at, tile in enumerate(tiles)]
        drawn.append(_Row(label, pictures, captions))
    return _drawn(drawn, columns, title)


def _common_height(heights: Sequence[int]) -> int | None:
    """The least common multiple of `heights` that is tall enough, or None where it is too tall."""
    multiple = math.lcm(*heights)
    height = multiple * -(-MIN_HEIGHT // multiple)
    return height if height <= max(_MAX_HEIGHT, *heights, 0) else None


def _enlarged(image: U8, height: int) -> Image.Image:
    factor = max(1, height // image.shape[0])
    return Image.fromarray(np.repeat(np.repeat(image, factor, axis=0), factor, axis=1))


def _drawn(rows: Sequence[_Row], columns: Sequence[int], title: str) -> Image.Image:
    title_font, label_font = _font(_TITLE_SIZE, bold=True), _font(_LABEL_SIZE, bold=True)
    font = _font(_CAPTION_SIZE)
    texts = [title_font.getlength(title), *(label_font.getlength(row.label) for row in rows)]
    width = math.ceil(max(sum(columns) + _GAP * (len(columns) - 1), *texts))
    top = _MARGIN + (_TITLE_SIZE + 2 * _GAP if title else 0)
    size = (width + 2 * _MARGIN, top + sum(row.height for row in rows) + _MARGIN - 2 * _GAP * bool(rows))
    canvas = Image.new("RGB", size, _GROUND)
    pen = ImageDraw.Draw(canvas)
    pen.text((_MARGIN, _MARGIN), title, font=title_font, fill=_INK)
    for row in rows:
        pen.text((_MARGIN, top), row.label, font=label_font, fill=_INK)
        left, picture_top = _MARGIN, top + row.tiles_top
        for picture, lines, column in zip(row.pictures, row.captions, columns, strict=False):
            canvas.paste(picture, (left, picture_top))
            for number, line in enumerate(lines):
                below = picture_top + row.tiles_height + 4 + number * _LINE
                pen.text((left, below), line, font=font, fill=_FAINT)
            left += column + _GAP
        top += row.height
    return canvas


def _wrapped(text: str, width: int, font: ImageFont.FreeTypeFont) -> list[str]:
    """`text` in lines no wider than `width`: broken at spaces, or, for want of one, within a word."""
    lines: list[str] = []
    for paragraph in text.splitlines():
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}".strip()
            if font.getlength(longer) <= width:
                line = longer
                continue
            if line:
                lines.append(line)
            line = word
            while font.getlength(line) > width and len(line) > 1:
                fitting = max(1, sum(font.getlength(line[:end]) <= width for end in range(1, len(line))))
                lines.append(line[:fitting])
                line = line[fitting:]
        lines.append(line)
    return lines


def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans as matplotlib brings it: the same on every machine, with ×, accents, Greek and Cyrillic."""
    return ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans{'-Bold' if bold else ''}.ttf", size)

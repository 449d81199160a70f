"""Crops at which students can be told apart, beside bicubic, teacher and truth.

Legend of array names: K students, H and W the sides of the picture without its border.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from dukd_cache.pictures.drawing import MIN_HEIGHT, Panel, sheet
from dukd_cache.system.arrays import F64, U8
from dukd_train.scoring.metrics import luma, psnr_y
from dukd_train.scoring.scores import decibels

SIDE = 64
"""Of a crop, in HR pixels; smaller in pictures that are."""

PHOTOGRAPH = 256
"""Of a crop without a truth: there it is the eye that compares."""

_STRIP = 256
"""Rows."""

_CONTEXT_WIDTH = 288
_MARK, _MARK_EDGE = (255, 230, 0), (0, 0, 0)


@dataclass(frozen=True)
class ComparedCrop:
    """The same square of a picture as everyone sees it."""

    picture: str
    """Set and name of the picture."""
    left: int
    """Pixels of HR, as `top`."""
    top: int
    difference: float
    """Standard deviation over the students, in levels of luma: root mean square over the crop."""
    answers: Mapping[str, U8]
    """[side,side,3] by name, in the order to be shown, without the truth."""
    truth: U8 | None
    """[side,side,3], where there is one."""
    context: U8
    """The whole picture, small, with the square marked."""


def most_different_crop(
    picture: str, answers: Mapping[str, U8], students: Sequence[str], truth: U8 | None, border: int, side: int = SIDE
) -> ComparedCrop:
    """Where the students' answers to a picture differ most from one another; a single one's, from bicubic.

    A difference in mean brightness over the crop does not count: structure is what the eye is to compare.

    Args:
        picture: what to call it.
        answers: whole pictures u8 [H,W,3] by name, among them `bicubic` and every student.
        students: names.
        truth: u8 [H,W,3], or None.
        border: pixels along each side that are no part of a crop, nor of a score.
        side: of the crop, where the picture is as large.
    """
    compared = students if len(students) > 1 else [*students, "bicubic"]
    whole = answers["bicubic"] if truth is None else truth
    height, width = whole.shape[:2]
    side = min(side, height - 2 * border, width - 2 * border)
    inner = np.s_[border : height - border, border : width - border]
    difference, top, left = max(  # strip by strip: in floating point whole pictures would take much memory
        (
            _greatest_spread([answers[name][inner][row : row + _STRIP + side - 1] for name in compared], side, row)
            for row in range(0, height - 2 * border - side + 1, _STRIP)
        ),
        key=lambda found: found[0],
    )
    top, left = top + border, left + border
    inside = np.s_[top : top + side, left : left + side]
    return ComparedCrop(
        picture=picture,
        left=left,
        top=top,
        difference=difference,
        answers={name: answer[inside].copy() for name, answer in answers.items()},
        truth=None if truth is None else truth[inside].copy(),
        context=_context(whole, left, top, side),
    )


def crops_sheet(crops: Sequence[ComparedCrop], title: str) -> Image.Image:
    """A row for each crop: where it is, every answer with its PSNR-Y on the crop, and the truth, where there is one."""
    rows: list[tuple[str, Sequence[Panel]]] = []
    for crop in crops:
        tiles = [Panel(crop.context, f"at ({crop.left}, {crop.top})")]
        for name, image in crop.answers.items():
            psnr = "" if crop.truth is None else f"\n{decibels(psnr_y(image, crop.truth, 0))}"
            tiles.append(Panel(image, f"{name}{psnr}"))
        rows.append((crop.picture, tiles if crop.truth is None else [*tiles, Panel(crop.truth, "truth")]))
    return sheet(rows, title)


def _greatest_spread(strips: Sequence[U8], side: int, top: int) -> tuple[float, int, int]:
    """Of the same rows of pictures, from `top` on: the greatest difference in a square, and its row and column."""
    lumas_KHW = np.stack([luma(strip) for strip in strips])
    deviations_KHW = lumas_KHW - lumas_KHW.mean(axis=0)
    variances = [_box_means(each**2, side) - _box_means(each, side) ** 2 for each in deviations_KHW]
    spread = np.mean(variances, axis=0)
    row, column = np.unravel_index(int(spread.argmax()), spread.shape)
    return float(np.sqrt(max(0.0, spread.max()))), top + int(row), int(column)


def _box_means(plane: F64, side: int) -> F64:
    """Means of `plane` [H,W] over all squares of `side` inside it: [H−side+1,W−side+1], by summed areas."""
    sums = np.pad(plane, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    boxes: F64 = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    return boxes / side**2


def _context(whole: U8, left: int, top: int, side: int) -> U8:
    """The picture on a white ground as high as a tile, with the square at (left, top) marked."""
    height, width = whole.shape[:2]
    factor = min(MIN_HEIGHT / height, _CONTEXT_WIDTH / width)
    small = Image.fromarray(whole).resize(
        (max(1, round(width * factor)), max(1, round(height * factor))), Image.Resampling.LANCZOS
    )
    ground = Image.new("RGB", (small.width, MIN_HEIGHT), "white")
    ground.paste(small, (0, 0))
    pen = ImageDraw.Draw(ground)
    near_x, near_y, far_x, far_y = (round(edge * factor) for edge in (left, top, left + side, top + side))
    pen.rectangle((near_x - 1, near_y - 1, far_x + 1, far_y + 1), outline=_MARK_EDGE, width=4)
    pen.rectangle((near_x, near_y, far_x, far_y), outline=_MARK, width=2)
    return np.asarray(ground)

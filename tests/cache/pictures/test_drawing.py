"""The grid of labelled tiles, and the contact sheet of a cache."""

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from PIL import Image

from dukd_cache.check.sheet import contact_sheet
from dukd_cache.format.header import Degradation
from dukd_cache.format.reader import Cache, evenly
from dukd_cache.format.record import Record, RecordInfo
from dukd_cache.pictures.drawing import MIN_HEIGHT, Panel, sheet
from dukd_cache.pictures.levels import to_uint8
from dukd_cache.places.folder import Folder
from dukd_cache.system.arrays import U8
from dukd_cache.system.errors import SettingError

RED, GREEN, BLUE = (220, 20, 30), (10, 190, 40), (30, 60, 230)


def plain(color: tuple[int, int, int], height: int, width: int) -> U8:
    return np.tile(np.array(color, np.uint8), (height, width, 1))


def box_of(picture: Image.Image, color: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Left, top, width and height of the area of one colour, which must be a full rectangle."""
    same = np.all(np.asarray(picture) == color, axis=2)
    rows, columns = np.flatnonzero(same.any(axis=1)), np.flatnonzero(same.any(axis=0))
    assert len(rows), f"nothing of the colour {color}"
    height, width = int(rows[-1] - rows[0] + 1), int(columns[-1] - columns[0] + 1)
    assert same.sum() == height * width
    return int(columns[0]), int(rows[0]), width, height


def dark_rows(picture: Image.Image, top: int, bottom: int) -> int:
    """Pixel rows with dark ink between two heights."""
    return int((np.asarray(picture.convert("L"))[top:bottom] < 120).any(axis=1).sum())


def test_tiles_of_a_row_are_enlarged_by_whole_factors_to_one_height() -> None:
    row = [
        Panel(plain(RED, 12, 10), "small"),
        Panel(plain(GREEN, 48, 40), "larger"),
        Panel(plain(BLUE, 96, 60), ""),
    ]
    picture = sheet([("sizes", row)], "title")
    assert picture.mode == "RGB"
    small, larger, largest = (box_of(picture, color) for color in (RED, GREEN, BLUE))
    assert small[2:] == (160, 192)
    assert larger[2:] == (160, 192)
    assert largest[2:] == (120, 192)
    assert small[1] == larger[1] == largest[1]
    assert small[0] + small[2] < larger[0]
    assert larger[0] + larger[2] < largest[0]


def test_enlargement_keeps_every_pixel() -> None:
    image = np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8)
    image[0, :] = image[-1, :] = image[:, 0] = image[:, -1] = RED
    left = 16
    pixels = np.asarray(sheet([("", [Panel(image, "")])], ""))
    top = int(np.flatnonzero(np.all(pixels[:, left] == RED, axis=1))[0])
    shown = pixels[top : top + MIN_HEIGHT, left : left + MIN_HEIGHT].reshape(16, 12, 16, 12, 3)
    assert (shown == image[:, None, :, None]).all()


def test_columns_are_aligned_over_rows() -> None:
    rows = [
        ("first", [Panel(plain(RED, 20, 30), "a"), Panel(plain(GREEN, 20, 20), "b")]),
        ("second", [Panel(plain((9, 9, 9), 20, 10), "c"), Panel(plain(BLUE, 20, 20), "d")]),
    ]
    picture = sheet(rows, "title")
    assert box_of(picture, GREEN)[0] == box_of(picture, BLUE)[0]
    assert box_of(picture, GREEN)[1] + box_of(picture, GREEN)[3] < box_of(picture, BLUE)[1]


def test_heights_without_a_common_multiple_still_fit() -> None:
    picture = sheet([("odd", [Panel(plain(RED, 191, 50), ""), Panel(plain(GREEN, 97, 50), "")])], "")
    assert box_of(picture, RED)[2:] == (50, 191)
    assert box_of(picture, GREEN)[2:] == (50, 97)


@pytest.mark.parametrize(("caption", "lines"), [("short", 1), ("word " * 20, 4), ("x" * 60, 3), ("one\ntwo", 2)])
def test_captions_are_broken_and_never_cut(caption: str, lines: int) -> None:
    shallow = sheet([("", [Panel(plain(RED, 192, 192), "")])], "")
    picture = sheet([("", [Panel(plain(RED, 192, 192), caption)])], "")
    assert picture.width == shallow.width
    assert (picture.height - shallow.height) == 17 * lines
    below = box_of(picture, RED)[1] + 192
    assert dark_rows(picture, below, picture.height - 2) >= 6 * lines  # an x is 7 pixels high
    assert (np.asarray(picture)[:, -8:] == 255).all()  # no ink runs into the margin


def test_a_long_title_widens_the_sheet() -> None:
    narrow = sheet([("", [Panel(plain(RED, 64, 64), "")])], "t")
    wide = sheet([("", [Panel(plain(RED, 64, 64), "")])], "a title " * 10)
    assert wide.width > narrow.width
    assert (np.asarray(wide)[:, -8:] == 255).all()


def test_an_empty_sheet_is_a_picture_of_its_title() -> None:
    assert sheet([], "nothing").width > 50


@pytest.mark.parametrize(
    ("count", "wanted", "expected"),
    [(10, 1, [5]), (10, 2, [2, 7]), (9, 3, [1, 4, 7]), (3, 3, [0, 1, 2]), (2, 5, [0, 1]), (0, 4, [])],
)
def test_spread(count: int, wanted: int, expected: list[int]) -> None:
    assert evenly(count, wanted) == expected


def test_float_answers_are_shown_in_full_range() -> None:
    answer = np.array([[[-0.1, 0.0, 0.5], [1.0, 1.2, 200 / 255]]], np.float16)
    assert to_uint8(answer).tolist() == [[[0, 0, 128], [255, 255, 200]]]
    pixels = plain(RED, 2, 2)
    np.testing.assert_array_equal(to_uint8(pixels), pixels)


@dataclass(frozen=True)
class FakeCache:
    """Twelve `base` and five `zoom_in` records of plain colours; remembers which were read."""

    place: Folder = field(default_factory=lambda: Folder(Path("somewhere/sample")))
    digest: str = "0123456789abcdef"
    views: tuple[str, ...] = ("base", "zoom_in")
    manifest: SimpleNamespace = field(
        default_factory=lambda: SimpleNamespace(scale=4, degradation=Degradation(kind="bicubic"))
    )
    asked: list[tuple[str, int]] = field(default_factory=list)

    def count(self, view: str) -> int:
        return {"base": 12, "zoom_in": 5}.get(view, 0)

    def columns(self, view: str) -> dict[str, np.ndarray]:  # noqa: ARG002
        return {}

    def read(self, view: str, index: int) -> Record:
        self.asked.append((view, index))
        info = RecordInfo(key="0", view=view, image="a.png", image_sha256="0" * 64, crop=index, x=3, y=8)
        answer = (plain(GREEN, 96, 96) / 255).astype(np.float16)
        arrays = {"input": plain(RED, 24, 24), "teacher": answer, "truth": plain(BLUE, 96, 96)}
        return Record(info, {name: arrays[name] for name in arrays if name != "truth" or view == "base"})


def test_contact_sheet_shows_records_of_every_view() -> None:
    fake = FakeCache()
    picture = contact_sheet(cast(Cache, fake), records_per_view=3)
    assert fake.asked == [
        ("base", 2),
        ("base", 6),
        ("base", 10),
        ("zoom_in", 0),
        ("zoom_in", 2),
        ("zoom_in", 4),
    ]
    pixels = np.asarray(picture)
    tile = MIN_HEIGHT * MIN_HEIGHT
    shown = [int(np.all(pixels == color, axis=2).sum()) / tile for color in (RED, GREEN, BLUE)]
    assert shown == [6, 6, 3]


def test_contact_sheet_of_no_records_is_refused() -> None:
    with pytest.raises(SettingError, match="records per view must be positive, got 0"):
        contact_sheet(cast(Cache, FakeCache()), records_per_view=0)

"""Where a report looks: the place is found, and what is shown is what was scored."""

import numpy as np
import pytest

from dukd_cache.pictures.drawing import MIN_HEIGHT
from dukd_cache.system.arrays import U8
from dukd_train.report import crops
from dukd_train.report.crops import SIDE, crops_sheet, most_different_crop


def grey(height: int = 160, width: int = 200, level: int = 100) -> U8:
    return np.full((height, width, 3), level, np.uint8)


def noise(side: int, amplitude: int) -> U8:
    random = np.random.default_rng(0)
    return random.integers(-amplitude, amplitude + 1, (side, side, 1)).repeat(3, axis=2).astype(np.int16)


def disturbed(picture: U8, top: int, left: int, side: int = SIDE, amplitude: int = 30) -> U8:
    inside = np.s_[top : top + side, left : left + side]
    changed = picture.astype(np.int16)
    changed[inside] += noise(side, amplitude)
    return changed.astype(np.uint8)


def test_the_square_of_strongest_disagreement_is_found() -> None:
    weaker = disturbed(grey(), 8, 8, amplitude=15)
    answers = {"bicubic": grey(), "a": weaker, "b": disturbed(grey(), 70, 101)}
    crop = most_different_crop("p", answers, ["a", "b"], grey(), border=4)
    assert (crop.top, crop.left) == (70, 101)
    luma_deviation = (noise(SIDE, 30)[..., 0] * (219 / 255)).std() / 2  # two values: half their distance
    assert crop.difference == pytest.approx(luma_deviation, rel=1e-6)
    np.testing.assert_array_equal(crop.answers["b"], answers["b"][70:134, 101:165])
    assert list(crop.answers) == ["bicubic", "a", "b"]
    assert crop.truth.shape == (SIDE, SIDE, 3)


def test_the_border_and_others_than_students_are_not_looked_at() -> None:
    answers = {
        "bicubic": disturbed(grey(), 90, 130),
        "a": disturbed(disturbed(grey(), 60, 40, amplitude=3), 0, 0, side=9, amplitude=90),
        "b": grey(),
        "teacher": disturbed(grey(), 90, 130),
    }
    crop = most_different_crop("p", answers, ["a", "b"], grey(), border=9)
    assert (crop.top, crop.left) == (60, 40)


def test_brightness_alone_is_no_difference() -> None:
    brighter = grey()
    brighter[:, 100:] = 140
    crop = most_different_crop(
        "p",
        {"bicubic": grey(), "a": disturbed(grey(), 20, 10, amplitude=3), "b": grey(level=160)},
        ["a", "b"],
        grey(),
        4,
    )
    assert (crop.top, crop.left) == (20, 10)


def test_a_single_student_is_compared_with_bicubic() -> None:
    answers = {"bicubic": grey(), "a": disturbed(grey(), 33, 44)}
    assert most_different_crop("p", answers, ["a"], grey(), 4).left == 44


def test_small_pictures_give_small_crops() -> None:
    picture = grey(height=30, width=300)
    crop = most_different_crop("p", {"bicubic": picture, "a": picture}, ["a"], picture, 4)
    assert crop.truth.shape == (22, 22, 3)
    assert crop.difference == 0
    assert crop.context.shape[0] == MIN_HEIGHT


def test_the_sheet_shows_everyone_enlarged_in_order() -> None:
    colors = {"bicubic": (200, 0, 0), "a": (0, 160, 0), "b": (0, 0, 210), "teacher": (150, 0, 150)}
    answers = {name: np.tile(np.array(color, np.uint8), (80, 80, 1)) for name, color in colors.items()}
    truth = np.tile(np.array((0, 140, 140), np.uint8), (80, 80, 1))
    crop = most_different_crop("p", answers, ["a", "b"], truth, 4)
    pixels = np.asarray(crops_sheet([crop, crop], "title"))
    lefts = []
    for color in colors.values():
        same = np.all(pixels == color, axis=2)
        assert same.sum() == 2 * MIN_HEIGHT**2
        lefts.append(int(np.flatnonzero(same.any(axis=0))[0]))
    assert lefts == sorted(lefts)
    assert np.all(pixels == (0, 140, 140), axis=2)[:, lefts[-1] + MIN_HEIGHT :].sum() == 2 * MIN_HEIGHT**2


def test_strips_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = grey()
    answers = {"bicubic": truth, "one": disturbed(truth, 70, 90), "two": truth}
    whole = most_different_crop("p", answers, ["one", "two"], truth, 4)
    monkeypatch.setattr(crops, "_STRIP", 9)
    found = most_different_crop("p", answers, ["one", "two"], truth, 4)
    assert (found.top, found.left) == (whole.top, whole.left) == (70, 90)
    assert found.difference == pytest.approx(whole.difference, rel=1e-9)

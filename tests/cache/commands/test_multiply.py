"""`dukd-cache multiply`: which files it makes of a folder, and what it refuses."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.cache.samples import save_photos
from tests.cache.test_cli import Command, refused
from tests.cache.test_cli import dukd_cache as dukd_cache  # a fixture

from dukd_cache.commands.multiply import Variants, multiply_folder
from dukd_cache.pictures.sources import read_rgb
from dukd_cache.pictures.variants import blended, smaller, turned
from dukd_cache.system.errors import ImageError, SettingError

FEW = Variants(sizes=(0.5,), turns=(30,), blends=2, smallest=1)


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def content(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in names(folder)}


@pytest.fixture
def three(tmp_path: Path) -> Path:
    return save_photos(tmp_path / "hr", [(40, 30), (30, 40), (36, 36)])


def test_each_image_becomes_its_variants(three: Path, tmp_path: Path) -> None:
    assert multiply_folder(three, tmp_path / "more", FEW) == 12
    ends = ("blend1", "blend2", "size0.5", "turn30")
    assert names(tmp_path / "more") == [f"photo_{number}_{end}.png" for number in range(3) for end in ends]
    image = read_rgb(three / "photo_1.png")
    assert np.array_equal(read_rgb(tmp_path / "more/photo_1_size0.5.png"), smaller(image, 0.5))
    assert np.array_equal(read_rgb(tmp_path / "more/photo_1_turn30.png"), turned(image, 30))


def test_an_image_is_blended_with_each_other_one(tmp_path: Path) -> None:
    """By a share from 0.35 to 0.65: one of the others, mirrored or not, fits."""
    three = save_photos(tmp_path / "hr", [(40, 30)] * 3)
    multiply_folder(three, tmp_path / "more", FEW)
    image = read_rgb(three / "photo_0.png")
    with_whom = set()
    for number in (1, 2):
        found = read_rgb(tmp_path / f"more/photo_0_blend{number}.png")
        fits = [
            (np.abs(blended(image, other, share).astype(int) - found).max(), name)
            for name in ("photo_1", "photo_2")
            for whole in [read_rgb(three / f"{name}.png")]
            for other in (whole, whole[:, ::-1])
            for share in np.linspace(0.35, 0.65, 61)
        ]
        assert min(fits)[0] <= 2
        with_whom.add(min(fits)[1])
    assert with_whom == {"photo_1", "photo_2"}


def test_a_single_image_is_blended_with_its_mirror_image(tmp_path: Path) -> None:
    hr = save_photos(tmp_path / "hr", [(40, 30)])
    multiply_folder(hr, tmp_path / "more", FEW)
    image = read_rgb(hr / "photo_0.png")
    for number in (1, 2):
        assert not np.array_equal(read_rgb(tmp_path / f"more/photo_0_blend{number}.png"), image)


def test_the_same_again_and_another_seed_other_blends(three: Path, tmp_path: Path) -> None:
    multiply_folder(three, tmp_path / "one", FEW)
    multiply_folder(three, tmp_path / "two", FEW)
    assert content(tmp_path / "one") == content(tmp_path / "two")
    multiply_folder(three, tmp_path / "one", FEW)  # into its own folder
    assert content(tmp_path / "one") == content(tmp_path / "two")
    multiply_folder(three, tmp_path / "other", FEW, seed=1)
    one, other = content(tmp_path / "one"), content(tmp_path / "other")
    assert {name for name in one if one[name] != other[name]} == {name for name in one if "blend" in name}


def test_those_too_small_are_left_out_and_counted(
    three: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert multiply_folder(three, tmp_path / "more", Variants((0.5, 0.9), (), 0, smallest=30)) == 1
    assert names(tmp_path / "more") == ["photo_2_size0.9.png"]
    assert f"{tmp_path / 'more'}: 5 images left out: a side below 30 pixels" in capsys.readouterr().err


def test_images_of_other_settings_are_not_mixed_in(three: Path, tmp_path: Path) -> None:
    multiply_folder(three, tmp_path / "more", FEW)
    with pytest.raises(SettingError, match=r"more: holds other images, like photo_0_blend2\.png: choose another"):
        multiply_folder(three, tmp_path / "more", Variants((0.5,), (30,), 1, 1))


def test_subfolders_are_kept_and_two_images_for_one_name_refused(three: Path, tmp_path: Path) -> None:
    shutil.copytree(three, tmp_path / "deep/a")
    shutil.copytree(three, tmp_path / "deep/b")
    assert multiply_folder(tmp_path / "deep", tmp_path / "more", FEW) == 24
    assert names(tmp_path / "more") == ["a", "b"]
    shutil.copy(three / "photo_0.png", three / "photo_0.PNG")
    with pytest.raises(SettingError, match=r"would both become .*photo_0_….png: rename one"):
        multiply_folder(three, tmp_path / "others", FEW)
    assert not (tmp_path / "others").exists()


def test_the_folder_may_lie_in_that_of_the_images(three: Path) -> None:
    assert multiply_folder(three, three / "more", FEW) == 12
    assert multiply_folder(three, three / "more", FEW) == 12


def test_a_damaged_image_is_named(three: Path, tmp_path: Path) -> None:
    (three / "photo_1.png").write_bytes((three / "photo_1.png").read_bytes()[:300])
    with pytest.raises(ImageError, match="photo_1"):
        multiply_folder(three, tmp_path / "more", FEW)


def test_a_cache_is_built_of_both(dukd_cache: Command, tmp_path: Path) -> None:
    hr = save_photos(tmp_path / "hr", [(60, 60), (60, 60)])
    more = tmp_path / "more"
    ended = dukd_cache("multiply", "--hr", hr, "--out", more, "--sizes", "0.8", "--turns", "none", "--smallest", 24)
    assert (ended.code, ended.errors, ended.output) == (0, [], f"{more}: 8 HR images\n")
    ended = dukd_cache("build", "--hr", hr, "--hr", more, "--scale", 2, "--patch", 12, "--out", tmp_path / "cache")
    assert ended.output.startswith(f"{tmp_path / 'cache'}: 80 base records")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--sizes", "1"), "--sizes: expected numbers between 0 and 1, got 1"),
        (("--sizes", "nan"), "--sizes: expected numbers between 0 and 1, got nan"),
        (("--blends", "101"), "--blends: expected 0 to 100, got 101"),
        (("--turns", "0"), "--turns: expected numbers between 0 and 360, got 0"),
        (("--turns", "20;40"), "--turns: expected numbers separated by commas, or none, got '20;40'"),
        (("--smallest", "500"), "--smallest: a side of all 27 images would be below 500 pixels"),
        (("--sizes", "0.5,0.5"), "--sizes: 0.5 is given twice"),
        (("--sizes", "none", "--turns", "none", "--blends", "0"), "nothing is asked for"),
    ],
)
def test_what_cannot_be_asked(
    dukd_cache: Command, three: Path, tmp_path: Path, words: tuple[str, ...], says: str
) -> None:
    refused(dukd_cache("multiply", "--hr", three, "--out", tmp_path / "more", *words), says)
    assert not (tmp_path / "more").exists()

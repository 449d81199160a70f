"""What `inspect` tells of columns: distributions of all records, the hardest, those worse than bicubic."""

import json
from pathlib import Path

import numpy as np
import pytest
from tests.cache.samples import build_job

from dukd_cache.build.columns import COLUMNS
from dukd_cache.check import hardest
from dukd_cache.check.hardest import HARDEST, WORSE, picks_of
from dukd_cache.check.sheet import contact_sheet
from dukd_cache.commands.build import build_cache
from dukd_cache.commands.inspect import measured
from dukd_cache.format.reader import Cache


@pytest.fixture(scope="module")
def cache(photos: Path, teacher_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Cache:
    """With all columns; its teacher is a random network, worse than bicubic wherever there is a truth."""
    out = tmp_path_factory.mktemp("columns") / "c"
    build_cache(*build_job(photos, out, teacher_file, columns=tuple(COLUMNS)))
    return Cache(out)


def test_the_worst_come_first_and_what_has_no_number_never() -> None:
    bicubic = np.array([30.0, 20.0, np.nan, 25.0])
    answer = np.array([29.0, 21.0, 1.0, 20.0])
    assert picks_of({"bicubic_psnr": bicubic, "answer_psnr": answer}) == {HARDEST: [1, 3, 0], WORSE: [3, 0]}
    assert picks_of({"bicubic_psnr": bicubic, "answer_psnr": np.full(4, np.nan)}) == {HARDEST: [1, 3, 0]}
    assert picks_of({"answer_psnr": answer}) == {}
    assert len(picks_of({"bicubic_psnr": np.arange(99.0)})[HARDEST]) == 10


def test_distributions_are_of_all_records(cache: Cache) -> None:
    found = hardest.facts(cache)
    assert found.keys() == {*cache.views}
    assert "answer_psnr" not in found["zoom_in"]["columns"]
    for view, of_view in found.items():
        for name, each in of_view["columns"].items():
            values = cache.columns(view)[name]
            expected = [*np.quantile(values, (0, 0.25, 0.5, 0.75, 1)), values.mean()]
            assert list(each.values()) == pytest.approx(expected)


def test_text_and_json_name_the_records(cache: Cache) -> None:
    found = measured(cache, 5, None, "cpu")
    json.dumps(found.facts, allow_nan=False)
    numbers = found.facts["numbers"]
    assert len(numbers["base"][HARDEST]) == len(numbers["base"][WORSE]) == 10
    assert WORSE not in numbers["zoom_in"]
    text = found.tables[-1]
    for view, of_view in numbers.items():
        for kind in (HARDEST, WORSE):
            for each in of_view.get(kind, ()):
                info = cache.info(view, each["record"])
                assert (each["image"], each["x"], each["y"]) == (info.image, info.x, info.y)
                line = f"#{each['record']} {info.image} ({info.x}, {info.y})"
                (row,) = [row for row in text.splitlines() if f"| {view} " in row and kind in row and f"{line} " in row]
                assert f"{each['numbers']['bicubic_psnr']:.2f}" in row


def test_a_cache_without_columns_says_nothing(small_cache: Path) -> None:
    assert hardest.facts(Cache(small_cache)) == {}
    found = measured(Cache(small_cache), 5, None, "cpu")
    assert "numbers" not in found.facts
    assert len(found.tables) == 1


def test_a_contact_sheet_shows_them(cache: Cache, small_cache: Path) -> None:
    assert contact_sheet(cache, 1).height > 2 * contact_sheet(Cache(small_cache), 1).height

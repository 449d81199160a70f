"""A cache as one HTML page: whole in one file, with all that `inspect` measures."""

import re
from pathlib import Path

import pytest
from tests.browser import Browser, read
from tests.cache.samples import build_job

from dukd_cache.build.columns import COLUMNS
from dukd_cache.check.hardest import HARDEST, WORSE
from dukd_cache.check.page import gains
from dukd_cache.commands.build import build_cache
from dukd_cache.commands.inspect import Measured, measured, save_page
from dukd_cache.format.reader import Cache


@pytest.fixture(scope="module")
def numbers() -> list[Measured]:
    return []


@pytest.fixture(scope="module")
def page(photos: Path, teacher_file: Path, numbers: list[Measured], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a cache with all columns and an image that was skipped; the teacher was asked again."""
    out = tmp_path_factory.mktemp("page")
    build_cache(*build_job(photos, out / "c & <b>", teacher_file, columns=tuple(COLUMNS)))
    cache = Cache(out / "c & <b>")
    numbers.append(measured(cache, 3, teacher_file, "cpu"))
    save_page(cache, numbers[0], out / "page.html")
    return out / "page.html"


def test_the_page_needs_nothing_else(page: Path) -> None:
    found = read(page)
    assert not {"script", "link"} & {*found.tags}
    inner = [address for address in found.addresses if address.startswith("#")]
    assert [*dict.fromkeys(address.removeprefix("#") for address in inner)] == found.ids
    assert all(address.startswith("data:image/png;") for address in found.addresses if address not in inner)
    assert not re.search(r"url\(|@import", page.read_text(encoding="utf-8"))


def test_the_page_says_what_inspect_says(page: Path, numbers: list[Measured]) -> None:
    texts, facts = read(page).texts, numbers[0].facts
    assert "c & <b>" in texts
    for view, found in facts["quality"].items():
        assert view in texts
        for each in (*found["psnr"].values(), *found["bytes"].values()):
            assert {f"{each['mean']:,.2f}", f"{each['mean']:,.0f}"} & {*texts}
    assert {*facts["notes"]} <= {*texts}
    told = [text for text in texts if text.startswith("Distance to the truth of ")]
    assert [text.split()[5].strip(",") for text in told] == ["base", "zoom_out"]
    for view, holds in facts["trusted"].items():
        (line,) = [text for text in texts if text.startswith(f"Safe augmentations of {view}: ")]
        safe, _, others = line.partition(": ")[2].partition("; not ")
        good = [name for name, is_safe in holds.items() if is_safe]
        assert re.findall(r"\w+", safe) == (good or ["none"])
        assert re.findall(r"\w+", others) == ([name for name in holds if name not in good] if good else [])
    assert texts.count("✓ safe") + texts.count("✗ not safe") == sum(map(len, facts["trusted"].values()))
    for view, found in facts["numbers"].items():
        for kind in (HARDEST, WORSE):
            assert (f"{view}: {kind}, worst first" in texts) == (kind in found)
            assert all(f"#{each['record']}" in texts for each in found.get(kind, ()))


def test_what_is_farther_from_the_truth_than_bicubic_is_told() -> None:
    means = {"near-truth": 21.5, "far-truth": 20.05, "near-bicubic": 22, "truth-bicubic": 20.62}
    found = {"base": {"psnr": {pair: {"mean": mean} for pair, mean in means.items()}}, "zoom_in": {"psnr": {}}}
    assert [*gains(found, ["near", "far"])] == [
        "Distance to the truth of base, compared with bicubic: near is 0.88 dB closer, far is 0.57 dB farther."
    ]


def test_a_cache_without_answers_and_columns(photos: Path, tmp_path: Path) -> None:
    build_cache(*build_job(photos, tmp_path / "pairs", None))
    save_page(Cache(tmp_path / "pairs"), Measured({}, ()), tmp_path / "page.html")
    text = " ".join(read(tmp_path / "page.html").texts)
    assert "without a teacher: pairs to train from scratch" in text
    assert "Nothing was measured." in text
    assert "The cache has no columns." in text


@pytest.mark.parametrize(("width", "dark"), [(1280, True), (390, False)])
def test_axe_finds_nothing_wrong(page: Path, browser: Browser, width: int, dark: bool) -> None:
    assert browser.violations(page, width, dark) == []


def test_axe_finds_what_is_wrong(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "bad.html").write_text('<!DOCTYPE html><body><img src="x.png"><p style="width: 900px">wide</p></body>')
    rules = {each[0] for each in browser.violations(tmp_path / "bad.html", 390)}
    assert {"image-alt", "html-has-lang", "wider than the window"} <= rules

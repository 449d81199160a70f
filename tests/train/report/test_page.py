"""The HTML page of a report: whole in one file, well-formed, with every run and set; drawn by a real browser."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from tests.browser import Browser, read
from tests.train.natural import photographs, torch_home
from tests.train.report.test_compare import make_run, write_images

from dukd_train.report.compare import compare
from dukd_train.report.plotting import styles


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two methods of two seeds, on two sets; the name of a set would break careless HTML."""
    root = tmp_path_factory.mktemp("page")
    sets = {name: write_images(root / folder, count=2) for name, folder in (("Small", "s"), ("<b>&", "t"))}
    runs = [
        make_run(root / "runs" / f"{method}-s{seed}", sets["Small"], seed, method)
        for method in ("scratch", "dukd")
        for seed in (0, 1)
    ]
    out = root / "report"
    teacher, photos = runs[0] / "student.safetensors", {"real & <b>": photographs(root / "photos")}
    with torch_home(root / "home", model=True):
        compare(runs, out, hr=sets, lr_only=photos, teacher=teacher, pictures=3, device="cpu")
    return out


def test_the_page_needs_nothing_else(report: Path) -> None:
    page = read(report / "report.html")
    assert "script" not in page.tags
    assert "link" not in page.tags
    inner = [address for address in page.addresses if address.startswith("#")]
    assert [address.removeprefix("#") for address in inner] == page.ids
    kinds = ("data:image/", "data:application/pdf;", "data:text/x-tex;")
    assert all(address.startswith(kinds) for address in page.addresses if address not in inner)
    assert not re.search(r"url\(|@import", (report / "report.html").read_text(encoding="utf-8"))


def test_the_page_has_everyone_and_every_set(report: Path) -> None:
    page = read(report / "report.html")
    for expected in ("scratch-s0", "scratch-s1", "dukd-s0", "dukd-s1", "scratch", "dukd", "bicubic", "teacher"):
        assert expected in page.texts, expected
    for name in ("Small", "<b>&"):
        assert name in page.texts
        assert f"{name}/image0" in page.texts or f"{name}/image1" in page.texts  # a crop
    assert "seed" in page.texts
    text = " ".join(page.texts)
    assert "4 runs in 2 groups" in text
    assert "c0ffee" in text  # the cache
    assert page.texts.count("zoom_in: student and teacher") == 0  # in pictures only


def test_the_page_says_what_the_files_say(report: Path) -> None:
    page = read(report / "report.html")
    with (report / "table.csv").open(newline="", encoding="utf-8") as stream:
        rows = {row["name"]: row for row in csv.DictReader(stream)}
    for name in ("scratch-s0", "dukd-s1"):
        assert f"{float(rows[name]['Small psnr_y']):.3f}" in page.texts
    pairs = [
        float(rows[f"dukd-s{at}"]["Small psnr_y"]) - float(rows[f"scratch-s{at}"]["Small psnr_y"]) for at in (0, 1)
    ]
    assert f"{np.mean(pairs):+.3f} ± {np.std(pairs, ddof=1):.3f}".replace("-", "−") in page.texts


def test_photographs_are_chosen_by_the_keyboard(report: Path) -> None:
    page = read(report / "report.html")
    text = (report / "report.html").read_text(encoding="utf-8").partition('<section id="photographs">')[2]
    assert text.count('class="stage" tabindex="0"') == 2
    choice = r'<input type="radio" name="view-(\d)"( checked)?> (\S+) <span class="faint">(.*?)<'
    choices = re.findall(choice, text)
    assert [found[:3] for found in choices[:4]] == [
        ("1", " checked", "bicubic"), ("1", "", "scratch"), ("1", "", "dukd"), ("1", "", "teacher"),
    ]  # fmt: skip
    assert all(re.fullmatch(r"(seed \d, )?NIQE \d+\.\d\d", found[3]) for found in choices)
    assert {"real & <b>/photo0", "real & <b>/photo1", "real & <b> NIQE"} <= {*page.texts}
    assert text.count("<figure>") == len(choices) == 8
    assert [*re.findall(r"figure:nth-child\((\d)\)", (report / "report.html").read_text())] == [*"12345"], (
        "crops have the truth, too"
    )


def test_a_single_run_has_its_page(tmp_path: Path) -> None:
    images = write_images(tmp_path / "HR", count=1)
    run = make_run(tmp_path / "only", images, 0)
    (run / "curve.csv").unlink()
    (run / "validation.csv").unlink()
    compare([run], tmp_path / "out", device="cpu")
    text = " ".join(read(tmp_path / "out" / "report.html").texts)
    assert "Super-resolution ×2: 1 run" in text
    assert "The runs have no curves." in text
    assert "less that of bicubic" in text


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_axe_finds_nothing_wrong(report: Path, browser: Browser, width: int, dark: bool) -> None:
    assert browser.violations(report / "report.html", width, dark) == []


def test_a_browser_shows_it_dark(report: Path, browser: Browser) -> None:
    shown = browser.photograph(report / "report.html", 1200, 2000, dark=True)
    assert shown.max(axis=2).mean() < 80
    assert shown.max() > 220, "the letters"


@pytest.mark.parametrize("width", [1200, 500])
def test_a_browser_shows_it(report: Path, browser: Browser, width: int) -> None:
    shown = browser.photograph(report / "report.html", width, 4000).astype(int)
    assert shown.shape == (4000, width, 3)
    assert (shown[0, 0] == 255).all()  # light
    for look in styles(["scratch", "dukd"]).values():  # keys, marks and curves
        color = [int(look["color"][at : at + 2], 16) for at in (1, 3, 5)]
        assert (np.abs(shown - color).max(axis=2) < 30).sum() > 500
    margin = shown[:, -8:]  # nothing runs out of the page at its right
    assert (margin.min(axis=2) > 200).all()


def test_a_browser_shows_the_answer_that_is_chosen(report: Path, browser: Browser, tmp_path: Path) -> None:
    page = (report / "report.html").read_text(encoding="utf-8")
    head, section = page[: page.index("<body>")], page[page.index('<section id="photographs">') :]

    def shown(name: str) -> np.ndarray:
        first, second = section.split(" checked>", 1)
        chosen = first + ">" + second.replace(f"> {name} <", f" checked> {name} <", 1)
        (tmp_path / "page.html").write_text(head + chosen, encoding="utf-8")
        return browser.photograph(tmp_path / "page.html", 800, 900).astype(int)

    one, other = shown("scratch"), shown("bicubic")
    differing = np.abs(one - other).max(axis=2) > 40
    rows, columns = (np.flatnonzero(differing.any(axis=axis)) for axis in (1, 0))
    assert differing.sum() > 5000
    assert columns.max() < 560, "the stage and the choice, nothing else"
    assert rows.max() - rows.min() < 620

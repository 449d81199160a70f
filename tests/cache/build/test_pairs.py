"""Pairs of features of a cache: every two settings together, against a plain computation of what each record holds.

The teachers are known functions of their input that see left from right, up from down, one channel from another, the
border from the middle and one place in a window from another, so that no step may be left out or done in another order.

Legend: s scale, p input side, c context.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from tests.cache.samples import Asked, build_job, everything, files_of, photo, same
from tests.pairs import Row, rows_of

from dukd_cache.build.reuse import Tally
from dukd_cache.check.verify import verify
from dukd_cache.commands.answer import HowAsked, add
from dukd_cache.commands.build import build_cache, forecast
from dukd_cache.commands.verify import verify_cache
from dukd_cache.format.reader import Cache
from dukd_cache.format.record import Record
from dukd_cache.settings.part import Part
from dukd_cache.settings.takes import Takes
from dukd_cache.system.arrays import F64, U8

S, P, WINDOW = 2, 12, 8
SIZES = [(51, 47), (44, 57)]
RECORDS = len(SIZES) * (2 + 1 + 1)

CODE = f"""
from torch.nn.functional import pad
import torch

def answer(x, scale, window=0):
    left, below = pad(x, (1, 0))[..., :-1], pad(x, (0, 0, 0, 1))[..., 1:, :]
    y = 0.5 * x + 0.3 * left + 0.1 * below + 0.1 * x.roll(-1, 1)
    if window:
        y = y * (1 - 0.02 * (torch.arange(x.shape[-1]) % window))
    i = torch.arange(scale)
    phase = (1 - 0.05 * i[:, None] - 0.03 * i).repeat(y.shape[-2:])
    return y.repeat_interleave(scale, -1).repeat_interleave(scale, -2) * phase

def x2(x): return answer(x, {S})
def x4(x): return answer(x, {2 * S})
def window_x2(x): return answer(x, {S}, {WINDOW})
def window_x4(x): return answer(x, {2 * S}, {WINDOW})
def second_x2(x): return 0.8 * answer(x, {S}) + 0.1
def second_x4(x): return 0.8 * answer(x, {2 * S}) + 0.1
"""

BLUR = [{"blur": {"side": [3, 5], "sigma": [0.5, 2]}}, {"shrink": {"methods": ["area"]}}]
DRAWN = [{"blur": {"side": 5}}, {"resize": {"of": "lr"}}, "noise", {"jpeg": {"probability": 0.5, "late": 0.5}}]
FACTORS: dict[str, list[Any]] = {
    "context": [0, 3],
    "self_ensemble": [1, 8, 16],
    "teachers": ["one", "two", "later"],
    "lr": ["bicubic", "files", "blurred", "blurred, of clean", "blurred, of both", "drawn, of both"],
    "smaller": [False, True],
    "window": [1, WINDOW],
    "columns": [False, True],
    "dtype": ["uint8", "float16", "float32"],
    "store": ["webdataset", "zarr"],
    "images": ["RGB", "grey", "grey of 16 bits"],
    "then": ["in parts", "reused", "changed"],
}
COLUMNS = ["answer_psnr", "bicubic_psnr", "disagreement", "gradient_energy"]


def possible(row: Row) -> bool:
    """An answer that is added later has no surroundings to see."""
    return not (row.get("teachers") == "later" and row.get("context"))


ROWS = rows_of(FACTORS, possible)


def test_few_rows_hold_every_pair() -> None:
    assert len(ROWS) <= 40


def reflected(image: U8, by: int) -> U8:
    return np.pad(image, ((by, by), (by, by), (0, 0)), "reflect")


def bicubic(image: npt.NDArray[Any], up: int, down: int) -> U8:
    """MATLAB's `imresize`, by the weights of every new pixel: height first, rounded after each of both."""
    for axis in (0, 1):
        there = image.shape[axis]
        wide = max(1, down / up)
        middle = (np.arange(there * up // down) + 0.5) * down / up - 0.5
        places = np.floor(middle - 2 * wide)[:, None] + np.arange(4 * wide + 2)
        d = np.abs(middle[:, None] - places) / wide
        weights = np.where(
            d <= 1, 1.5 * d**3 - 2.5 * d**2 + 1, np.where(d <= 2, -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2, 0)
        )
        weights /= weights.sum(1, keepdims=True)
        around = places.astype(int) % (2 * there)
        found = np.moveaxis(image, axis, 0)[np.minimum(around, 2 * there - 1 - around)].astype(np.float64)
        image = np.moveaxis(np.einsum("op,op...->o...", weights, found), 0, axis).clip(0, 255)
        image = np.floor(image + 0.5 + 1e-9).astype(np.uint8)
    return image


@dataclass(frozen=True)
class Scene:
    """An image as the test made it."""

    hr: U8
    lr: U8

    def clean(self, record: Record, around: int) -> U8:
        """The input with so many of its pixels on each side, where nothing is drawn for it."""
        info, side = record.info, len(record.input)
        source, by = (self.hr, 1) if info.view == "zoom_in" else (self.lr, S if info.view == "zoom_out" else 1)
        found = square(reflected(source, around * by), info.x, info.y, by * (side + 2 * around))
        return bicubic(found, 1, S) if info.view == "zoom_out" else found

    def blurred(self, record: Record, around: int) -> U8:
        """The same of what `BLUR` made of the whole picture."""
        info, by = record.info, 5 + around
        x, y, side = info.x, info.y, S * (len(record.input) + 2 * by)
        if info.view == "base":
            fine = square(reflected(self.hr, S * by), S * x, S * y, side)
        elif info.view == "zoom_in":
            fine = bicubic(reflected(self.hr, by + 8), S, 1)[8 * S : -8 * S, 8 * S : -8 * S]
            fine = square(fine, S * x, S * y, side)
        else:
            fine = square(reflected(self.lr, S * by), x, y, side)
        reach, sigma = int(info.columns["blur1_side"]) // 2, info.columns["blur1_sigma_x"]
        line = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
        kernel = np.outer(line, line) / line.sum() ** 2
        windows = np.lib.stride_tricks.sliding_window_view(reflected(fine, reach), kernel.shape, (0, 1))
        smooth = np.einsum("yxcij,ij->yxc", windows, kernel)
        small = smooth.reshape(len(fine) // S, S, -1, S, 3).mean((1, 3))
        return np.floor(small[5:-5, 5:-5] + 0.5).astype(np.uint8)

    def truth(self, record: Record) -> U8:
        info, side = record.info, S * len(record.input)
        return (
            square(self.hr, S * info.x, S * info.y, side)
            if info.view == "base"
            else square(self.lr, info.x, info.y, side)
        )


def square(image: U8, x: int, y: int, side: int) -> U8:
    return image[y : y + side, x : x + side]


def plain_answer(x: F64, scale: int, window: int, second: bool) -> F64:
    """What `CODE` answers, in NumPy: [h,w,3] in [0,1] → [s·h,s·w,3]."""
    height, width, _ = x.shape
    rows, columns = (-(-side // window) * window for side in (height, width))
    x = np.pad(x, ((0, rows - height), (0, columns - width), (0, 0)), "reflect")
    left, below = np.zeros_like(x), np.zeros_like(x)
    left[:, 1:], below[:-1] = x[:, :-1], x[1:]
    y = 0.5 * x + 0.3 * left + 0.1 * below + 0.1 * x[..., [1, 2, 0]]
    if window > 1:
        y *= (1 - 0.02 * (np.arange(columns) % window))[:, None]
    large = np.empty((scale * rows, scale * columns, 3))
    for i, j in product(range(scale), repeat=2):
        large[i::scale, j::scale] = y * (1 - 0.05 * i - 0.03 * j)
    large = 0.8 * large + 0.1 if second else large
    return large[: scale * height, : scale * width].clip(0, 1)


def answer_to(question: U8, row: Row, second: bool) -> F64:
    """Of the centre: not rounded yet, in levels."""
    smaller, window = row["smaller"], 1 if second else row["window"]
    found = []
    turns = [*product((False, True), repeat=3)][: min(8, row["self_ensemble"])]
    for (vertical, horizontal, transposed), inverted in product(
        turns, (False, True)[: max(1, row["self_ensemble"] // 8)]
    ):
        x = question[:: -1 if vertical else 1, :: -1 if horizontal else 1].astype(np.float64) / 255
        x = x.transpose(1, 0, 2) if transposed else x
        large = plain_answer(1 - x if inverted else x, S * 2 if smaller else S, window, second)
        large = bicubic(255 * large, 1, 2) / 255 if smaller else large
        large = 1 - large if inverted else large
        large = large.transpose(1, 0, 2) if transposed else large
        found.append(large[:: -1 if vertical else 1, :: -1 if horizontal else 1])
    cut = S * row["context"]
    return 255 * np.mean(found, axis=0)[cut : len(large) - cut, cut : len(large) - cut]


def columns_of(record: Record, answers: list[str]) -> dict[str, float]:
    levels = {name: record[name].astype(np.float64) * (1 if record[name].dtype == np.uint8 else 255) for name in record}
    truth = levels.get("truth")
    target = levels[answers[0]] if truth is None else truth

    def db(picture: F64) -> float:
        return float(10 * np.log10(255**2 / np.mean((picture - target) ** 2)))

    told = [levels[name] for name in answers]
    return {
        "answer_psnr": np.nan if truth is None else float(np.mean([db(each) for each in told])),
        "bicubic_psnr": db(bicubic(record.input, S, 1).astype(np.float64)),
        "disagreement": float(np.sqrt(np.var(told, axis=0).mean())) if len(told) > 1 else np.nan,
        "gradient_energy": float(sum(np.mean(np.diff(target, axis=axis) ** 2) for axis in (0, 1))),
    }


def check_record(record: Record, scene: Scene, row: Row, answers: dict[str, str]) -> None:
    """`answers`: what each was asked about."""
    drawn = row["lr"].startswith(("blurred", "drawn"))
    if "truth" in record:
        assert np.array_equal(record["truth"], scene.truth(record))
    if "clean" in record:
        assert np.array_equal(record["clean"], scene.clean(record, 0))
    if not drawn:
        assert np.array_equal(record.input, scene.clean(record, 0))
    if row["lr"].startswith("blurred"):
        close(record.input, scene.blurred(record, 0), 1e-6, 1)
    for name, of in answers.items():
        question, around = record[of], row["context"]
        if around and of == "input" and row["lr"].startswith("drawn"):
            continue  # its noise cannot be drawn here: `verify --teacher` has the same surroundings
        if around:
            question = scene.blurred(record, around) if drawn and of == "input" else scene.clean(record, around)
        step = {"uint8": 0.5, "float16": 0.0625, "float32": 0}[row["dtype"]] + 2e-3
        levels = record[name].astype(np.float64) * (1 if row["dtype"] == "uint8" else 255)
        close(levels, answer_to(question, row, name.startswith("second")), step, 1 + step)
    if row["columns"]:
        for name, number in columns_of(record, sorted(answers)).items():
            assert record.info.columns[name] == pytest.approx(number, abs=2e-3, nan_ok=True), name


def close(found: npt.NDArray[Any], expected: npt.NDArray[Any], step: float, most: float) -> None:
    """All but a few within `step`: where a sum lies in the middle of two levels, its last digit decides."""
    apart = np.abs(found.astype(np.float64) - expected)
    assert apart.max() <= most
    assert (apart <= step).mean() > 0.97


@dataclass(frozen=True)
class Bench:
    """The files of a row."""

    folder: Path
    row: Row
    scenes: dict[str, Scene]
    asked: Asked
    """For the build."""
    answers: dict[str, str]
    """What each is asked about."""

    @property
    def first(self) -> Asked:
        """What is built before an answer is added."""
        later = self.row["teachers"] == "later"
        return self.asked.but(teacher=self.asked.config.teacher["teacher"]) if later else self.asked

    def build(self) -> Cache:
        build_cache(*self.first)
        if self.row["teachers"] == "later":
            for name, of in self.answers.items():
                if name.startswith("second"):
                    how = HowAsked(device="cpu", batch_size=4, self_ensemble=self.row["self_ensemble"], of=of)
                    add(self.asked.out, self.asked.config.teacher["second"], name, how, Tally())
        return Cache(self.asked.out)


def bench_of(folder: Path, row: Row) -> Bench:
    hr, lr = folder / "hr", folder / "lr"
    hr.mkdir()
    lr.mkdir()
    scenes: dict[str, Scene] = {}
    for number, size in enumerate(SIZES):
        image, name = photo(*size, seed=number), f"photo{number}"
        if row["images"] != "RGB":
            image = image[..., :1].repeat(3, -1)
        if row["images"] == "grey of 16 bits":
            stored = image[..., 0].astype(np.uint16) * 257 + 100
            Image.fromarray(stored).save(hr / f"{name}.png")
        else:
            Image.fromarray(image[..., 0] if row["images"] == "grey" else image).save(hr / f"{name}.png")
        image = image[: size[1] // S * S, : size[0] // S * S]
        small = bicubic(image, 1, S)
        if row["lr"] == "files":
            small = 255 - (255 - small) // 10 * 9
            Image.fromarray(small).save(lr / f"{name}x{S}.png")
        scenes[f"{name}.png"] = Scene(image, small)
    code = folder / "own.py"
    code.write_text(CODE)
    scale = f"x{2 * S if row['smaller'] else S}"
    teacher = {"teacher": Path(f"python:{code}:{'window_' * (row['window'] > 1)}{scale}")}
    if row["teachers"] != "one":
        teacher["second"] = Path(f"python:{code}:second_{scale}")
    of = {"clean": ["clean"], "both": ["input", "clean"]}.get(row["lr"].rpartition(" ")[2], ["input"])
    names = {f"{name}{'_clean' * (len(of) > 1 and each == 'clean')}": each for name in teacher for each in of}
    degradation = {"blurred": BLUR, "drawn": DRAWN}.get(row["lr"].partition(",")[0], "bicubic")
    asked = build_job(
        hr,
        folder / "cache",
        None,
        teacher=teacher,
        scale=S,
        patch=P,
        codec=None,
        degradation=degradation,
        answers_of=of,
        teacher_takes={"teacher": Takes(window=row["window"])},
        columns=COLUMNS if row["columns"] else [],
        **({"lr": lr} if row["lr"] == "files" else {}),
        **{name: row[name] for name in ("context", "self_ensemble", "dtype", "store")},
    )
    return Bench(folder, row, scenes, asked.but(base=2, zoom_in=1, zoom_out=1), names)


def tallied(asked: Asked, part: Part | None = None) -> Tally:
    tally = Tally()
    build_cache(*asked, tally, part)
    return tally


def records_of(cache: Cache) -> Iterator[Record]:
    return (record for view in cache.views for record in everything(cache, view))


def check_parts(bench: Bench, _cache: Cache) -> None:
    """Equal bytes, also where an answer was added later."""
    parts = bench.asked.but(out=bench.folder / "parts")
    for number in (2, 1):
        tallied(parts, Part(number, 2))
    assert files_of(parts.out) == files_of(bench.asked.out)


def check_reuse(bench: Bench, cache: Cache) -> None:
    """In the other store, with nothing to ask."""
    store = {"webdataset": "zarr", "zarr": "webdataset"}[bench.row["store"]]
    again = bench.asked.but(out=bench.folder / "again", store=store, reuse=[cache.root])
    if not bench.row["lr"].startswith("drawn"):
        planned = forecast(*again).tallies.values()
        assert all(tally.asked == 0 for of_view in planned for tally in of_view.values())
    assert tallied(again) == Tally(reused=RECORDS * len(bench.answers))
    for one, other in zip(records_of(cache), records_of(Cache(again.out)), strict=True):
        assert one.keys() == other.keys()
        assert all(same(one[name], other[name]) for name in one)
        assert str(one.info) == str(other.info)


def check_change(bench: Bench, cache: Cache) -> None:
    """One more crop of each image and other columns, in place: what is new is asked about."""
    row = bench.row | {"columns": not bench.row["columns"]}
    known = {each for record in records_of(cache) for each in record.info.fingerprints.values()}
    changed = bench.asked.but(base=3, columns=COLUMNS if row["columns"] else [])
    tally, records = tallied(changed), list(records_of(Cache(changed.out)))
    assert len(records) == RECORDS + len(SIZES)
    asked = sum(each not in known for record in records for each in record.info.fingerprints.values())
    assert 0 < asked <= len(SIZES) * len(bench.answers)
    assert tally == Tally(reused=len(records) * len(bench.answers) - asked, asked=asked)
    for record in records:
        check_record(record, bench.scenes[record.info.image], row, bench.answers)
    assert verify(changed.out) == []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(map(str, row.values())))
def test_a_record_holds_what_its_settings_say(row: Row, tmp_path: Path) -> None:
    bench = bench_of(tmp_path, row)
    cache = bench.build()
    assert {name: info.of for name, info in cache.manifest.answers.items()} == bench.answers
    for record in records_of(cache):
        check_record(record, bench.scenes[record.info.image], row, bench.answers)

    images = {"hr": bench.asked.config.hr, "lr": bench.asked.config.lr}
    for file in bench.asked.config.teacher.values():
        assert verify_cache(cache.root, file, 3, "cpu", **images) == []
    {"in parts": check_parts, "reused": check_reuse, "changed": check_change}[row["then"]](bench, cache)

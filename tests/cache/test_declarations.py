"""What is declared needs no other line: a view, an answer, a column and a codec of these tests' own.

Each is declared in the one place for such things, then built, verified, converted, read and trained with.
"""

import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.cache.samples import crop_spec, header_of, same

from dukd_cache.build import columns, teacher
from dukd_cache.build.columns import Column
from dukd_cache.build.convert import convert, converted_header
from dukd_cache.build.reuse import Tally
from dukd_cache.build.teacher import Teacher
from dukd_cache.build.write import Work, build
from dukd_cache.check.verify import verify
from dukd_cache.commands.prepare import images_info
from dukd_cache.format import codecs
from dukd_cache.format.codecs import Codec
from dukd_cache.format.header import Header
from dukd_cache.format.reader import Cache
from dukd_cache.format.record import Array, Pixels
from dukd_cache.pictures.sources import find_images, identify
from dukd_cache.places.folder import Folder
from dukd_cache.plan import views
from dukd_cache.plan.crops import CropSpec, Plan
from dukd_cache.plan.views import Square, View
from dukd_cache.system.arrays import U8
from dukd_train.data.order import Order
from dukd_train.data.rows import StreamedRows

Change = Callable[[Header], Header]


@pytest.fixture
def asked(teacher_file: Path) -> Teacher:
    return teacher.load(teacher_file, torch.device("cpu"), "fp32")


def made(
    photos: Path,
    out: Path,
    spec: CropSpec,
    teachers: dict[str, Teacher],
    change: Change = lambda header: header,
    **encoding: Any,
) -> Cache:
    """A cache, which holds."""
    plan = Plan(tuple(identify(photos, path, 2) for path in find_images(photos)), spec)
    answers = {name: each.info for name, each in teachers.items()}
    per_shard = {view.name: 5 for view in spec.views}
    header = change(header_of(spec, images_info(plan.images), answers, per_shard, **encoding))
    build(Work(plan, teachers, Folder(out), 4), header)
    assert verify(out) == []
    return Cache(out)


def everything_serves(cache: Cache, out: Path, targets: dict[str, list[str]]) -> None:
    """The other store holds the same; a trainer reads batches of these targets."""
    other = "zarr" if cache.manifest.encoding.store == "webdataset" else "webdataset"
    convert(cache, out, converted_header(cache.manifest, other, None, None))  # type: ignore[arg-type]
    assert verify(out) == []
    there = Cache(out)
    for view in cache.views:
        for index in range(cache.count(view)):
            one, two = cache.read(view, index), there.read(view, index)
            assert one.info == two.info
            assert one.keys() == two.keys()
            assert all(same(one[name], two[name]) for name in one)
    order = Order(cache.manifest, 4, None, 0)
    for view, names in targets.items():
        rows = StreamedRows(cache, view, ("input", *names))  # type: ignore[arg-type]
        picks, _ = order.draw(view, 3, len(rows))
        batch = rows.gather(picks)
        assert len(batch["input"]) == 4
        assert set(batch) == {"input", *names}


def test_a_view(photos: Path, asked: Teacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mirrored squares of HR."""

    def cut(square: Square) -> U8:
        return np.ascontiguousarray(square.of(square.scene.hr)[:, ::-1])

    mirrored = View("mirrored", "hr", 7, cut, cut, has_truth=False)
    monkeypatch.setitem(views.VIEWS, "mirrored", mirrored)
    spec = crop_spec(2, 8, mirrored=3)
    cache = made(photos, tmp_path / "c", spec, {"teacher": asked})
    assert cache.views == ("base", "zoom_in", "zoom_out", "mirrored")
    assert cache.count("mirrored") == 9
    assert cache.read("mirrored", 2).keys() == {"input", "teacher"}
    everything_serves(cache, tmp_path / "d", {"base": ["truth", "teacher"], "mirrored": ["teacher"]})


def test_an_answer(photos: Path, asked: Teacher, tmp_path: Path) -> None:
    """Of a second teacher, stored more finely."""
    other = replace(asked, info=asked.info.model_copy(update={"fingerprint": "0" * 64, "file": "other"}))
    spec = crop_spec(2, 8, answers={"teacher": "uint8", "second": "float16"})
    cache = made(photos, tmp_path / "c", spec, {"teacher": asked, "second": other})
    record = cache.read("zoom_out", 4)
    assert record.keys() == {"input", "second", "teacher", "truth"}
    assert record["second"].dtype == np.float16
    assert np.abs(record["second"].astype(float) * 255 - record["teacher"]).max() < 0.6
    assert set(record.info.fingerprints) == {"teacher", "second"}
    assert set(cache.table("base")) >= {"fingerprint.teacher", "fingerprint.second", "second.bytes"}
    everything_serves(cache, tmp_path / "d", {"base": ["second", "truth"], "zoom_in": ["second"]})


def test_answers_of_several_teachers_are_reused_apart(photos: Path, asked: Teacher, tmp_path: Path) -> None:
    made(photos, tmp_path / "c", crop_spec(2, 8, answers={"teacher": "uint8"}), {"teacher": asked})
    other = replace(asked, info=asked.info.model_copy(update={"fingerprint": "0" * 64}))
    spec = crop_spec(2, 8, answers={"again": "uint8", "second": "uint8"})
    plan = Plan(tuple(identify(photos, path, 2) for path in find_images(photos)), spec)
    teachers = {"again": asked, "second": other}
    answers = {name: each.info for name, each in teachers.items()}
    per_shard = {view.name: 5 for view in spec.views}
    header = header_of(spec, images_info(plan.images), answers, per_shard)
    tally = Tally()
    build(Work(plan, teachers, Folder(tmp_path / "d"), 4, reuse=(Folder(tmp_path / "c"),), tally=tally), header)
    total = sum(map(header.total, header.views))
    assert (tally.reused, tally.asked) == (total, total)
    assert verify(tmp_path / "d") == []


@pytest.mark.parametrize("store", ["webdataset", "zarr"])
def test_a_column(photos: Path, asked: Teacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: str) -> None:
    def brightness(arrays: Any) -> float:
        return round(float(np.asarray(arrays["teacher"]).mean()), 4)

    monkeypatch.setitem(columns.COLUMNS, "brightness", Column("float64", brightness))
    kept: Change = lambda header: header.model_copy(  # noqa: E731
        update={"columns": {"brightness": "float64", "bicubic_psnr": "float64"}}
    )
    codec = {"webdataset": "png", "zarr": "blosc"}[store]
    cache = made(photos, tmp_path / "c", crop_spec(2, 8), {"teacher": asked}, kept, store=store, codec=codec)
    for view in cache.views:
        table = cache.table(view)
        expected = [brightness(cache.read(view, index)) for index in range(cache.count(view))]
        assert table["brightness"].tolist() == cache.columns(view)["brightness"].tolist() == expected
        assert (table["bicubic_psnr"] > 0).all()
        assert cache.info(view, 1).columns["brightness"] == expected[1]
    everything_serves(cache, tmp_path / "d", {"base": ["truth"]})


def test_a_codec(photos: Path, asked: Teacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pack(pixels: Pixels, _smooth: bool) -> bytes:
        return zlib.compress(pixels.tobytes(), 9)

    def unpack(content: bytes, array: Array) -> Pixels:
        plain = zlib.decompressobj().decompress(content, array.nbytes)
        pixels: Pixels = np.frombuffer(plain, array.dtype).reshape(array.shape)
        return pixels

    monkeypatch.setitem(codecs.CODECS["webdataset"], "zlib", Codec("z", "numcodecs", pack, unpack))
    cache = made(photos, tmp_path / "c", crop_spec(2, 8), {"teacher": asked}, codec="zlib")
    plain = made(photos, tmp_path / "plain", crop_spec(2, 8), {"teacher": asked})
    for index in range(cache.count("base")):
        assert same(cache.read("base", index)["teacher"], plain.read("base", index)["teacher"])
    everything_serves(cache, tmp_path / "d", {"base": ["truth"]})

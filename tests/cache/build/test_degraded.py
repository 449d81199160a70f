"""Caches of degraded inputs: equal bytes however they are built, and no question that was answered before."""

import io
import json
import re
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.cache.samples import Asked, build_alone, build_job, everything, files_of
from tests.processes import start

from dukd_cache.build.convert import convert, converted_header
from dukd_cache.build.reuse import Tally
from dukd_cache.check.verify import verify
from dukd_cache.commands.answer import HowAsked, add
from dukd_cache.commands.build import build_cache, forecast
from dukd_cache.commands.config import CacheConfig
from dukd_cache.commands.degrade import degrade_folder
from dukd_cache.commands.inspect import table
from dukd_cache.commands.verify import verify_cache
from dukd_cache.format.reader import Cache
from dukd_cache.pictures.degradation.presets import preset
from dukd_cache.pictures.degradation.recipe import columns_of
from dukd_cache.settings.choices import Store
from dukd_cache.settings.model import validated
from dukd_cache.settings.part import Part
from dukd_cache.system.errors import CacheError, SettingError
from dukd_cache.system.threads import SHARE

EVERY = [
    {"blur": {"side": [3, 7], "kernels": {"sinc": 1, "plateau": 1}}},
    {"resize": {"of": "lr", "up": 0.3, "factor": [0.5, 1.2]}},
    "noise",
    {"webp": {"late": 0.5}},
    "shrink",
    "jpeg",
]
LIGHT = [{"blur": {"side": [3, 7]}}, "shrink", {"noise": {}}, {"jpeg": [40, 90]}]


def job(photos: Path, out: Path, teacher: Path | None, **changes: Any) -> Asked:
    zoom = {"zoom_in": 0, "zoom_out": 0}
    return build_job(photos, out, teacher, **zoom | {"degradation": LIGHT, "shard_size": 1} | changes)


BOTH: dict[str, Any] = {"zoom_in": 5, "zoom_out": 5, "answers_of": ["input", "clean"]}


def built(asked: Asked, part: Part | None = None) -> Tally:
    tally = Tally()
    build_cache(*asked, tally, part)
    return tally


@pytest.mark.parametrize("store", ["webdataset", "zarr"])
def test_bytes_are_equal_by_parts_and_after_sigkill(
    photos: Path, teacher_file: Path, tmp_path: Path, store: Store
) -> None:
    codec = {"webdataset": "webp", "zarr": "blosc"}[store]
    more = {"store": store, "codec": codec, "patch": 24, "base": 30, "degradation": EVERY, **BOTH}
    whole, parts, killed = (job(photos, tmp_path / name, teacher_file, **more) for name in ("whole", "parts", "killed"))
    process = start(build_alone, killed, tmp_path / "tally")
    while not [*killed.out.glob("base-*.npy")]:  # the index of a shard: it is whole
        assert process.is_alive()
        time.sleep(0.01)
    process.kill()
    process.join()
    assert built(whole).asked == 2 * 120
    assert len(Cache(whole.out).manifest.shards) > 1
    for number in (2, 1):
        built(parts, Part(number, 2))
    assert process.exitcode == -signal.SIGKILL
    assert built(killed).kept > 0
    assert files_of(parts.out) == files_of(killed.out) == files_of(whole.out)
    assert verify(whole.out) == []
    assert verify_cache(whole.out, teacher_file, 8, "cpu") == []


def test_the_record_says_what_was_drawn(photos: Path, teacher_file: Path, second_teacher: Path, tmp_path: Path) -> None:
    asked = job(photos, tmp_path / "c", teacher_file, columns=("bicubic_psnr",))
    built(asked)
    cache = Cache(asked.out)
    names = columns_of(asked.config.degradation)
    assert cache.manifest.columns == dict.fromkeys((*names, "bicubic_psnr"), "float64")
    assert cache.manifest.degradation.kind == "drawn"
    records, table = everything(cache, "base"), cache.table("base")
    assert {*names} <= {*table}
    assert len({record.info.columns["jpeg1_quality"] for record in records}) > 4
    plain = job(photos, tmp_path / "plain", teacher_file, degradation="bicubic")
    built(plain)
    clean = everything(Cache(plain.out), "base")
    for record, other in zip(records, clean, strict=True):
        assert np.array_equal(record["truth"], other["truth"])
        assert not np.array_equal(record["input"], other["input"])
        assert np.corrcoef(record["input"].ravel(), other["input"].ravel())[0, 1] > 0.6
    convert(cache, tmp_path / "zarr", converted_header(cache.manifest, "zarr", None, None))
    assert [record.info for record in everything(Cache(tmp_path / "zarr"), "base")] == [each.info for each in records]
    drawn = [{name: record.info.columns[name] for name in names} for record in records]
    add(asked.out, second_teacher, "second", HowAsked(device="cpu", batch_size=4), Tally())
    after = everything(Cache(asked.out), "base")
    assert [{name: record.info.columns[name] for name in names} for record in after] == drawn
    assert verify(asked.out) == []


def test_a_changed_range_asks_for_the_inputs_that_changed(photos: Path, teacher_file: Path, tmp_path: Path) -> None:
    sometimes = [{"blur": {"side": 5}}, {"jpeg": {"quality": 50, "probability": 0.3}}]
    asked = job(photos, tmp_path / "c", teacher_file, degradation=sometimes, base=20)
    assert built(asked).asked == 60
    before = everything(Cache(asked.out), "base")
    done = sum(record.info.columns["jpeg1_quality"] > 0 for record in before)
    assert 0 < done < 60
    sometimes[1]["jpeg"]["quality"] = 51
    changed = asked.but(degradation=sometimes)
    assert forecast(*changed).tallies["base"]["teacher"].asked == 60  # what is drawn is not looked into
    tally = built(changed)
    assert (tally.asked, tally.reused) == (done, 60 - done)
    fresh = changed.but(out=tmp_path / "fresh")
    built(fresh)
    assert files_of(changed.out) == files_of(fresh.out)
    more = changed.but(base=25)
    assert forecast(*more).tallies["base"]["teacher"].reused == 60
    assert built(more).reused >= 60


def test_a_teacher_sees_the_degraded_surroundings(photos: Path, teacher_file: Path, tmp_path: Path) -> None:
    asked = job(photos, tmp_path / "c", teacher_file, context=4, **BOTH)
    built(asked)
    assert verify_cache(asked.out, teacher_file, 6, "cpu", hr=photos) == []


def test_answers_to_degraded_and_to_clean_inputs(photos: Path, teacher_file: Path, tmp_path: Path) -> None:
    plain = job(photos, tmp_path / "plain", teacher_file, degradation="bicubic", zoom_in=5, zoom_out=5)
    built(plain)
    asked = job(photos, tmp_path / "c", teacher_file, **BOTH)
    assert built(asked).asked == 2 * 48
    cache, clean = Cache(asked.out), Cache(plain.out)
    for view in cache.views:
        for record, other in zip(everything(cache, view), everything(clean, view), strict=True):
            assert np.array_equal(record["clean"], other["input"])
            assert np.array_equal(record["teacher_clean"], other["teacher"])
            assert record.info.fingerprints["teacher_clean"] == other.info.fingerprints["teacher"]
            assert not np.array_equal(record["teacher"], other["teacher"])
            assert ("truth" in record) == ("truth" in other)
            assert "truth" not in record or np.array_equal(record["truth"], other["truth"])
    assert verify_cache(asked.out, teacher_file, 48, "cpu") == []
    alone = asked.but(out=tmp_path / "alone", answers_of="clean")
    built(alone)
    assert ", fp32, of clean inputs, fingerprint" in table(Cache(alone.out))


def test_a_cache_of_clean_inputs_answers_for_those_of_degraded_ones(
    photos: Path, teacher_file: Path, tmp_path: Path
) -> None:
    plain = job(photos, tmp_path / "plain", teacher_file, degradation="bicubic", zoom_in=5, zoom_out=5)
    built(plain)
    asked = job(photos, tmp_path / "c", teacher_file, **BOTH, reuse=(plain.out,))
    for view, records in {"base": 18, "zoom_in": 15, "zoom_out": 15}.items():
        tallies = forecast(*asked).tallies[view]
        assert (tallies["teacher"].asked, tallies["teacher_clean"].asked) == (records, 0)
    tally = built(asked)
    assert (tally.asked, tally.reused) == (48, 48)
    fresh = asked.but(out=tmp_path / "fresh", reuse=())
    built(fresh)
    assert files_of(asked.out) == files_of(fresh.out)
    changed = asked.but(degradation="light", reuse=())
    assert [forecast(*changed).tallies["base"][name].asked for name in ("teacher", "teacher_clean")] == [18, 0]
    assert built(changed).reused == 48


def test_pairs_need_no_teacher_and_can_be_asked_about_later(photos: Path, teacher_file: Path, tmp_path: Path) -> None:
    asked = job(photos, tmp_path / "c", None)
    built(asked)
    assert set(Cache(asked.out).read("base", 0)) == {"input", "truth"}
    with pytest.raises(CacheError, match="its records hold no clean inputs"):
        add(asked.out, teacher_file, None, HowAsked(device="cpu", of="clean"), Tally())
    kept = job(photos, tmp_path / "kept", None, answers_of=["input", "clean"])
    built(kept)
    assert set(Cache(kept.out).read("base", 0)) == {"input", "clean", "truth"}
    add(kept.out, teacher_file, None, HowAsked(device="cpu", batch_size=4), Tally())
    again = Tally()
    add(kept.out, teacher_file, None, HowAsked(device="cpu", batch_size=4, of="clean"), again)
    assert again.asked == 18
    whole = job(photos, tmp_path / "whole", teacher_file, answers_of=["input", "clean"])
    built(whole)
    for record, other in zip(everything(Cache(kept.out), "base"), everything(Cache(whole.out), "base"), strict=True):
        assert np.array_equal(record["teacher"], other["teacher"])
        assert np.array_equal(record["tiny_x2_clean"], other["teacher_clean"])
    assert verify_cache(kept.out, teacher_file, 18, "cpu") == []


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"answers_of": "clean"}, "`answers_of`: inputs are clean unless they are degraded"),
        ({"answers_of": "blurred", "degradation": "light"}, "answers_of"),
        ({"answers_of": [], "degradation": "light"}, "answers_of"),
        ({"answers_of": ["clean", "clean"], "degradation": "light"}, "`answers_of`: one is given twice"),
        (
            {"teacher": {"a": "a.pth", "a_clean": "b.pth"}, "answers_of": ["input", "clean"], "degradation": "light"},
            "`answers_of`: two answers would have one name",
        ),
        ({"teacher": {"clean": "a.pth"}}, "no answers can be called 'clean'"),
    ],
)
def test_what_cannot_be_asked_for_is_one_line(given: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingError, match=re.escape(says)) as refused:
        validated(CacheConfig, {"hr": "x", **given})
    assert "\n" not in str(refused.value)


def test_bytes_are_equal_on_any_number_of_cores(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for cores in ("1", "2"):
        monkeypatch.setenv(SHARE, cores)
        built(job(photos, tmp_path / cores, None, degradation="real", answers_of=["input", "clean"]))
    assert files_of(tmp_path / "1") == files_of(tmp_path / "2")


def test_a_plan_says_what_it_costs(photos: Path, teacher_file: Path, tmp_path: Path) -> None:
    said = {
        name: forecast(*job(photos, tmp_path / name, teacher_file, degradation=name)).notes
        for name in ("light", "bicubic")
    }
    assert [line.endswith(" ms of one core a record of base") for line in said["light"] if "degradation" in line] == [
        True
    ]
    assert not any("degradation" in line for line in said["bicubic"])


def test_benchmark_sets_are_made_with_the_same_code(photos: Path, tmp_path: Path) -> None:
    for out, seed in (("one", 3), ("again", 3), ("other", 4)):
        assert degrade_folder(photos, tmp_path / out, 2, preset("real"), seed) == 3
    one, again, other = (files_of(tmp_path / out) for out in ("one", "again", "other"))
    assert one == again
    assert one.keys() == other.keys() == {f"photo_{number}x2.png" for number in range(3)}
    assert all(one[name] != other[name] for name in one)
    with Image.open(io.BytesIO(one["photo_1x2.png"])) as image:
        assert image.size == (36, 33)
        told = json.loads(image.text["degradation"])  # type: ignore[attr-defined]
    assert told.pop("seed") == 3
    assert set(told) == set(columns_of(preset("real")))

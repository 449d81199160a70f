"""`dukd-cache plan`: writes nothing, and says what the same build then does."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.cache.samples import Asked, build_job, files_of, photo, save_photos

from dukd_cache import cli
from dukd_cache.build import forecast as forecast_module
from dukd_cache.build.forecast import Cost, Forecast, Sample, _asked, table
from dukd_cache.build.reuse import Tally, existing
from dukd_cache.build.teacher import Teacher
from dukd_cache.commands import build as job
from dukd_cache.commands.degrade import degrade_folder
from dukd_cache.commands.prepare import prepare
from dukd_cache.format.codecs import CODECS
from dukd_cache.format.lifecycle import header_of
from dukd_cache.places.folder import Folder
from dukd_cache.system.errors import CacheError, ImageError


def predicted(asked: Asked) -> Tally:
    """The plan's counts, all views together."""
    made = prepare(*asked)
    out, reuse = Folder(asked.out), [Folder(Path(other)) for other in asked.config.reuse]
    found = existing(made.plan, made.header, out, reuse)
    tallies = [Tally.together(found.tallies(view).values()) for view in made.header.views]
    return Tally(*(sum(getattr(one, field) for one in tallies) for field in ("kept", "reused", "asked")))


def test_counts_are_those_of_the_build_that_follows(teacher_file: Path, tmp_path: Path) -> None:
    """After each kind of change; large images, so that no two crops coincide."""
    hr = save_photos(tmp_path / "hr", [(400, 300), (300, 410), (350, 360)])
    asked = build_job(hr, tmp_path / "cache", teacher_file, base=5, zoom_in=3, zoom_out=2)
    Image.fromarray(photo(300, 300, seed=8)).save(tmp_path / "new.png")
    changes: list[tuple[dict[str, object], Tally]] = [
        ({}, Tally(asked=30)),
        ({}, Tally(kept=30)),
        ({"base": 7, "zoom_out": 0}, Tally(reused=3 * 8, asked=6)),
        ({"base": 7, "zoom_out": 0, "codec": "png"}, Tally(reused=30)),
        ({"base": 7, "zoom_out": 0, "seed": 1}, Tally(asked=30)),
        ({"base": 7, "zoom_out": 0, "zoom_out_patch": 4, "seed": 1}, Tally(kept=30)),  # of a view that is left out
        ({"base": 7, "zoom_out": 0, "dtype": "float16", "seed": 1}, Tally(asked=30)),
        ({"base": 5, "zoom_out": 0, "dtype": "uint8", "seed": 1}, Tally(reused=24)),
    ]
    for change, expected in changes:
        changed = asked.but(**change)
        tally = Tally()
        assert predicted(changed) == expected, change
        job.build_cache(*changed, tally)
        assert tally == expected, change
    (tmp_path / "new.png").rename(hr / "photo_00.png")
    (hr / "photo_2.png").unlink()
    tally = Tally()
    assert predicted(changed) == Tally(reused=16, asked=8)
    job.build_cache(*changed, tally)
    assert tally == Tally(reused=16, asked=8)
    elsewhere = changed.but(out=tmp_path / "other", reuse=(asked.out,), base=6)
    assert predicted(elsewhere) == Tally(reused=24, asked=3)


def test_records_of_other_lr_images_are_not_counted(photos: Path, teacher_file: Path, tmp_path: Path) -> None:
    asked = build_job(photos, tmp_path / "cache", teacher_file, base=2, zoom_in=1, zoom_out=1)
    job.build_cache(*asked)
    degrade_folder(photos, tmp_path / "lr", 2)
    assert predicted(asked.but(lr=tmp_path / "lr")) == Tally(reused=3, asked=9)


def test_whole_shards_of_an_unfinished_cache_are_kept(photos: Path, teacher_file: Path, tmp_path: Path) -> None:
    asked = build_job(photos, tmp_path / "cache", teacher_file, base=2, zoom_in=1, zoom_out=1)
    job.build_cache(*asked)
    (asked.out / "zoom_in-000000.npy").unlink()
    assert predicted(asked) == Tally(kept=9, asked=3)


@pytest.mark.parametrize("shard_size", [1, 128])
@pytest.mark.parametrize("store", CODECS)
def test_sizes_are_near_those_of_the_build(teacher_file: Path, tmp_path: Path, store: str, shard_size: int) -> None:
    """Also where a shard has room for many more records than are measured, or are there."""
    hr = save_photos(tmp_path / "hr", [(101, 90), (113, 107), (95, 123)])
    asked = build_job(hr, tmp_path / "cache", teacher_file, base=30, zoom_in=20, zoom_out=20, patch=24, batch_size=12)
    asked = asked.but(store=store, codec=None, shard_size=shard_size)
    forecast = job.forecast(*asked)
    assert not asked.out.exists()
    found = job.build_cache(*asked)
    for view in found.view_names:
        of_view = re.compile(rf"{view}(-\d+\.(tar|npy)|/\w+/c/.*)")
        real = sum(len(content) for name, content in files_of(asked.out).items() if of_view.fullmatch(name))
        assert forecast.bytes(view) == pytest.approx(real, rel=0.25)
    assert all(seconds > 0 for seconds in forecast.stages.values())


def test_a_plan_writes_nothing_and_says_what_it_found(
    photos: Path,
    teacher_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = build_job(photos, tmp_path / "cache", teacher_file, base=4, zoom_in=4, zoom_out=4)
    job.build_cache(*asked)
    before, header = files_of(tmp_path), header_of(Folder(asked.out))
    words = ["--hr", photos, "--teacher", teacher_file, "--out", asked.out, "--patch", 12, "--base", 5]
    words += ["--batch-size", 4]
    outputs: list[str] = []
    for more in ([], ["--json"]):
        monkeypatch.setattr(sys, "argv", ["dukd-cache", "plan", *map(str, words), *more])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 0
        outputs.append(capsys.readouterr().out)
    printed, found = outputs[0], json.loads(outputs[1])
    assert files_of(tmp_path) == before
    assert header_of(Folder(asked.out)) == header
    for view in ("base", "zoom_in", "zoom_out"):
        assert re.search(rf"^ +{view} +15 +0 +12 +3 ", printed.replace("|", " "), re.MULTILINE), printed
        counts = {name: found["views"][view][name] for name in ("records", "kept", "reused", "asked")}
        assert counts == {"records": 15, "kept": 0, "reused": 12, "asked": 3}
        assert found["views"][view]["bytes"] == pytest.approx(15 * found["views"][view]["bytes_per_record"], rel=0.01)
    assert re.search(r"^bottleneck (reading images|teacher|encoding|disk) ", printed, re.MULTILINE)
    assert re.search(r"^time +about [\d.]+ (s|min)", printed, re.MULTILINE)
    assert found["out"] == str(asked.out)
    assert found["bottleneck"] in found["stages"]
    assert max(found["stages"].values()) <= found["seconds"]


def test_each_of_several_teachers_is_planned(
    photos: Path, teacher_file: Path, second_teacher: Path, tmp_path: Path
) -> None:
    """One of them was asked before."""
    asked = build_job(photos, tmp_path / "cache", teacher_file, base=4, zoom_in=0, zoom_out=0)
    job.build_cache(*asked)
    both = asked.but(teacher=[teacher_file, second_teacher])
    forecast = job.forecast(*both)
    assert forecast.tallies == {"base": {"tiny_x2": Tally(reused=12), "second": Tally(asked=12)}}
    assert forecast.sample.views["base"].teacher.keys() == {"tiny_x2", "second"}
    printed = table(forecast, both.out).replace("|", " ")
    assert re.search(r"^ +base +tiny_x2 +12 +0 +12 +0 ", printed, re.MULTILINE), printed
    assert re.search(r"^ +base +second +12 +0 +0 +12 ", printed, re.MULTILINE), printed
    tally = Tally()
    job.build_cache(*both, tally)
    assert tally == Tally(reused=12, asked=12)
    assert {note.split(" is worse")[0] for note in forecast.notes} <= {"teacher tiny_x2", "teacher second"}


def test_pairs_are_planned_without_a_teacher(photos: Path, tmp_path: Path) -> None:
    forecast = job.forecast(*build_job(photos, tmp_path / "cache", None))
    assert forecast.records == {"base": 18}
    assert forecast.stages["teacher"] == 0
    assert "| base |      18 |" in table(forecast, tmp_path)


@pytest.mark.parametrize("batch_size", [4, 13])
def test_the_teacher_s_time_is_that_of_whole_batches(
    photos: Path, teacher_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_size: int
) -> None:
    """Each takes a second here, and none spans shards: one of base has 27 records, the next 9."""
    asked = build_job(photos, tmp_path / "cache", teacher_file, patch=24, base=12, zoom_in=0, zoom_out=3)
    asked, calls, ask = asked.but(dtype="float32", batch_size=batch_size), [], Teacher.ask
    monkeypatch.setattr(forecast_module, "_asked", lambda *given: (_asked(*given)[0], 1.0))
    forecast = job.forecast(*asked)
    monkeypatch.setattr(job, "doubts", lambda *_given: ())
    monkeypatch.setattr(Teacher, "ask", lambda *given: calls.append(given) or ask(*given))
    job.build_cache(*asked)
    assert forecast.stages["teacher"] == pytest.approx(len(calls))


def test_views_may_be_any(photos: Path, teacher_file: Path, tmp_path: Path) -> None:
    asked = build_job(photos, tmp_path / "cache", teacher_file, base=0, zoom_in=2, zoom_out=0)
    assert job.forecast(*asked).records == {"zoom_in": 6}
    (degrading,) = [line for line in job.forecast(*asked.but(degradation="light")).notes if "degradation" in line]
    assert degrading.endswith("a record of zoom_in")


def test_what_a_build_would_refuse_is_refused(photos: Path, teacher_file: Path, tmp_path: Path) -> None:
    asked = build_job(photos, tmp_path / "cache", teacher_file, base=1, zoom_in=0, zoom_out=0)
    with pytest.raises(CacheError, match="holds something that is no cache"):
        job.forecast(*asked.but(out=photos))
    with pytest.raises(ImageError, match="`patch=25` or less"):
        job.forecast(*asked.but(patch=90))
    job.build_cache(*asked)
    with pytest.raises(CacheError, match=r"patch = 12, asked for 10"):
        job.forecast(*asked.but(patch=10))


@pytest.mark.parametrize("slow", ["reading images", "teacher", "encoding", "disk"])
@pytest.mark.parametrize("on_gpu", [False, True])
def test_the_bottleneck_is_the_part_that_takes_longest(slow: str, on_gpu: bool) -> None:
    """100 records of 10 images: 20 kept, 30 reused, 50 asked; two cores."""
    views: tuple[str, ...] = ("base",)
    seconds = dict.fromkeys(("reading images", "teacher", "encoding", "disk"), 1.0) | {slow: 100.0}
    cost = Cost(
        cutting=0.0, teacher={"t": seconds["teacher"] / 50}, encoding=2 * seconds["encoding"] / 80, bytes=1000.0
    )
    sample = Sample(5, seconds["reading images"] / 8, seconds["disk"] / 80_000, dict.fromkeys(views, cost))
    tallies = {view: {"t": Tally(kept=20, reused=30, asked=50)} for view in views}
    forecast = Forecast(10, {"base": 100}, tallies, sample, cores=2, on_gpu=on_gpu)
    assert forecast.stages == pytest.approx(seconds)
    assert forecast.bottleneck == slow
    shared = seconds["teacher"] + seconds["encoding"] + seconds["reading images"] / 2
    assert forecast.seconds == pytest.approx(100 if on_gpu else max(100, shared))
    assert forecast.bytes("base") == 100_000
    assert f"bottleneck {slow}" in table(forecast, Path("cache"))


def test_places_of_one_image_have_different_keys() -> None:
    from dukd_cache.build.reuse import _mixed

    x, y = np.meshgrid(np.arange(700, dtype=np.uint64), np.arange(700, dtype=np.uint64))
    assert len(np.unique(_mixed(np.uint64(12345), x, y))) == x.size  # type: ignore[arg-type]

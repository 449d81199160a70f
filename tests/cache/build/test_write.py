"""Whole builds: what is in a cache, and that stopping, going on and batch sizes change nothing of it."""

import hashlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.cache.samples import Asked, build_job, crop_spec, everything, files_of, header_of, photo, same, save_photos
from tests.left_overs import left_over
from tests.processes import Running, start_program, wait_for

from dukd_cache.build import teacher, write
from dukd_cache.build.reuse import Tally
from dukd_cache.build.standing import shards_of
from dukd_cache.build.teacher import Teacher
from dukd_cache.build.write import Work, build
from dukd_cache.commands import build as job
from dukd_cache.format import manifest
from dukd_cache.format.container import Packed
from dukd_cache.format.header import Header, ImagesInfo
from dukd_cache.format.lifecycle import HEADER, OPEN
from dukd_cache.format.manifest import ShardInfo
from dukd_cache.format.reader import Cache
from dukd_cache.format.record import Dtype, Pixels, Record
from dukd_cache.format.shards import ShardWriter
from dukd_cache.format.workers import WORKERS
from dukd_cache.pictures.bicubic import downscale
from dukd_cache.pictures.sources import LrFolder, find_images, identify, read_scene
from dukd_cache.places.folder import Folder
from dukd_cache.plan.crops import Plan
from dukd_cache.plan.views import VIEWS
from dukd_cache.settings.choices import Store
from dukd_cache.system.errors import CacheError, ImageError
from dukd_cache.system.left_overs import PARTIAL
from dukd_cache.system.lock import LOCK

PER_SHARD: dict[str, int] = {"base": 5, "zoom_in": 4, "zoom_out": 7}


@pytest.fixture
def asked(teacher_file: Path) -> Teacher:
    return teacher.load(teacher_file, torch.device("cpu"), "fp32")


@pytest.fixture
def plan(photos: Path) -> Plan:
    spec = crop_spec(2, 10, 5, seed=3, base=6, zoom_in=5, zoom_out=4)
    return Plan(tuple(identify(photos, path, 2) for path in find_images(photos)), spec)


def header_for(plan: Plan, asked: Teacher | None, per_shard: Mapping[str, int] = PER_SHARD) -> Header:
    """Shards of a few records, so that a small build has many."""
    content = hashlib.sha256("".join(image.sha256 for image in plan.images).encode()).hexdigest()
    images = ImagesInfo(count=len(plan.images), sha256=content, name_bytes=20)
    return header_of(plan.spec, images, {"teacher": asked.info} if asked else {}, per_shard)


class Stopped(Exception):
    pass


def stop_after(patch: pytest.MonkeyPatch, whole: int, records_more: int = 2) -> None:
    """Stop builds in the middle of a shard, after `whole` whole ones and some records."""
    left = [whole]

    def half(records: Iterable[Packed]) -> Iterable[Packed]:
        for position, record in enumerate(records):
            if position == records_more:
                raise Stopped
            yield record

    class Stopping(ShardWriter):
        def write(self, view: str, number: int, records: Iterable[Packed]) -> ShardInfo:
            left[0] -= 1
            return super().write(view, number, records if left[0] >= 0 else half(records))

    patch.setattr(write, "ShardWriter", Stopping)


def stopped(plan: Plan, asked: Teacher, out: Path, whole: int) -> None:
    """A build that was stopped like that."""
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, whole)
        with pytest.raises(Stopped):
            build(Work(plan, {"teacher": asked}, Folder(out), 4), header_for(plan, asked))


def built(plan: Plan, asked: Teacher | None, out: Path, batch_size: int = 4) -> dict[str, bytes]:
    teachers = {"teacher": asked} if asked else {}
    build(Work(plan, teachers, Folder(out), batch_size), header_for(plan, asked))
    return files_of(out)


def test_shards_follow_one_another_view_by_view(plan: Plan) -> None:
    found = [(shard.view.name, shard.number, len(shard.positions)) for shard in shards_of(header_for(plan, None))]
    base = [("base", 0, 5), ("base", 1, 5), ("base", 2, 5), ("base", 3, 3)]
    zoom_in = [("zoom_in", 0, 4), ("zoom_in", 1, 4), ("zoom_in", 2, 4), ("zoom_in", 3, 3)]
    assert found == [*base, *zoom_in, ("zoom_out", 0, 7), ("zoom_out", 1, 5)]


def test_records_are_those_of_the_plan_with_true_pixels(plan: Plan, asked: Teacher, tmp_path: Path) -> None:
    built(plan, asked, tmp_path / "cache")
    cache = Cache(tmp_path / "cache")
    scenes = {image.name: read_scene(image.path, None, 2) for image in plan.images}
    for view in VIEWS:
        records = everything(cache, view)
        of = plan.spec.view(view)
        crops = list(plan.crops(of, 0, plan.total(of)))
        assert [(r.info.image, r.info.crop, r.info.x, r.info.y) for r in records] == [
            (c.image.name, c.index, c.x, c.y) for c in crops
        ]
        p, q = of.input_side, 2 * of.input_side
        for record in records:
            x, y, scene = record.info.x, record.info.y, scenes[record.info.image]
            if view == "base":
                assert np.array_equal(record.input, scene.lr[y : y + p, x : x + p])
                assert same(record["truth"], scene.hr[2 * y : 2 * y + q, 2 * x : 2 * x + q])
            elif view == "zoom_in":
                assert np.array_equal(record.input, scene.hr[y : y + p, x : x + p])
                assert "truth" not in record
            else:
                assert same(record["truth"], scene.lr[y : y + q, x : x + q])
                assert np.array_equal(record.input, downscale(scene.lr[y : y + q, x : x + q], 2))


def test_two_builds_are_equal_byte_by_byte(plan: Plan, asked: Teacher, tmp_path: Path) -> None:
    one = built(plan, asked, tmp_path / "one")
    assert one == built(plan, asked, tmp_path / "two")
    assert sorted(one) == sorted(
        ["manifest.json"]
        + [f"base-00000{n}.{kind}" for n in range(4) for kind in ("tar", "npy")]
        + [f"zoom_in-00000{n}.{kind}" for n in range(4) for kind in ("tar", "npy")]
        + [f"zoom_out-00000{n}.{kind}" for n in range(2) for kind in ("tar", "npy")]
    )


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_batch_size_changes_no_record(plan: Plan, asked: Teacher, tmp_path: Path, batch_size: int) -> None:
    built(plan, asked, tmp_path / "one", 4)
    built(plan, asked, tmp_path / "two", batch_size)
    one, two = Cache(tmp_path / "one"), Cache(tmp_path / "two")
    for view in VIEWS:
        for a, b in zip(everything(one, view), everything(two, view), strict=True):
            assert a.info == b.info
            assert np.array_equal(a.input, b.input)
            assert same(a.get("truth"), b.get("truth"))
            assert np.abs(a["teacher"].astype(int) - b["teacher"]).max() <= 1


def test_the_teacher_is_asked_in_batches_that_span_no_shards(plan: Plan, asked: Teacher, tmp_path: Path) -> None:
    sizes: list[int] = []

    class Counting(torch.nn.Module):
        def __init__(self, inner: torch.nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, image_NCHW: torch.Tensor) -> torch.Tensor:
            sizes.append(len(image_NCHW))
            answer: torch.Tensor = self.inner(image_NCHW)
            return answer

    counting = replace(asked, network=asked.network.with_module(Counting(asked.network.module)))
    build(Work(plan, {"teacher": counting}, Folder(tmp_path), 4), header_for(plan, asked))
    base, zoom_in, zoom_out = [4, 1, 4, 1, 4, 1, 3], [4, 4, 4, 3], [4, 3, 4, 1]
    assert sizes == [4] * len(base + zoom_in + zoom_out), "the last of a shard filled up: a batch always looks alike"


def test_a_teacher_on_a_gpu_goes_on_while_a_shard_is_written(plan: Plan, asked: Teacher, tmp_path: Path) -> None:
    """The first shard is not done before the teacher was asked about the second; the bytes are those of turns."""
    batches: list[int] = []

    @dataclass(frozen=True)
    class Counting(Teacher):
        @property
        def takes_all_cores(self) -> bool:
            return False

        def ask(self, input_Npp3: np.ndarray, dtype: Dtype) -> Callable[[], Pixels]:
            batches.append(len(input_Npp3))
            return super().ask(input_Npp3, dtype)

    class Waiting(ShardWriter):
        def write(self, view: str, number: int, records: Iterable[Packed]) -> ShardInfo:
            encoded = list(records)
            end = time.monotonic() + 60
            while (view, number) == ("base", 0) and len(batches) <= 2:
                assert time.monotonic() < end, "the teacher waits"
                time.sleep(0.001)
            return super().write(view, number, encoded)

    counting = Counting(asked.network, asked.info, asked.device)
    out = Folder(tmp_path / "waiting")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "ShardWriter", Waiting)
        build(Work(plan, {"teacher": counting}, out, 4), header_for(plan, asked))
    assert files_of(out.path) == built(plan, asked, tmp_path / "plain")


def test_a_teacher_on_a_cpu_takes_turns_with_encoding(plan: Plan, asked: Teacher, tmp_path: Path) -> None:
    busy: list[str] = []

    class Watching(ShardWriter):
        def encode(self, record: Record) -> Packed:
            assert not busy, "the teacher answers meanwhile"
            return super().encode(record)

    @dataclass(frozen=True)
    class Slow(Teacher):
        def ask(self, input_Npp3: np.ndarray, dtype: Dtype) -> Callable[[], Pixels]:
            busy.append("asked")
            time.sleep(0.01)
            answers = super().ask(input_Npp3, dtype)
            busy.clear()
            return answers

    out = Folder(tmp_path / "turns")
    slow = Slow(asked.network, asked.info, asked.device)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "ShardWriter", Watching)
        build(Work(plan, {"teacher": slow}, out, 4), header_for(plan, asked))
    assert files_of(out.path) == built(plan, asked, tmp_path / "plain")


def test_progress_counts_every_record_once(plan: Plan, asked: Teacher, tmp_path: Path) -> None:
    for _ in range(2):  # the second time all shards are there
        told: list[int] = []
        teachers = {"teacher": asked}
        build(Work(plan, teachers, Folder(tmp_path), 4, on_records=told.append), header_for(plan, asked))
        assert sum(told) == 18 + 15 + 12


@pytest.mark.parametrize("whole", [0, 1, 5, 9])
def test_a_stopped_build_goes_on_to_the_same_bytes(plan: Plan, asked: Teacher, tmp_path: Path, whole: int) -> None:
    expected, out = built(plan, asked, tmp_path / "whole"), tmp_path / "cache"
    stopped(plan, asked, out, whole)
    left = {name: content for name, content in files_of(out).items() if not name.startswith((WORKERS, OPEN))}
    assert set(left) - {HEADER} == {name for name in list(expected) if left.get(name) == expected[name]}
    assert len(left) == 1 + 2 * whole
    kept = {path: path.stat().st_mtime_ns for path in out.glob("*.tar")}
    assert built(plan, asked, out) == expected
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, "whole shards are not written again"


@pytest.mark.parametrize("store", ["webdataset", "zarr"])
def test_what_an_open_shard_had_is_not_asked_again(plan: Plan, asked: Teacher, tmp_path: Path, store: Store) -> None:
    """Stopped four times in the second shard, of five: after two records, twice after four, and again after three."""
    header = header_for(plan, asked)
    header = header.model_copy(update={"encoding": header.encoding.model_copy(update={"store": store, "codec": "raw"})})
    tallies = [Tally() for _ in range(5)]
    for (whole, records_more), tally in zip([(1, 2), (0, 4), (0, 4), (0, 3)], tallies, strict=False):
        with pytest.MonkeyPatch.context() as patch:
            stop_after(patch, whole, records_more)
            with pytest.raises(Stopped):
                build(Work(plan, {"teacher": asked}, Folder(tmp_path / "cache"), 1, tally=tally), header)
        assert not (tmp_path / "cache" / manifest.MANIFEST).exists()
    build(Work(plan, {"teacher": asked}, Folder(tmp_path / "cache"), 1, tally=tallies[4]), header)
    assert [tally.reused for tally in tallies[1:]] == [2, 4, 4, 4]
    assert (tallies[4].kept, tallies[4].asked) == (5, 18 + 15 + 12 - 5 - 4)
    build(Work(plan, {"teacher": asked}, Folder(tmp_path / "whole"), 1), header)
    assert files_of(tmp_path / "cache") == files_of(tmp_path / "whole")


def test_a_late_writer_leaves_nothing_in_a_finished_cache(plan: Plan, asked: Teacher, tmp_path: Path) -> None:
    expected, header = built(plan, asked, tmp_path), header_for(plan, asked)
    work = Work(plan, {"teacher": asked}, Folder(tmp_path), 4)
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 0)
        with pytest.raises(Stopped):
            next(write.written(work, header, shards_of(header)[:1], None))
    assert files_of(tmp_path) == expected


def test_a_build_that_fails_leaves_no_threads(
    plan: Plan, asked: Teacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped at the second record of a shard that is longer than all queues together."""
    plan = replace(plan, spec=crop_spec(2, 10, 5, seed=3, base=200, zoom_in=5, zoom_out=4))
    header = header_for(plan, asked, dict.fromkeys(VIEWS, 1000))
    before = threading.active_count()
    stop_after(monkeypatch, 0)
    with pytest.raises(Stopped) as caught:
        build(Work(plan, {"teacher": asked}, Folder(tmp_path), 1), header)
    assert threading.active_count() == before, "while the exception is still held"
    assert caught.value


def test_left_overs_of_a_crash_are_cleared(plan: Plan, asked: Teacher, tmp_path: Path) -> None:
    expected, out = built(plan, asked, tmp_path / "whole"), tmp_path / "cache"
    stopped(plan, asked, out, 2)
    left_over(out / "base-000002.tar")
    (out / "base-000002.tar").write_bytes(b"a shard without its index")
    assert built(plan, asked, out) == expected


def test_a_crash_before_the_first_file_blocks_nothing(plan: Plan, asked: Teacher, tmp_path: Path) -> None:
    expected, out = built(plan, asked, tmp_path / "whole"), tmp_path / "cache"
    out.mkdir()
    left_over(out / HEADER)
    assert built(plan, asked, out) == expected


def test_a_finished_cache_is_left_as_it_is_and_a_lost_shard_made_again(
    plan: Plan, asked: Teacher, tmp_path: Path
) -> None:
    expected = built(plan, asked, tmp_path)
    assert built(plan, asked, tmp_path) == expected
    (tmp_path / "zoom_in-000001.tar").unlink()
    assert built(plan, asked, tmp_path) == expected


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("scale",), 3, "scale = 2, asked for 3"),
        (("patch",), 9, "patch = 10, asked for 9"),
        (("answers", "teacher", "fingerprint"), "f00", "teacher.fingerprint = .*, asked for f00"),
        (("answers", "teacher", "precision"), "bf16", "teacher.precision = fp32, asked for bf16"),
        (("answers", "teacher", "window"), 7, "teacher.window = 1, asked for 7"),
    ],
)
def test_a_cache_whose_answers_are_of_no_use_is_refused_with_both_values(
    plan: Plan, asked: Teacher, tmp_path: Path, finished: bool, path: tuple[str, ...], value: object, says: str
) -> None:
    if finished:
        built(plan, asked, tmp_path)
    else:
        stopped(plan, asked, tmp_path, 1)
    before = files_of(tmp_path)
    content = header_for(plan, asked).model_dump()
    group = content
    for key in path[:-1]:
        group = group[key]
    group[path[-1]] = value
    other = Header.model_validate(content)
    with pytest.raises(CacheError, match=f"holds a cache with {says}") as caught:
        build(Work(plan, {"teacher": asked}, Folder(tmp_path), 4), other)
    assert str(tmp_path) in str(caught.value)
    assert files_of(tmp_path) == before


def test_a_teachers_cache_is_not_one_of_pairs(plan: Plan, asked: Teacher, tmp_path: Path) -> None:
    built(plan, asked, tmp_path)
    with pytest.raises(CacheError, match="answers = teacher, asked for None"):
        build(Work(plan, {}, Folder(tmp_path), 4), header_for(plan, None))


def test_a_folder_with_what_systems_drop_is_an_empty_one(plan: Plan, asked: Teacher, tmp_path: Path) -> None:
    names = {".DS_Store", ".gitkeep", ".nfs0001", "Thumbs.db", "desktop.ini", "@eaDir/x", "lost+found/y"}
    expected, out = built(plan, asked, tmp_path / "whole"), tmp_path / "cache"
    for name in names:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(b"")
    found = built(plan, asked, out)
    assert {name for name in found if name not in expected} == names
    assert found == expected | dict.fromkeys(names, b"")


@pytest.mark.parametrize("name", ["notes.txt", "holiday.zip.partial", "base-000000.tar"])
def test_a_folder_of_other_things_is_refused_and_left_alone(
    plan: Plan, asked: Teacher, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(CacheError, match="holds something that is no cache"):
        built(plan, asked, tmp_path)
    assert files_of(tmp_path) == {name: b"mine"}


def test_a_file_and_a_broken_header_are_refused(plan: Plan, asked: Teacher, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(CacheError, match="expected a folder, found a file"):
        built(plan, asked, tmp_path / "file")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / HEADER).write_text("{}")
    with pytest.raises(CacheError, match="not the header of a cache"):
        built(plan, asked, tmp_path / "cache")


@pytest.mark.parametrize("damage", ["truncated", "gone", "smaller"])
def test_an_image_that_turns_out_bad_leaves_no_manifest(asked: Teacher, tmp_path: Path, damage: str) -> None:
    """The plan has been made already; the build goes on when the image is mended."""
    hr = save_photos(tmp_path / "hr", [(60, 60), (64, 70), (66, 62)])
    spec = crop_spec(2, 10, 5, seed=3, base=4, zoom_in=0, zoom_out=0)
    plan = Plan(tuple(identify(hr, path, 2) for path in find_images(hr)), spec)
    expected = built(plan, asked, tmp_path / "whole")
    path, content = plan.images[1].path, plan.images[1].path.read_bytes()
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "gone":
        path.unlink()
    else:
        Image.fromarray(photo(22, 22)).save(path)
    out = tmp_path / "cache"
    with pytest.raises(ImageError, match=r"photo_1\.png"):
        built(plan, asked, out)
    assert not (out / manifest.MANIFEST).exists()
    assert not list(out.glob(f"*{PARTIAL}"))
    path.write_bytes(content)
    assert built(plan, asked, out) == expected


@pytest.mark.parametrize("of", ["hr", "lr"])
def test_an_image_that_changed_since_it_was_identified_is_refused(asked: Teacher, tmp_path: Path, of: str) -> None:
    """One pixel, in a file of the same length: what is cut is what the plan has hashed."""
    save_photos(tmp_path / "hr", [(60, 60), (64, 70)])
    (tmp_path / "lr").mkdir()
    for number, path in enumerate(find_images(tmp_path / "hr")):
        pixels = read_scene(path, None, 2)
        Image.fromarray(pixels.hr).save(path, compress_level=0)
        Image.fromarray(pixels.lr).save(tmp_path / f"lr/photo_{number}x2.png", compress_level=0)
    lr = LrFolder(tmp_path / "lr")
    found = [identify(tmp_path / "hr", path, 2, lr) for path in find_images(tmp_path / "hr")]
    plan = Plan(tuple(found), crop_spec(2, 10, 5, base=5, zoom_in=0, zoom_out=0))
    expected, out = built(plan, asked, tmp_path / "whole"), tmp_path / "cache"
    stopped(plan, asked, out, 1)
    shard = out / "base-000000.tar"
    kept = shard.stat().st_mtime_ns
    path = tmp_path / of / ("photo_1.png" if of == "hr" else "photo_1x2.png")
    content, other = path.read_bytes(), np.array(Image.open(path))
    other[3, 4] ^= 1
    Image.fromarray(other).save(path, compress_level=0)
    assert path.stat().st_size == len(content)
    with pytest.raises(ImageError) as refused:
        built(plan, asked, out)
    assert str(refused.value) == f"{path}: changed since it was identified; run the same command again"
    assert not (out / manifest.MANIFEST).exists()
    path.write_bytes(content)
    assert built(plan, asked, out) == expected
    assert shard.stat().st_mtime_ns == kept, "whole shards stay"


def started(photos: Path, teacher_file: Path, out: Path) -> tuple[Running, Asked]:
    """A real `dukd-cache build` of some shards that has finished at least one, and the same as a job."""
    options: list[object] = ["--hr", photos, "--out", out, "--teacher", teacher_file, "--patch", 20, "--base", 150]
    options += ["--zoom-in", 9, "--zoom-out", 9, "--batch-size", 1, "--shard-size", 1, "--device", "cpu"]
    running = start_program("dukd_cache", ["build", *options], out.with_name("told.txt"))
    wait_for(lambda: [*out.glob("base-*.npy")] or not running.process.is_alive())
    assert running.process.is_alive(), running.end()
    small = build_job(photos, out, teacher_file, patch=20, base=150, zoom_in=9, zoom_out=9, batch_size=1)
    return running, small


def test_a_killed_process_is_gone_on_with_to_the_same_bytes(photos: Path, teacher_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "cache"
    running, same = started(photos, teacher_file, out)
    running.process.kill()
    assert running.end()[0] == -signal.SIGKILL
    assert not (out / manifest.MANIFEST).exists()
    kept = {path: path.stat().st_mtime_ns for path in out.glob("*.tar") if path.with_suffix(".npy").exists()}
    assert kept
    job.build_cache(*same)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    job.build_cache(*same.but(out=tmp_path / "whole"))
    assert files_of(out) == files_of(tmp_path / "whole")


@pytest.mark.parametrize(
    ("sent", "code", "says"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signalled_process_says_how_to_go_on_in_one_line(
    photos: Path, teacher_file: Path, tmp_path: Path, sent: signal.Signals, code: int, says: str
) -> None:
    """As with Ctrl-C, and as a scheduler does."""
    running, _ = started(photos, teacher_file, tmp_path / "cache")
    os.kill(running.process.pid or 0, sent)
    found, errors = running.end()
    assert found == code, errors
    before = ("reading image headers:", "the teacher is worse than bicubic")  # a random teacher is
    assert [line for line in errors.splitlines() if not line.startswith(before)] == [
        f"dukd-cache: {says}; to resume, run the same command again"
    ]
    left = {path.name for path in (tmp_path / "cache").iterdir()}
    assert manifest.MANIFEST not in left
    assert LOCK not in left
    assert not [name for name in left if name.endswith(PARTIAL)]

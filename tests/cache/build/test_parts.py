"""A build by parts: whoever writes which shard, in whatever order, at once or not, the bytes are those of one build."""

import random
import shutil
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import fsspec
import pytest
import torch
from PIL import Image
from tests.cache.samples import Asked, build_alone, build_job, files_of, photo, save_photos
from tests.processes import start as start_process

from dukd_cache.build.columns import COLUMNS
from dukd_cache.build.parts import START, joined
from dukd_cache.build.reuse import Tally
from dukd_cache.build.standing import Shard, Standing, commit
from dukd_cache.build.write import Local, Work
from dukd_cache.check.verify import other_files, verify
from dukd_cache.commands.build import build_cache
from dukd_cache.commands.degrade import degrade_folder
from dukd_cache.commands.prepare import prepare
from dukd_cache.commands.status import facts, table
from dukd_cache.format.container import Packed
from dukd_cache.format.header import Header
from dukd_cache.format.lifecycle import IMAGES, OPEN, claim, header_of
from dukd_cache.format.manifest import MANIFEST, ShardInfo
from dukd_cache.format.reader import Cache
from dukd_cache.format.shards import ShardWriter
from dukd_cache.format.workers import reporting
from dukd_cache.pictures.known_files import KnownImages
from dukd_cache.pictures.sources import FileFacts, read_facts
from dukd_cache.places.choice import place_at
from dukd_cache.places.folder import Folder
from dukd_cache.settings.part import Part
from dukd_cache.system.errors import BusyError, CacheError, ImageError
from dukd_cache.system.lock import LOCK, PART

STORES = {"webdataset": "webp", "zarr": "blosc"}
"""With the codec of each."""
COUNTS = {"base": 25, "zoom_in": 13, "zoom_out": 10}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As the processes of these tests."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass(frozen=True)
class Whole:
    """A build by one process."""

    asked: Asked
    files: dict[str, bytes]
    shards: int
    seconds: float


@pytest.fixture(scope="module", params=STORES)
def whole(request: pytest.FixtureRequest, teacher_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("whole")
    hr = save_photos(folder / "hr", [(101, 90), (113, 107), (95, 123)])
    store = {"store": request.param, "codec": STORES[request.param], "columns": tuple(COLUMNS)}
    asked = build_job(hr, folder / "cache", teacher_file, patch=40, zoom_out_patch=20, batch_size=2, **COUNTS, **store)
    process, started = start(asked), time.monotonic()
    process.join(300)
    assert process.exitcode == 0
    return Whole(asked, files_of(asked.out), len(Cache(asked.out).manifest.shards), time.monotonic() - started)


def start(asked: Asked, part: Part | None = None) -> ForkServerProcess:
    tally = asked.out.with_name(f"tally-{part.number if part else 0}")
    return start_process(build_alone, asked, tally, None, part)


def by_parts(asked: Asked, *parts: Part) -> list[bool]:
    """One after another, here; whether each found all shards whole."""
    return [build_cache(*asked, Tally(), part) is not None for part in parts]


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2)])
def test_one_after_another_in_any_order(whole: Whole, tmp_path: Path, order: tuple[int, ...]) -> None:
    asked = whole.asked.but(out=tmp_path / "cache")
    assert by_parts(asked, *(Part(number, 3) for number in order)) == [False, False, True]
    assert files_of(asked.out) == whole.files
    assert by_parts(asked, Part(2, 3)) == [True], "given again, it has nothing to do"
    assert files_of(asked.out) == whole.files


def test_at_once(whole: Whole, tmp_path: Path) -> None:
    asked = whole.asked.but(out=tmp_path / "cache")
    processes = [start(asked, Part(number, 3)) for number in (1, 2, 3)]
    for process in processes:
        process.join(300)
        assert process.exitcode == 0
    assert files_of(asked.out) == whole.files
    assert verify(asked.out) == []
    assert other_files(asked.out) == []


def test_their_number_may_change_and_a_plain_build_makes_what_is_missing(whole: Whole, tmp_path: Path) -> None:
    asked = whole.asked.but(out=tmp_path / "cache")
    by_parts(asked, Part(2, 3), Part(1, 5))
    written = {name: (asked.out / name).stat().st_mtime_ns for name in files_of(asked.out) if name.endswith(".npy")}
    assert 2 <= len(written) < whole.shards
    tally = Tally()
    build_cache(*asked, tally)
    assert files_of(asked.out) == whole.files
    assert {name: (asked.out / name).stat().st_mtime_ns for name in written} == written, "nothing is written twice"
    assert tally.kept > 0


def check_killed(whole: Whole, out: Path, seed: int) -> None:
    """Parts at once, killed at random moments; their number changes until they are left in peace."""
    moment, asked = random.Random(seed), whole.asked.but(out=out)
    for _ in range(moment.choice((1, 2, 3))):
        count = moment.choice((2, 3, 4))
        processes = [start(asked, Part(number + 1, count)) for number in range(count)]
        time.sleep(moment.uniform(0.02, 1) * whole.seconds)
        for process in moment.sample(processes, moment.randint(1, count)):
            process.kill()
        for process in processes:
            process.join(300)
            assert process.exitcode in (0, -signal.SIGKILL)
    processes = [start(asked, Part(number, 2)) for number in (1, 2)]
    for process in processes:
        process.join(300)
        assert process.exitcode == 0
    assert files_of(out) == whole.files
    assert verify(out) == []


def test_killed_parts_end_with_the_same_bytes(whole: Whole, tmp_path: Path) -> None:
    check_killed(whole, tmp_path / "cache", seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 120))
def test_killed_at_20_moments(whole: Whole, tmp_path: Path, seed: int) -> None:
    check_killed(whole, tmp_path / "cache", seed)


def test_who_commits_removes_the_signs_of_life_of_those_that_end(tmp_path: Path) -> None:
    """While they write them: it must end no worker."""

    class Committed(Folder):
        def write(self, name: str, content: bytes) -> None:  # noqa: ARG002
            raise FileNotFoundError(2, "No such file or directory", name)

    counted: list[int] = []
    with reporting(Committed(tmp_path), "2-of-2", counted.append) as count:
        count(3)
    assert counted == [3]


def test_a_whole_build_and_parts_keep_apart(whole: Whole, tmp_path: Path) -> None:
    out = tmp_path / "cache"
    with joined(Folder(out), lambda: None), joined(Folder(out), lambda: None):
        with pytest.raises(BusyError, match=f"{out}: another {PART} writes here .process .*; wait for its end"):
            build_cache(*whole.asked.but(out=out))
        assert (out / LOCK).exists()
    assert not (out / LOCK).exists(), "who leaves last puts out the light"
    with Folder(out).locked(), pytest.raises(BusyError, match="another build writes here"):
        build_cache(*whole.asked.but(out=out), part=Part(1, 2))


def test_who_comes_first_starts_alone_and_the_others_wait(tmp_path: Path) -> None:
    place, begun, go = Folder(tmp_path), threading.Event(), threading.Event()
    order: list[str] = []

    def first() -> None:
        begun.set()
        go.wait(10)
        order.append("started")

    def part(start: Callable[[], None]) -> None:
        with joined(place, start):
            order.append("joined")
            time.sleep(0.1)

    threads = [threading.Thread(target=part, args=(first,))]
    threads[0].start()
    assert begun.wait(10)
    with pytest.raises(BusyError, match=START):
        place.refuse_if_locked()
    threads.append(threading.Thread(target=part, args=(lambda: order.append("second"),)))
    threads[1].start()
    time.sleep(0.2)
    assert order == []
    go.set()
    for thread in threads:
        thread.join()
    assert order[:2] == ["started", "joined"]
    assert order.count("joined") == 2


def _broken_off(records: Iterator[Packed]) -> Iterator[Packed]:
    yield next(records)
    raise InterruptedError


def test_a_late_writer_does_not_damage_a_finished_cache(whole: Whole, tmp_path: Path) -> None:
    """Taken for dead, it goes on with a shard that another wrote meanwhile: broken off or not, nothing changes."""
    out = tmp_path / "cache"
    shutil.copytree(whole.asked.out, out)
    cache = Cache(out)
    writer = ShardWriter(Folder(out), cache.manifest.header)
    shard = cache.manifest.shards[0]

    def records() -> Iterator[Packed]:
        return (writer.encode(cache.read(shard.view, index)) for index in range(shard.records))

    with pytest.raises(InterruptedError):
        writer.write(shard.view, 0, _broken_off(records()))
    assert files_of(out) == whole.files
    assert writer.write(shard.view, 0, records()) == shard
    assert files_of(out) == whole.files


def test_two_who_write_one_shard_at_once(whole: Whole, tmp_path: Path) -> None:
    cache = Cache(whole.asked.out)
    writer = ShardWriter(Folder(tmp_path), cache.manifest.header)
    shard, meeting = cache.manifest.shards[0], threading.Barrier(2)

    def records() -> Iterator[Packed]:
        for index in range(shard.records):
            meeting.wait(10)
            yield writer.encode(cache.read(shard.view, index))

    threads = [threading.Thread(target=lambda: writer.write(shard.view, 0, records())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert writer.finished(shard.view, 0, shard.records) == shard
    assert {name: content for name, content in whole.files.items() if name in files_of(tmp_path)} == files_of(tmp_path)


def test_workers_of_another_kind_are_refused(whole: Whole, tmp_path: Path) -> None:
    asked = whole.asked.but(out=tmp_path / "cache")
    by_parts(asked, Part(1, 2))
    computed = header_of(Folder(asked.out)).computed  # type: ignore[union-attr]
    assert computed is not None
    assert computed.endswith("with 1 thread, batches of 2")
    other = asked.but(batch_size=3)
    for part in (Part(2, 2), None):
        with pytest.raises(CacheError, match=f"holds answers computed on {computed}, here it is .* batches of 3"):
            build_cache(*other, Tally(), part)
    with joined(Folder(asked.out), lambda: None), pytest.raises(CacheError, match=f"other parts compute on {computed}"):
        build_cache(*other, Tally(), Part(2, 2))
    mixed = other.but(mixed_workers=True)
    assert by_parts(mixed, Part(2, 2)) == [True]
    assert Cache(asked.out).manifest.computed is None
    assert verify(asked.out) == []
    build_cache(*asked)
    assert Cache(asked.out).manifest.computed is None, "finished, it stays what it is"


def test_answers_of_another_kind_are_not_reused_unasked(whole: Whole, tmp_path: Path) -> None:
    asked = whole.asked.but(out=tmp_path / "cache", reuse=[str(whole.asked.out)], batch_size=3)
    with pytest.raises(CacheError, match="holds answers computed on"):
        build_cache(*asked)
    assert not asked.out.exists()
    tally = Tally()
    build_cache(*asked.but(mixed_workers=True), tally)
    assert tally.asked == 0


def test_nothing_whole_binds_nobody(whole: Whole, tmp_path: Path) -> None:
    asked = whole.asked.but(out=tmp_path / "cache")
    made = prepare(*asked)
    with Folder(asked.out).locked():
        claim(Folder(asked.out), made.header)
    build_cache(*asked.but(batch_size=4))
    assert Cache(asked.out).manifest.computed == made.header.computed.replace("batches of 2", "batches of 4")  # type: ignore[union-attr]


def test_answers_of_another_kind_that_wait_in_the_folder_are_not_mixed_in(whole: Whole, tmp_path: Path) -> None:
    """Of a shard that was not whole, or of what a changed build put aside; here, or where it is reused from."""
    hr = save_photos(tmp_path / "hr", [(101, 90)] * 9)
    last = hr / "photo_8.png"
    content = last.read_bytes()
    last.write_bytes(content[:-4000])
    few = whole.asked.but(hr=hr, out=tmp_path / "cut", base=2, zoom_in=1, zoom_out=1)
    asked, other = (few.but(batch_size=size) for size in (2, 3))
    with pytest.raises(ImageError):
        build_cache(*asked)
    assert [*(asked.out / OPEN).rglob("*.npy")]
    last.write_bytes(content)
    for out in ("elsewhere", "cut"):
        tally = Tally()
        build_cache(*other.but(out=tmp_path / out, reuse=[asked.out] if out == "elsewhere" else []), tally)
        assert (tally.reused, tally.asked) == (0, 9 * 4)

    shutil.copytree(whole.asked.out, tmp_path / "changed")
    changed = whole.asked.but(out=tmp_path / "changed", base=COUNTS["base"] + 5)
    with Folder(changed.out).locked():
        claim(Folder(changed.out), prepare(*changed).header)
    for other in (changed.but(batch_size=3), changed.but(batch_size=3, out=tmp_path / "new", reuse=[changed.out])):
        with pytest.raises(CacheError, match=r"holds answers computed on .* batches of 2, here it is .* batches of 3"):
            build_cache(*other)


@pytest.mark.parametrize("part", [None, Part(1, 1)])
def test_a_lost_shard_is_not_made_again_on_another_kind_unasked(
    whole: Whole, tmp_path: Path, part: Part | None
) -> None:
    asked = whole.asked.but(out=tmp_path / "cache", batch_size=3)
    shutil.copytree(whole.asked.out, asked.out)
    build_cache(*asked, Tally(), part)
    assert files_of(asked.out) == whole.files, "nothing is missing, so nothing is computed"
    lost = asked.out / "zoom_in-000000.npy"
    lost.unlink()
    with pytest.raises(CacheError, match=r"holds answers computed on .* batches of 2, here it is .* batches of 3"):
        build_cache(*asked, Tally(), part)
    build_cache(*asked.but(mixed_workers=True), Tally(), part)
    assert Cache(asked.out).manifest.computed is None
    assert verify(asked.out) == []


@pytest.mark.parametrize("part", [None, Part(1, 1)])
def test_shards_of_another_cache_are_not_taken_into_a_finished_one(
    photos: Path, teacher_file: Path, tmp_path: Path, part: Part | None
) -> None:
    """A copy of one over the other was interrupted before its manifest."""
    asked = build_job(photos, tmp_path / "cache", teacher_file)
    build_cache(*asked)
    expected, other = files_of(asked.out), asked.but(out=tmp_path / "other", seed=1)
    build_cache(*other)
    for name in ("base-000000.tar", "base-000000.npy"):
        shutil.copy(other.out / name, asked.out)
    assert facts(asked.out)["missing"] == ["base-000000.tar"]
    build_cache(*asked, Tally(), part)
    assert files_of(asked.out) == expected


def test_parts_of_a_changed_build_keep_the_answers(whole: Whole, tmp_path: Path) -> None:
    out = tmp_path / "cache"
    shutil.copytree(whole.asked.out, out)
    asked, tally = whole.asked.but(out=out, base=COUNTS["base"] + 5), Tally()
    assert [build_cache(*asked, tally, Part(number, 2)) is not None for number in (1, 2)] == [False, True]
    assert 0 < tally.asked <= 3 * 5, "only what is new"
    build_cache(*asked.but(out=tmp_path / "fresh"))
    assert files_of(out) == files_of(tmp_path / "fresh")


def test_status_tells_what_is_done_by_whom_and_what_is_missing(whole: Whole, tmp_path: Path) -> None:
    asked = whole.asked.but(out=tmp_path / "cache")
    with pytest.raises(CacheError, match="no cache here, finished or not"):
        facts(asked.out)
    by_parts(asked, Part(1, 2))
    found = facts(asked.out)
    assert (found["finished"], found["shards"], len(found["missing"])) == (False, whole.shards, whole.shards // 2)
    [worker] = found["workers"]
    assert (worker["name"], worker["state"]) == ("1-of-2", "left")
    assert worker["records"] == sum(view["done"] for view in found["views"].values())
    assert "nobody works: give the build's command again" in table(found)
    process = start(asked, Part(2, 2))
    while len((found := facts(asked.out))["workers"]) < 2 and process.is_alive():
        time.sleep(0.05)
    process.kill()
    process.join()
    states = {worker["name"]: worker["state"] for worker in facts(asked.out)["workers"]}
    assert states == {"1-of-2": "left", "2-of-2": "dead"}
    by_parts(asked, Part(2, 2))
    found = facts(asked.out)
    assert (found["finished"], found["missing"], found["workers"]) == (True, [], [])
    assert table(found).startswith(f"{asked.out}: finished, {whole.shards} of {whole.shards} shards whole")


def test_in_a_store(whole: Whole) -> None:
    """One after another, in fsspec's memory: the lock is one of objects, and free when all is whole."""
    address = "memory://parts/cache"
    asked = whole.asked.but(out=address)
    try:
        assert by_parts(asked, Part(2, 2)) == [False]
        place = place_at(address)
        assert place.names(f"{LOCK}/"), "who leaves does not know whether others go on"
        fsspec.filesystem("memory").rm(f"/parts/cache/{LOCK}", recursive=True)
        assert by_parts(asked, Part(1, 2)) == [True]
        assert {name: place.read(name) for name in place.names()} == whole.files
    finally:
        fsspec.filesystem("memory").store.clear()


class Overtaken(Local):
    """While it leaves, another part finds all shards whole, writes the manifest and puts out the light."""

    def __call__(self, work: Work, header: Header, shards: Sequence[Shard]) -> Generator[ShardInfo, None, None]:
        yield from super().__call__(work, header, shards)
        commit(Standing(work.out, header))
        fsspec.filesystem("memory").rm(f"/parts/cache/{LOCK}", recursive=True)


def test_a_part_that_ends_after_the_last_one_finds_the_cache_finished(whole: Whole) -> None:
    asked = whole.asked.but(out="memory://parts/cache")
    try:
        by_parts(asked, Part(1, 2))
        fsspec.filesystem("memory").rm(f"/parts/cache/{LOCK}", recursive=True)
        assert build_cache(*asked, Tally(), Part(2, 2), Overtaken()) == Cache(asked.out).manifest
        place = place_at(asked.out)
        assert {name: place.read(name) for name in place.names()} == whole.files
    finally:
        fsspec.filesystem("memory").store.clear()


def test_a_shard_is_written_by_its_engine_and_by_nobody_else(whole: Whole, tmp_path: Path) -> None:
    """What an engine is given is what is missing; what it yields is what the manifest says."""
    asked, seen = whole.asked.but(out=tmp_path / "cache"), list[Shard]()

    class Watched(Local):
        def __call__(self, work: Work, header: Header, shards: list[Shard]):  # type: ignore[no-untyped-def]
            seen.extend(shards)
            yield from super().__call__(work, header, list(reversed(shards)))

    build_cache(*asked, engine=Watched())
    assert files_of(asked.out) == whole.files, "in any order"
    assert [shard.number for shard in seen] == [
        shard.number for shard in Standing(Folder(asked.out), Cache(asked.out).manifest.header).shards
    ]
    assert (asked.out / MANIFEST).exists()


def test_images_are_identified_once_for_all_parts(
    whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one reads them; the others look at size and time of change, wherever they have them."""
    read: list[Path] = []

    def counted(path: Path) -> FileFacts:
        read.append(path)
        return read_facts(path)

    monkeypatch.setattr(KnownImages, "facts", lambda _self, path: counted(path))
    asked = whole.asked.but(out=tmp_path / "cache")
    by_parts(asked, Part(1, 3))
    assert len(read) == 3
    assert (asked.out / IMAGES).exists()
    moved = tmp_path / "mounted elsewhere"
    shutil.copytree(whole.asked.config.hr[0], moved)  # with its times
    by_parts(asked.but(hr=moved), Part(2, 3))
    assert len(read) == 3
    (moved / "photo_1.png").touch()
    with joined(Folder(asked.out), lambda: None):
        by_parts(asked.but(hr=moved), Part(2, 3))
        assert len(read) == 4, "a file whose time is another is read again"
        shutil.copy(moved / "photo_0.png", moved / "photo_1.png")
        with pytest.raises(ImageError, match=r"photo_1\.png: holds other bytes than where the build began"):
            build_cache(*asked.but(hr=moved), Tally(), Part(2, 3))
    by_parts(asked, Part(3, 3))
    assert files_of(asked.out) == whole.files


def test_a_list_of_images_serves_no_other_build(photos: Path, teacher_file: Path, tmp_path: Path) -> None:
    """It has the LR files of another template, and what was left out for the sides of other views."""
    lr, small = tmp_path / "lr", tmp_path / "small"
    degrade_folder(photos, lr, 2)
    for path in sorted(lr.iterdir()):
        with Image.open(path) as image:
            image.point(lambda level: level * 0.9).save(lr / path.name.replace("x2", "_dark"))
    shutil.copytree(photos, small)
    Image.fromarray(photo(30, 30)).save(small / "small.png")
    skip = build_job(small, tmp_path / "small-parts", teacher_file, on_bad_image="skip")
    for first, then in (
        (build_job(photos, tmp_path / "lr-parts", teacher_file, lr=[lr]), {"lr_template": "{stem}_dark"}),
        (skip.but(zoom_out_patch=9), {"zoom_out_patch": 6}),
    ):
        assert by_parts(first, Part(1, 2)) == [False]
        second = first.but(**then)
        assert by_parts(second, Part(1, 2), Part(2, 2)) == [False, True]
        build_cache(*second.but(out=second.out.with_name("fresh")))
        assert files_of(second.out) == files_of(tmp_path / "fresh")
        shutil.rmtree(tmp_path / "fresh")


def test_images_that_another_part_left_out_are_not_left_out_unasked(
    photos: Path, teacher_file: Path, tmp_path: Path
) -> None:
    hr = tmp_path / "hr"
    shutil.copytree(photos, hr)
    cut = hr / "photo_1.png"
    cut.write_bytes(cut.read_bytes()[:-4000])
    asked = build_job(hr, tmp_path / "cache", teacher_file, on_bad_image="skip")
    assert by_parts(asked, Part(1, 2)) == [False]
    strict = asked.but(on_bad_image="fail")
    left_out = r"^photo_1\.png: was left out where the build began \(.*\); give `on_bad_image=skip`, too$"
    with joined(Folder(asked.out), lambda: None), pytest.raises(ImageError, match=left_out):
        build_cache(*strict, Tally(), Part(2, 2))
    with pytest.raises(ImageError, match=r"photo_1\.png: unreadable or truncated image"):
        build_cache(*strict, Tally(), Part(2, 2))
    assert by_parts(asked, Part(2, 2)) == [True]


def test_an_image_that_was_mended_is_left_out_no_longer(photos: Path, teacher_file: Path, tmp_path: Path) -> None:
    """Whoever starts alone looks at those again that another attempt left out."""
    hr = tmp_path / "hr"
    shutil.copytree(photos, hr)
    cut, whole = hr / "photo_1.png", (hr / "photo_1.png").read_bytes()
    cut.write_bytes(whole[:-4000])
    asked = build_job(hr, tmp_path / "cache", teacher_file, on_bad_image="skip")
    assert by_parts(asked, Part(1, 2)) == [False]
    cut.write_bytes(whole)
    assert by_parts(asked, Part(1, 2), Part(2, 2)) == [False, True]
    build_cache(*asked.but(out=tmp_path / "fresh"))
    assert files_of(asked.out) == files_of(tmp_path / "fresh")

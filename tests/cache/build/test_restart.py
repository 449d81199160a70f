"""Builds that are killed, refused, or run out of disk: the same command goes on, and ends with the same bytes."""

import errno
import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.cache.samples import Asked, build_alone, build_job, everything, files_of, save_photos
from tests.processes import start

from dukd_cache.commands import build as job
from dukd_cache.format.lifecycle import PREVIOUS
from dukd_cache.format.manifest import MANIFEST
from dukd_cache.format.reader import Cache
from dukd_cache.plan.views import VIEWS
from dukd_cache.system.errors import CacheError
from dukd_cache.system.left_overs import PARTIAL
from dukd_cache.system.lock import LOCK, locked

STORES = {"webdataset": "webp", "zarr": "blosc"}
"""With the codec of each."""
INDEX = re.compile(r"(base|zoom_in|zoom_out)-\d+\.npy")
"""Written last: where it is, the shard is whole."""
OLD = {"base": 30, "zoom_in": 15, "zoom_out": 15}
NEW = {"base": 35, "zoom_in": 18, "zoom_out": 5}


def finished(asked: Asked, tally: Path) -> dict[str, int]:
    """The counts of a build that was left in peace."""
    process = start(build_alone, asked, tally)
    process.join(300)
    assert process.exitcode == 0
    counts: dict[str, int] = json.loads(tally.read_text())
    return counts


@dataclass(frozen=True)
class Whole:
    """Two uninterrupted builds of the same images and teacher."""

    old: Asked
    new: Asked
    old_files: dict[str, bytes]
    new_files: dict[str, bytes]
    unanswered: int
    """Records of the new cache whose inputs the old one has not."""
    seconds: float


@pytest.fixture(scope="module", params=STORES)
def whole(request: pytest.FixtureRequest, teacher_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("whole")
    hr = save_photos(folder / "hr", [(101, 90), (113, 107), (95, 123)])
    store = {"store": request.param, "codec": STORES[request.param]}
    jobs = [
        build_job(hr, folder / name, teacher_file, patch=40, zoom_out_patch=20, batch_size=2, **counts, **store)
        for name, counts in (("old", OLD), ("new", NEW))
    ]
    finished(jobs[0], folder / "tally")  # the first one also starts what all processes are forked from
    started = time.monotonic()
    finished(jobs[1], folder / "tally")
    seconds = time.monotonic() - started
    old_files, new_files = (files_of(asked.out) for asked in jobs)
    assert len(old_files) > 12, "there are shards enough to be killed in between"
    known, asked = (
        [record.input.tobytes() for view in VIEWS for record in everything(Cache(j.out), view)] for j in jobs
    )
    unanswered = sum(pixels not in set(known) for pixels in asked)
    assert 0 < unanswered < len(asked)
    return Whole(jobs[0], jobs[1], old_files, new_files, unanswered, seconds)


def killed_somewhere(asked: Asked, moment: random.Random, seconds: float, tally: Path) -> bool:
    """Start the build and end its process at a random moment, by SIGKILL; whether it was still at work."""
    process = start(build_alone, asked, tally)
    process.join(moment.uniform(0.02, 1) * seconds)
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL


def check_killed(whole: Whole, out: Path, seed: int) -> None:
    """A build of nothing before, killed once or more."""
    moment, asked, tally = random.Random(seed), whole.new.but(out=out), out.with_name("tally")
    while not killed_somewhere(asked, moment, whole.seconds, tally):
        shutil.rmtree(out)
    for _ in range(moment.choice((0, 0, 1, 2))):
        killed_somewhere(asked, moment, whole.seconds, tally)
    left = files_of(out) if out.exists() else {}
    names = [name for name in left if INDEX.fullmatch(name)]
    assert all(left[name] == whole.new_files[name] for name in names), "what is named is whole"
    kept = {name: (out / name).stat().st_mtime_ns for name in names}
    counts = finished(asked, tally)
    assert {name: (out / name).stat().st_mtime_ns for name in kept} == kept, "and not written again"
    assert files_of(out) == whole.new_files
    assert counts["reused"] == 0
    if counts["kept"] == 0:
        assert not kept


def check_killed_in_a_rebuild(whole: Whole, out: Path, seed: int) -> None:
    """A build over another cache, killed once or more, also while it moves the old shards: no answer is lost."""
    moment, asked, tally = random.Random(seed), whole.new.but(out=out), out.with_name("tally")
    shutil.copytree(whole.old.out, out)
    while not killed_somewhere(asked, moment, whole.seconds, tally):
        shutil.rmtree(out)
        shutil.copytree(whole.old.out, out)
    for _ in range(moment.choice((0, 1, 2))):
        if moment.random() < 0.3:  # another mind between two attempts
            killed_somewhere(whole.old.but(out=out), moment, whole.seconds, tally)
        killed_somewhere(asked, moment, whole.seconds, tally)
    counts = finished(asked, tally)
    assert files_of(out) == whole.new_files
    assert counts["asked"] <= whole.unanswered, "only records that the old cache has not"
    assert sum(counts.values()) == 3 * sum(NEW.values())


def test_a_killed_build_ends_with_the_same_bytes(whole: Whole, tmp_path: Path) -> None:
    check_killed(whole, tmp_path / "cache", seed=1)


def test_a_killed_rebuild_loses_no_answer(whole: Whole, tmp_path: Path) -> None:
    check_killed_in_a_rebuild(whole, tmp_path / "cache", seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 150))
def test_killed_at_50_moments(whole: Whole, tmp_path: Path, seed: int) -> None:
    check_killed(whole, tmp_path / "cache", seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 150))
def test_killed_at_50_moments_of_a_rebuild(whole: Whole, tmp_path: Path, seed: int) -> None:
    check_killed_in_a_rebuild(whole, tmp_path / "cache", seed)


def test_a_move_killed_after_any_file_is_finished_or_undone(
    whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every state in which the old shards can be left while they are moved, and both ways out of it."""
    tally, moves = tmp_path / "tally", 3
    for number in range(moves):
        for asked, files, known in ((whole.new, whole.new_files, False), (whole.old, whole.old_files, True)):
            out = tmp_path / f"{number}{known}"
            shutil.copytree(whole.old.out, out)
            done: list[object] = []

            def replace_some(source: Path, target: Path, done: list[object] = done, most: int = number * 4) -> None:
                if len(done) == most:
                    raise KeyboardInterrupt
                done.append(target)
                os.rename(source, target)

            with monkeypatch.context() as patch:
                patch.setattr("dukd_cache.places.folder.os.replace", replace_some)
                with pytest.raises(KeyboardInterrupt):
                    job.build_cache(*whole.new.but(out=out))
            counts = finished(asked.but(out=out), tally)
            assert files_of(out) == files
            assert counts["asked"] == (0 if known else whole.unanswered)
            assert (counts["kept"] == 3 * sum(OLD.values())) is known


def test_a_second_build_is_refused_while_the_first_lives(whole: Whole, tmp_path: Path) -> None:
    out = tmp_path / "cache"
    process = start(build_alone, whole.new.but(out=out), tmp_path / "tally")
    while not ((out / LOCK).exists() and (out / LOCK).read_text()):
        time.sleep(0.001)
    os.kill(process.pid or 0, signal.SIGSTOP)  # it lives and does nothing
    try:
        with pytest.raises(CacheError, match=rf"{out}: another build writes here \(process {process.pid}\)"):
            job.build_cache(*whole.new.but(out=out))
    finally:
        process.kill()
        process.join()
    assert (out / LOCK).exists(), "its owner had no time to remove it"
    finished(whole.new.but(out=out), tmp_path / "tally")
    assert files_of(out) == whole.new_files


def test_a_lock_is_one_at_a_time_and_leaves_nothing(tmp_path: Path) -> None:
    for _ in range(2):
        with locked(tmp_path / "new"):
            with pytest.raises(CacheError, match="another build writes here"), locked(tmp_path / "new"):
                pass
            assert (tmp_path / "new" / LOCK).exists(), "the refused one did not take it away"
        assert files_of(tmp_path / "new") == {}


def test_a_full_disk_is_one_line_and_nothing_is_corrupt(whole: Whole, tmp_path: Path) -> None:
    """A file system of its own, smaller than the cache; then made larger."""
    disk = tmp_path / "disk"
    disk.mkdir()
    half = sum(map(len, whole.new_files.values())) // 2 // 1024
    mount = ["mount", "-t", "tmpfs", "-o", f"size={half}k", "dukd-test", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no permission to mount a small disk")
    try:
        asked = whole.new.but(out=disk / "cache")
        full = r"cache/.*: No space left on device; make room, then run the same command again"
        with pytest.raises(CacheError, match=full):
            job.build_cache(*asked)
        left = files_of(asked.out)
        assert MANIFEST not in left
        assert not [name for name in left if name.endswith(PARTIAL)]
        assert [name for name in left if INDEX.fullmatch(name)]
        subprocess.run(["mount", "-o", f"remount,size={8 * half}k", str(disk)], check=True)
        kept = finished(asked, tmp_path / "tally")["kept"]
        assert kept > 0
        assert sorted(files_of(asked.out)) == sorted(whole.new_files)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("failing", [1, 9, 12, 16])  # about the fifth are signs of life, which may fail
def test_a_disk_that_is_full_at_any_write(
    whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    """As above without a mount: the error comes from the n-th fsync."""
    calls: list[int] = []
    really = os.fsync

    def fsync(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == failing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        really(descriptor)

    asked = whole.new.but(out=tmp_path / "cache", base=2, zoom_in=1, zoom_out=1)
    job.build_cache(*asked.but(out=tmp_path / "expected"))
    monkeypatch.setattr("dukd_cache.system.files.os.fsync", fsync)
    with pytest.raises(CacheError, match=f"{tmp_path}.*: No space left on device; "):
        job.build_cache(*asked)
    assert not list(asked.out.glob(f"*{PARTIAL}"))
    job.build_cache(*asked)
    assert files_of(asked.out) == files_of(tmp_path / "expected")
    assert not (asked.out / PREVIOUS).exists()

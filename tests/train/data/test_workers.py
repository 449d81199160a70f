"""Processes that read ahead: what they raise is raised here, and none outlives the training process."""

import multiprocessing
import os
import shutil
import signal
from contextlib import closing
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from tests.processes import wait_for

from dukd_cache.format.reader import Cache
from dukd_cache.system.errors import ShardCorrupt
from dukd_train.data.order import Order, Picks
from dukd_train.data.rows import Pixels, StreamedRows
from dukd_train.data.workers import read_ahead
from dukd_train.errors import RunError


@dataclass(frozen=True)
class Telling(StreamedRows):
    """Leaves the number of the process that reads in a folder."""

    folder: Path

    def read(self, picks: Picks) -> Pixels:
        (self.folder / str(os.getpid())).touch()
        return super().read(picks)

    def pids(self) -> list[int]:
        return [int(path.name) for path in self.folder.iterdir()]


class Deadly(StreamedRows):
    """Kills who reads."""

    def read(self, picks: Picks) -> Pixels:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError(picks)


def order_of(cache: Cache) -> Order:
    return Order(cache.manifest, batch=4, patch=None, seed=0)


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and is not yet waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_all_workers_read_and_end_when_no_more_is_wanted(cache: Cache, tmp_path: Path) -> None:
    rows = Telling(cache, "base", ("input", "truth"), tmp_path)
    with closing(read_ahead({"base": rows}, order_of(cache), range(10**6), 2)) as steps:
        wait_for(lambda: next(steps) and len(rows.pids()) == 2)  # on a busy machine the second may begin late
    assert len(rows.pids()) == 2
    assert os.getpid() not in rows.pids()
    wait_for(lambda: not any(map(alive, rows.pids())))


def test_damage_that_a_worker_finds_is_named_here(cache_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(cache_folder, tmp_path / "cache")
    shard = tmp_path / "cache" / "base-000000.tar"
    content = bytearray(shard.read_bytes())
    for at in range(600, len(content), 2000):
        content[at] ^= 255
    shard.write_bytes(content)
    cache = Cache(tmp_path / "cache")
    with pytest.raises(ShardCorrupt, match=r"^\S*base-000000\.tar: .* computed$"):
        list(read_ahead({"base": StreamedRows(cache, "base", ("input", "truth"))}, order_of(cache), range(5), 1))


def test_a_killed_worker_ends_the_run(cache: Cache) -> None:
    with pytest.raises(RunError, match=r"^a process that reads data was killed"):
        list(read_ahead({"base": Deadly(cache, "base", ("input",))}, order_of(cache), range(5), 1))


def _train(cache: Path, folder: Path, tell: Connection) -> None:
    opened = Cache(cache)
    for _ in read_ahead({"base": Telling(opened, "base", ("input",), folder)}, order_of(opened), range(10**6), 2):
        tell.send("a step")
        tell.recv()


def test_workers_end_with_a_killed_training_process(cache: Cache, cache_folder: Path, tmp_path: Path) -> None:
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_train, args=(cache_folder, tmp_path, there))
    process.start()
    here.recv()
    rows = Telling(cache, "base", ("input",), tmp_path)
    assert all(map(alive, rows.pids()))
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    wait_for(lambda: not any(map(alive, rows.pids())))

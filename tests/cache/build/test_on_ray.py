"""Builds by the workers of a real Ray cluster, on this machine: whoever dies or comes, the bytes are a local build's.

Each worker takes seconds to start, so that one test looks at several things.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.cache.samples import Asked, build_job, files_of, save_photos
from tests.object_store import Bucket, environment

from dukd_cache.build.answer import Shard, Teachers
from dukd_cache.build.on_ray import OfRay, _Tasks, on_ray
from dukd_cache.build.reuse import Tally
from dukd_cache.build.write import LOCAL
from dukd_cache.commands.build import _teachers, build_cache, engine_of, prepare
from dukd_cache.commands.status import facts
from dukd_cache.format.lifecycle import HEADER
from dukd_cache.format.reader import Cache
from dukd_cache.format.shards import ShardWriter
from dukd_cache.format.workers import Worker, workers_in
from dukd_cache.places import Address
from dukd_cache.places.choice import place_at
from dukd_cache.plan.crops import Plan
from dukd_cache.system.errors import AnswerError, CacheError, DukdError, ImageError, SettingError

pytestmark = pytest.mark.xdist_group("ray")

STORES = {"webdataset": "webp", "zarr": "blosc"}
"""With the codec of each."""
COUNTS = {"base": 50, "zoom_in": 25, "zoom_out": 20}
PATCHES = {"patch": 40, "zoom_out_patch": 20, "batch_size": 2}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_photos(tmp_path_factory.mktemp("photographs"), [(101, 90), (113, 107), (95, 123)])


@pytest.fixture(scope="module")
def local(photographs: Path, teacher_file: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Asked]:
    """Finished builds by this process, by store."""
    folder = tmp_path_factory.mktemp("local")
    found = {
        store: build_job(photographs, folder / store, teacher_file, store=store, codec=codec, **COUNTS, **PATCHES)
        for store, codec in STORES.items()
    }
    for asked in found.values():
        build_cache(*asked)
    return found


def build_on_ray(asked: Asked, cluster: Any, **of_ray: Any) -> Tally:
    tally = Tally()
    with engine_of(asked.config, "ray", ray_address=cluster.address, **of_ray) as engine:
        assert build_cache(*asked, tally, engine=engine) is not None
    return tally


@contextmanager
def meanwhile(what: Callable[[], None]) -> Iterator[None]:
    """It is done while the block runs, and has to have been done."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            what()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    assert not failed, failed


def at_work(out: Address, wanted: Callable[[list[Worker]], bool], process: Any = None) -> list[Worker]:
    """Workers that have begun, once they are as wanted."""
    deadline, place = time.monotonic() + 90, place_at(out)
    while not wanted(found := workers_in(place)):
        assert time.monotonic() < deadline
        assert process is None or process.poll() is None
        time.sleep(0.02)
    return found


def whole_shards(out: Path) -> int:
    return len([*out.glob("*.npy")])


def test_terminated_it_ends_all_workers_and_goes_on_later(
    local: dict[str, Asked], tmp_path: Path, ray_cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = local["webdataset"].but(out=tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    words = ["--hr", *asked.config.hr, "--teacher", asked.config.teacher, "--out", "cache", "--codec", "webp"]
    words += ["--patch", 40, "--zoom-out-patch", 20, "--batch-size", 2, "--shard-size", 1, "--device", "cpu"]
    words += ["--base", 50, "--zoom-in", 25, "--zoom-out", 20, "--engine", "ray", "--ray-address", ray_cluster.address]
    words += ["--workers", 1, "--shards-per-task", 2]
    command = [sys.executable, "-c", "from dukd_cache.cli import main; main()", "build", *map(str, words)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        (worker,) = at_work(asked.out, lambda found: whole_shards(asked.out) > 2, process)
        assert facts(asked.out)["workers"][0]["state"] == "at work"
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 128 + signal.SIGTERM, told
    assert told.splitlines()[-1] == "dukd-cache: terminated; the same command goes on where this one stopped"
    assert not workers_in(place_at(asked.out))[0].alive
    before = {path: path.stat().st_mtime_ns for path in asked.out.glob("*.tar")}
    assert (asked.out / HEADER).exists()
    assert before
    tally = build_on_ray(asked, ray_cluster, workers=1)
    assert files_of(asked.out) == files_of(local["webdataset"].out)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert tally.kept > 0
    assert tally.kept + tally.asked == sum(Cache(asked.out).count(view) for view in COUNTS)
    assert worker.name == "ray-0"


def test_a_worker_is_killed_in_a_store(
    local: dict[str, Asked], bucket: Bucket, ray_cluster: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = local["zarr"].but(out=bucket.address("cache"))

    def kill() -> None:
        found = at_work(asked.out, lambda found: len(found) == 2)
        os.kill(found[1].process, signal.SIGKILL)

    with meanwhile(kill):
        build_on_ray(asked, ray_cluster)
    assert bucket.files("cache") == files_of(local["zarr"].out)
    assert "worker ray-1 was lost" in capsys.readouterr().err.splitlines()


def test_a_node_comes_and_dies(local: dict[str, Asked], tmp_path: Path, ray_cluster: Any) -> None:
    asked = local["zarr"].but(out=tmp_path / "cache")
    nodes: list[Any] = []

    def come_and_die() -> None:
        at_work(asked.out, lambda found: len(found) == 1)
        nodes.append(ray_cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20, node_ip_address="127.0.0.1"))
        at_work(asked.out, lambda found: len(found) == 3)
        ray_cluster.remove_node(nodes.pop(), allow_graceful=False)

    with meanwhile(come_and_die):
        build_on_ray(asked, ray_cluster)
    assert files_of(asked.out) == files_of(local["zarr"].out)

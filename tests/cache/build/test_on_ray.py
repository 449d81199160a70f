"""Builds by the workers of a real Ray cluster, on this machine: whoever dies or comes, the bytes are a local build's.

Each worker takes seconds to start, so that one test looks at several things.
"""

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.cache.samples import Asked, build_job, files_of, held_teachers, save_photos
from tests.cache.test_cli import Command, refused
from tests.cache.test_cli import dukd_cache as dukd_cache  # a fixture
from tests.object_store import Bucket
from tests.processes import wait_for

from dukd_cache.build.answer import Teachers
from dukd_cache.build.columns import COLUMNS
from dukd_cache.build.on_ray import OfRay, on_ray
from dukd_cache.build.reuse import Tally
from dukd_cache.build.worker import Load
from dukd_cache.build.write import Engine
from dukd_cache.commands.build import build_cache, engine_of
from dukd_cache.commands.prepare import prepare
from dukd_cache.commands.status import facts
from dukd_cache.format.lifecycle import HEADER
from dukd_cache.format.reader import Cache
from dukd_cache.format.workers import WorkerReport, workers_in
from dukd_cache.networks.devices import kind_of
from dukd_cache.places import Address
from dukd_cache.places.choice import place_at
from dukd_cache.settings.model import dump
from dukd_cache.system.errors import CacheError, ImageError, SettingError

pytestmark = pytest.mark.xdist_group("ray")

STORES = {"webdataset": "webp", "zarr": "blosc"}
"""With the codec of each."""
COUNTS = {"base": 50, "zoom_in": 25, "zoom_out": 20}
RECORDS = 3 * sum(COUNTS.values())
PATCHES = {"patch": 40, "zoom_out_patch": 20, "batch_size": 2, "columns": tuple(COLUMNS)}


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


def build_on_ray(asked: Asked, cluster: Any, load: Load | None = None, any_kind: bool = False, **of_ray: Any) -> Tally:
    """As the command does; or with workers that load something else."""
    tally, options = Tally(), {"ray_address": cluster.address, **of_ray}
    opened = on_ray(load, OfRay(**options), "cpu", any_kind) if load else engine_of(asked.config, "ray", **options)
    with opened as engine:
        assert build_cache(*asked, tally, engine=engine) is not None
    return tally


@contextmanager
def meanwhile(what: Callable[[], None], gate: Path) -> Iterator[None]:
    """It is done while the block runs, and has to have been done. Then `gate` is there."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            what()
        except BaseException as error:
            failed.append(error)
        finally:
            gate.touch()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    assert not failed, failed


def at_work(out: Address, wanted: Callable[[list[WorkerReport]], bool], process: Any = None) -> list[WorkerReport]:
    """Workers that have begun, once they are as wanted."""
    place = place_at(out)

    def found() -> list[WorkerReport] | None:
        assert process is None or process.poll() is None
        return there if wanted(there := workers_in(place)) else None

    return wait_for(found) or []


@contextmanager
def command(asked: Asked, cluster: Any) -> Iterator["subprocess.Popen[str]"]:
    """The build as a process of its own, with one worker."""
    settings = asked.out.parent / "cache.yaml"
    settings.write_bytes(dump(asked.config).encode())
    words = ["--config", settings, "--out", "cache", "--device", "cpu", "--engine", "ray"]
    words += ["--ray-address", cluster.address, "--workers", 1, "--shards-per-task", 2]
    program = [sys.executable, "-c", "from dukd_cache.cli import main; main()", "build", *map(str, words)]
    process = subprocess.Popen(program, stderr=subprocess.PIPE, text=True, cwd=asked.out.parent)
    try:
        at_work(asked.out, lambda _found: len([*asked.out.glob("*.tar")]) > 2, process)
        yield process
    finally:
        process.kill()


@pytest.mark.slow
def test_terminated_it_ends_all_workers_and_goes_on_later(
    local: dict[str, Asked], tmp_path: Path, ray_cluster: Any
) -> None:
    asked = local["webdataset"].but(out=tmp_path / "cache")
    with command(asked, ray_cluster) as process:
        (worker,) = facts(asked.out)["workers"]
        assert (worker["name"], worker["state"]) == ("ray-0", "at work")
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, told
    assert told.splitlines()[-1] == "dukd-cache: terminated; to resume, run the same command again"
    assert not workers_in(place_at(asked.out))[0].alive
    check_it_goes_on(asked, local["webdataset"], ray_cluster)


def check_it_goes_on(asked: Asked, local: Asked, cluster: Any) -> None:
    assert (asked.out / HEADER).exists()
    before = {path: path.stat().st_mtime_ns for path in asked.out.glob("*.tar") if path.with_suffix(".npy").exists()}
    assert before
    tally = build_on_ray(asked, cluster, workers=1)
    assert files_of(asked.out) == files_of(local.out)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert tally.kept > 0
    assert tally.kept + tally.asked == RECORDS


@pytest.mark.slow
def test_killed_it_takes_all_workers_with_it_and_goes_on_later(
    local: dict[str, Asked], tmp_path: Path, ray_cluster: Any
) -> None:
    asked = local["webdataset"].but(out=tmp_path / "cache")
    with command(asked, ray_cluster) as process:
        process.kill()
        process.wait()
    at_work(asked.out, lambda found: not any(each.alive for each in found))
    check_it_goes_on(asked, local["webdataset"], ray_cluster)


def test_a_worker_is_killed_in_a_store(
    local: dict[str, Asked], bucket: Bucket, tmp_path: Path, ray_cluster: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    asked, gate = local["zarr"].but(out=bucket.address("cache")), tmp_path / "gate"

    def kill() -> None:
        os.kill(at_work(asked.out, lambda found: len(found) == 2)[1].process, signal.SIGKILL)

    with meanwhile(kill, gate):
        tally = build_on_ray(asked, ray_cluster, partial(held_teachers, asked.config, gate))
    assert bucket.files("cache") == files_of(local["zarr"].out)
    assert "worker ray-1 was lost" in capsys.readouterr().err.splitlines()
    assert tally.asked == RECORDS


def test_a_node_comes_and_dies(
    local: dict[str, Asked], tmp_path: Path, ray_cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray._private.utils.set_sigterm_handler", lambda _handler: None)  # for the main thread only
    asked, gate = local["zarr"].but(out=tmp_path / "cache"), tmp_path / "gate"

    def come_and_die() -> None:
        at_work(asked.out, lambda found: len(found) == 2)
        node = ray_cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20, node_ip_address="127.0.0.1")
        at_work(asked.out, lambda found: len(found) == 3)
        ray_cluster.remove_node(node, allow_graceful=False)

    with meanwhile(come_and_die, gate):
        build_on_ray(asked, ray_cluster, partial(held_teachers, asked.config, gate))
    ray_cluster.wait_for_nodes()  # other tests count them
    assert files_of(asked.out) == files_of(local["zarr"].out)


@pytest.mark.slow
@pytest.mark.parametrize("mixed", [False, True])
def test_workers_of_another_kind_are_used_only_if_that_was_said(
    local: dict[str, Asked], tmp_path: Path, ray_cluster: Any, capsys: pytest.CaptureFixture[str], mixed: bool
) -> None:
    asked, gate = local["webdataset"].but(out=tmp_path / "cache", mixed_workers=mixed), tmp_path / "gate"

    def look() -> None:
        wait_for(lambda: gate.with_name("second").exists())
        if mixed:
            at_work(asked.out, lambda found: len(found) == 2)
        else:
            time.sleep(3)

    with meanwhile(look, gate):
        build_on_ray(asked, ray_cluster, partial(held_teachers, asked.config, gate, kinds=2), mixed)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("worker ")]
    if mixed:
        assert lines == []
        assert Cache(asked.out).manifest.computed is None
    else:
        (line,) = lines
        kind = kind_of(torch.device("cpu")).removesuffix("1 thread")
        host = socket.gethostname()
        assert line == f"worker ray-1 on {host} is not used: computes on {kind}2 threads, others on {kind}1 thread"
        assert files_of(asked.out) == files_of(local["webdataset"].out)


def test_answers_are_reused_and_a_bad_image_is_the_same_line(
    local: dict[str, Asked], tmp_path: Path, ray_cluster: Any
) -> None:
    asked = local["zarr"].but(out=tmp_path / "cache", reuse=[local["webdataset"].out])
    assert build_on_ray(asked, ray_cluster, workers=1) == Tally(reused=RECORDS)
    assert files_of(asked.out) == files_of(local["zarr"].out)

    hr = save_photos(tmp_path / "hr", [(101, 90), (113, 107)])
    cut = hr / "photo_1.png"
    cut.write_bytes(cut.read_bytes()[:-4000])
    asked = local["webdataset"].but(hr=hr, out=tmp_path / "of-bad")
    with pytest.raises(ImageError) as here:
        build_cache(*asked)
    with pytest.raises(ImageError) as there:
        build_on_ray(asked.but(out=tmp_path / "there"), ray_cluster, workers=1)
    assert str(there.value) == str(here.value)
    assert not [*tmp_path.rglob("*.partial")]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--workers", 2], "--workers: give --engine ray, too"),
        (["--ray-address", "auto", "--engine", "local"], "--ray-address: give --engine ray, too"),
        (["--engine", "ray", "--part", "1/2"], "--engine ray: one command gives out all shards: leave --part out"),
        (["--engine", "dask"], "'dask'"),
        (
            ["--engine", "ray", "--gpus-per-worker", "nan"],
            "gpus_per_worker: expected a number of at least 0 or null, got nan",
        ),
        (["--engine", "ray", "--cpus-per-worker", 0], "cpus_per_worker: expected a whole number above 0, got 0"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    dukd_cache: Command, photographs: Path, tmp_path: Path, words: list[object], line: str
) -> None:
    out = tmp_path / "cache"
    refused(dukd_cache("build", "--hr", photographs, "--scale", 2, "--out", out, *words), line)
    assert not out.exists()


def kill_at_random(out: Path, moment: random.Random, kills: int, ended: threading.Event) -> int:
    """Workers that were killed, one after another."""
    killed = 0
    while killed < kills and not ended.wait(moment.uniform(0.1, 8)):
        if alive := [worker for worker in workers_in(place_at(out)) if worker.alive]:
            with suppress(ProcessLookupError):
                os.kill(moment.choice(alive).process, signal.SIGKILL)
                killed += 1
    return killed


@pytest.mark.slow
@pytest.mark.parametrize("store", STORES)
def test_ten_kills_at_random_moments(local: dict[str, Asked], tmp_path: Path, ray_cluster: Any, store: str) -> None:
    moment, killed = random.Random(store), 0
    for number in range(10):
        asked = local[store].but(out=tmp_path / f"cache-{number}")
        while True:
            ended, counts = threading.Event(), list[int]()
            killer = threading.Thread(
                target=lambda out, left, end, told: told.append(kill_at_random(out, moment, left, end)),
                args=(asked.out, 10 - killed, ended, counts),
            )
            killer.start()
            try:
                build_on_ray(asked, ray_cluster)
            except CacheError as error:
                if "3 workers died at this shard" not in str(error):
                    raise
            else:
                break
            finally:
                ended.set()
                killer.join()
                killed += counts[0]
        assert files_of(asked.out) == files_of(local[store].out)
        if killed == 10:
            return
    pytest.fail(f"only {killed} were killed")


@pytest.mark.slow
@pytest.mark.parametrize("store", STORES)
def test_a_real_teacher(data_dir: Path, tmp_path: Path, ray_cluster: Any, store: str) -> None:
    """Of windows and attention, whose last bits depend on threads and batches."""
    (tmp_path / "hr").mkdir()
    for path in sorted((data_dir / "BSDS400").iterdir())[:24]:
        (tmp_path / "hr" / path.name).symlink_to(path)
    views = {"base": 2, "zoom_in": 1, "zoom_out": 1}
    kind = {"store": store, "codec": STORES[store], "patch": 32, "batch_size": 4}
    asked = build_job(tmp_path / "hr", tmp_path / "local", data_dir / "teachers" / "DCTLSA_X4.pt", **kind, **views)
    build_cache(*asked)
    there = asked.but(out=tmp_path / "there")
    with meanwhile(
        lambda: os.kill(at_work(there.out, lambda found: len(found) == 2)[1].process, signal.SIGKILL), tmp_path / "gate"
    ):
        build_on_ray(there, ray_cluster)
    assert files_of(there.out) == files_of(asked.out)


class Elsewhere(Engine):
    """Workers with a GPU, as long as they are only asked what they are."""

    elsewhere = True

    def computes_on(self, teachers: Teachers) -> str:
        assert {teacher.device.type for teacher in teachers.values()} == {"cpu"}
        return "a GPU"


def test_the_driver_needs_no_gpu(local: dict[str, Asked], tmp_path: Path) -> None:
    asked = local["zarr"].but(out=tmp_path / "cache", device="cuda", precision="fp16")
    header = prepare(*asked, Elsewhere()).header
    assert header.computed == "a GPU, batches of 2"
    assert header.answers["teacher"].precision == "fp16"
    if not torch.cuda.is_available():
        with pytest.raises(SettingError, match="finds no GPU"):
            prepare(*asked)

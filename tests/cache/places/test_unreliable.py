"""S3 through a network that fails, and builds to S3 that are killed: the result is the same, or one line says why."""

import random
import signal
import time
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest
from tests.cache.build.test_restart import INDEX, NEW, OLD, STORES, finished
from tests.cache.samples import Asked, build_alone, build_job, everything, files_of, same, save_photos
from tests.cache.test_cli import Command, refused
from tests.cache.test_cli import dukd_cache as dukd_cache  # a fixture
from tests.object_store import Bucket, Faults, environment, found_at, unreliable
from tests.processes import start

from dukd_cache.check.verify import verify
from dukd_cache.commands import build as job
from dukd_cache.format.reader import Cache, Reading
from dukd_cache.plan.views import VIEWS
from dukd_cache.settings.part import Part


@dataclass(frozen=True)
class Whole:
    """Two caches, built in peace in a folder."""

    old: Asked
    new: Asked
    old_files: dict[str, bytes]
    new_files: dict[str, bytes]
    seconds: float
    """That the new one took. In a store it takes longer."""


@pytest.fixture(scope="module", params=STORES)
def whole(request: pytest.FixtureRequest, teacher_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("whole")
    hr = save_photos(folder / "hr", [(101, 90), (113, 107)])
    kind = {"store": request.param, "codec": STORES[request.param], "patch": 40, "zoom_out_patch": 20, "batch_size": 2}
    jobs = [
        build_job(hr, folder / name, teacher_file, **kind, **counts) for name, counts in (("old", OLD), ("new", NEW))
    ]
    for asked in jobs:
        began = time.monotonic()
        finished(asked, folder / "tally")
    seconds = time.monotonic() - began
    return Whole(*jobs, *(files_of(asked.out) for asked in jobs), seconds)  # type: ignore[arg-type]


WEB, ZARR = (
    pytest.mark.parametrize("whole", [often, pytest.param(seldom, marks=pytest.mark.slow)], indirect=True)
    for often, seldom in (STORES, [*STORES][::-1])
)
"""What a store of objects does to each kind of file, others tell; here one is enough for every day."""


def test_a_build_outlasts_faults(whole: Whole, bucket: Bucket) -> None:
    faults, address = Faults(0.1, 0), bucket.address("cache")
    with unreliable(bucket, faults) as shaky, found_at(shaky.endpoint):
        job.build_cache(*whole.new.but(out=address))
        assert verify(address) == []
    assert len(set(faults.met)) == 3, "every kind"
    assert bucket.files("cache") == whole.new_files


@pytest.mark.parametrize("reading", ["some", "in order"])
def test_a_reader_outlasts_faults(
    many_shards: dict[str, Path], bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reading: Reading
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    local = Cache(many_shards["webdataset"])
    for name, content in files_of(many_shards["webdataset"]).items():
        bucket.put(f"cache/{name}", content)
    faults = Faults(0.15, 1)
    with unreliable(bucket, faults) as shaky, found_at(shaky.endpoint):
        remote = Cache(bucket.address("cache"), reading)
        for view in VIEWS:
            for here, there in zip(everything(local, view), everything(remote, view), strict=True):
                assert here.keys() == there.keys()
                assert all(same(here[name], there[name]) for name in here)
    assert faults.met


@pytest.mark.parametrize("requests", [12, *(pytest.param(n, marks=pytest.mark.slow) for n in (0, 25, 40))])
def test_a_server_that_is_gone_is_one_line_and_the_build_goes_on_later(
    whole: Whole, bucket: Bucket, dukd_cache: Command, requests: int
) -> None:
    address, asked = bucket.address("cache"), whole.new.config
    words = ["--hr", *asked.hr, "--teacher", *asked.teacher.values(), "--out", address, "--store", asked.store]
    words += ["--patch", 40, "--zoom-out-patch", 20, "--batch-size", 2, "--shard-size", 1, "--device", "cpu"]
    words += [word for view, crops in NEW.items() for word in (f"--{view.replace('_', '-')}", crops)]
    faults = Faults(0, 0, dies_after=requests)
    with unreliable(bucket, faults) as gone, found_at(gone.endpoint, AWS_MAX_ATTEMPTS="1"):
        refused(dukd_cache("build", *words), address)
    assert "manifest.json" not in bucket.names("cache")
    assert dukd_cache("build", *words).code == 0
    assert bucket.files("cache") == whole.new_files


def kill_somewhere(asked: Asked, bucket: Bucket, moment: random.Random, seconds: float, tally: Path) -> None:
    """Start the build and end its process at a random moment, by SIGKILL."""
    process = start(build_alone, asked, tally, environment(bucket.endpoint))
    process.join(moment.uniform(0.02, 1) * seconds)
    process.kill()
    process.join()


def check_killed(whole: Whole, bucket: Bucket, folder: Path, seed: int, rebuilt: bool) -> None:
    """A build, of nothing or over another cache, killed once or more; then left in peace."""
    moment, asked, tally = random.Random(seed), whole.new.but(out=bucket.address("cache")), folder / "tally"
    if rebuilt:
        for name, content in whole.old_files.items():
            bucket.put(f"cache/{name}", content)
    for _ in range(moment.choice((1, 1, 2, 3))):
        kill_somewhere(asked, bucket, moment, whole.seconds, tally)
    if not rebuilt:
        left = bucket.files("cache")
        names = [name for name in left if INDEX.fullmatch(name)]
        assert all(left[name] == whole.new_files[name] for name in names), "what is named is whole"
    job.build_cache(*asked)
    assert bucket.files("cache") == whole.new_files


@ZARR
def test_a_killed_build_ends_with_the_same_bytes(whole: Whole, bucket: Bucket, tmp_path: Path) -> None:
    check_killed(whole, bucket, tmp_path, 3, rebuilt=True)


@pytest.mark.slow
@pytest.mark.parametrize("rebuilt", [False, True])
@pytest.mark.parametrize("seed", range(100, 120))
def test_killed_at_20_moments(whole: Whole, bucket: Bucket, tmp_path: Path, seed: int, rebuilt: bool) -> None:
    check_killed(whole, bucket, tmp_path, seed, rebuilt)


def part_of(whole: Whole, address: str, endpoint: str, part: Part, tally: Path) -> ForkServerProcess:
    asked = whole.new.but(out=address)
    return start(build_alone, asked, tally, environment(endpoint), part)


@WEB
def test_parts_at_once_on_s3(whole: Whole, bucket: Bucket, tmp_path: Path) -> None:
    """One of them is killed on the way; the two that are asked again are other parts."""
    address = bucket.address("cache")
    for count in (3, 2):
        parts = [Part(number + 1, count) for number in range(count)]
        processes = [part_of(whole, address, bucket.endpoint, part, tmp_path / str(part.number)) for part in parts]
        if count == 3:
            processes[1].join(whole.seconds / 4)
            processes[1].kill()
        for process in processes:
            process.join(300)
            assert process.exitcode in ((0, -signal.SIGKILL) if count == 3 else (0,))
    assert bucket.files("cache") == whole.new_files
    with found_at(bucket.endpoint):
        assert verify(address) == []

"""A build by workers of Ray beside the local one: what they cost, what the driver does, what a death costs.

The cluster is this machine's own, for one worker with all cores. Nothing else should run here.
"""

import os
import signal
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from tests.object_store import Bucket, Faults, found_at, running_server, unreliable

from benchmarks.figures import Figure, Goal
from benchmarks.made_images import save_made_images
from benchmarks.material import cache_config, network_file
from benchmarks.timing import taking_turns
from dukd_cache.build.answer import Teachers
from dukd_cache.build.standing import Shard, shards_of
from dukd_cache.build.write import LOCAL, Engine, Work, build
from dukd_cache.commands.build import engine_of
from dukd_cache.commands.config import CacheConfig
from dukd_cache.commands.prepare import Prepared, prepare
from dukd_cache.format.header import Header
from dukd_cache.format.lifecycle import claim
from dukd_cache.format.manifest import ShardInfo
from dukd_cache.format.workers import workers_in
from dukd_cache.pictures.image_list import Folders, GrowingImages, Images
from dukd_cache.pictures.sources import SourceImage
from dukd_cache.places import Place
from dukd_cache.places.choice import place_at
from dukd_cache.plan.crops import Plan
from dukd_cache.settings.model import validated
from dukd_cache.system.threads import usable_cores

_TURNS = 3
_MADE_UP = (1_000, 1_000_000)
_MIB = 2**20


def figures() -> Iterator[Figure]:
    """Of a small teacher, then of pairs, whose pixels cost next to nothing."""
    with tempfile.TemporaryDirectory(prefix="dukd-bench-") as name:
        folder = Path(name)
        hr = save_made_images(folder / "hr", 48, 400, 300)
        weights = network_file(folder / "edsr.safetensors", "EDSR", {"channels": 48, "blocks": 8})
        views = {"base": 6, "zoom_in": 0, "zoom_out": 0}
        asked = cache_config(hr, weights, views=views, patch=32, batch_size=8, shard_size=2, device="cpu")
        yield from _times(asked, folder)
        yield _driver(_pairs(hr, 640), folder / "pairs")
        yield _memory(_pairs(hr, 640, shard_size=10), folder)
        yield from _requests(hr)


def _pairs(hr: Path, crops: int, shard_size: int = 1) -> CacheConfig:
    """Of pictures that cost next to nothing; 306 of them make a shard of a megabyte."""
    views = {"base": crops, "zoom_in": 0, "zoom_out": 0}
    settings = {"hr": hr, "scale": 4, "patch": 8, "views": views, "codec": "raw", "shard_size": shard_size}
    return validated(CacheConfig, settings)


@dataclass
class _Watched(Engine):
    """Another engine, and what its work takes here."""

    inner: Engine
    on_shard: Callable[[int], None] = lambda _number: None
    wall: float = 0.0
    steady: float = 0.0
    cpu: float = 0.0
    """Wall-clock and CPU seconds from the first shard on, as until then a worker starts."""
    elsewhere: bool = field(init=False)

    def __post_init__(self) -> None:
        self.elsewhere = self.inner.elsewhere

    def computes_on(self, teachers: Teachers) -> str:
        return self.inner.computes_on(teachers)

    def __call__(self, work: Work, header: Header, shards: Sequence[Shard]) -> Generator[ShardInfo, None, None]:
        wall, steady, cpu = time.perf_counter(), 0.0, 0.0
        for number, info in enumerate(self.inner(work, header, shards)):
            now = time.perf_counter()
            steady, cpu = steady or now, cpu or time.process_time()
            self.wall, self.steady, self.cpu = now - wall, now - steady, time.process_time() - cpu
            self.on_shard(number)
            yield info


@contextmanager
def _worker(asked: CacheConfig) -> Iterator[Engine]:
    with engine_of(asked, "ray", workers=1, cpus_per_worker=usable_cores()) as engine:
        yield engine


def _work(made: Prepared, asked: CacheConfig, out: Place) -> Work:
    return Work(made.plan, made.teachers, out, asked.batch_size)


def _times(asked: CacheConfig, folder: Path) -> Iterator[Figure]:
    """One worker over the local build; and what a build takes longer whose worker is killed half-way."""
    kinds = ("local", "ray", "killed")
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    steady: dict[str, list[float]] = {kind: [] for kind in kinds}
    for number, kind in enumerate(taking_turns(kinds, _TURNS)):
        place = place_at(folder / f"{kind}-{number}")
        with _worker(asked) if kind != "local" else _here() as engine:
            watched = _Watched(engine)
            made = prepare(asked, folder / f"{kind}-{number}", watched)
            if kind == "killed":
                watched.on_shard = _killing(len(shards_of(made.header)) // 2, place)
            build(_work(made, asked, place), made.header, watched)
        seconds[kind].append(watched.wall)
        steady[kind].append(watched.steady)
    records = sum(map(made.header.total, made.header.views))
    case = f"EDSR ×4, {records} records in {len(shards_of(made.header))} shards"
    facts: dict[str, Any] = {f"{kind}_s": found for kind, found in seconds.items()} | {"records": records}
    both = (("from the first shard on", steady, Goal(at_most=1.05)), ("with its start", seconds, None))
    for what, found, goal in both:
        over = median(ray / local for ray, local in zip(found["ray"], found["local"], strict=True))
        yield Figure("cluster", f"one worker of Ray over a local build, {case}, {what}", over, "", goal, facts)
    lost = median(killed - ray for killed, ray in zip(seconds["killed"], seconds["ray"], strict=True))
    yield Figure("cluster", "lost by the only worker's death: a new one's start, and half a shard", lost, "s")


@contextmanager
def _here() -> Iterator[Engine]:
    yield LOCAL


def _killing(after: int, out: Place) -> Callable[[int], None]:
    def on_shard(number: int) -> None:
        if number == after:
            (worker,) = workers_in(out)
            os.kill(worker.process, signal.SIGKILL)

    return on_shard


def _driver(asked: CacheConfig, out: Path) -> Figure:
    with _worker(asked) as engine:
        watched = _Watched(engine)
        made = prepare(asked, out, watched)
        build(_work(made, asked, place_at(out)), made.header, watched)
    shards = len(shards_of(made.header))
    facts = {"shards": shards, "wall_s": watched.wall, "cpu_s": watched.cpu}
    return Figure(
        "cluster", f"CPU of the driver a shard, {shards} shards", watched.cpu / shards * 1e3, "ms", Goal(5), facts
    )


def _memory(asked: CacheConfig, folder: Path) -> Figure:
    """Peaks of a worker that writes the same shards of a plan of few images and of one of many."""
    peaks = {}
    for count in _MADE_UP:
        out = place_at(folder / f"of-{count}")
        with _worker(asked) as engine:
            made = prepare(asked, folder / f"of-{count}", _Watched(engine))
            header = made.header.model_copy(update={"images": made.header.images.model_copy(update={"count": count})})
            work = replace(_work(made, asked, out), plan=Plan(_with_made_up(made.plan.columns, count), made.plan.spec))
            claim(out, header)
            written = engine(work, header, shards_of(header)[:10])
            for number, _ in enumerate(written):
                if number == 8:
                    peaks[count] = _peak_of(workers_in(out)[0].process)
    few, many = peaks.values()
    facts = {f"{count}_images_MiB": found / _MIB for count, found in peaks.items()}
    case = f"memory of a worker: {_MADE_UP[1]} over {_MADE_UP[0]} images"
    return Figure("cluster", case, many / few, "", Goal(at_most=1.05), facts)


def _with_made_up(real: Images, count: int) -> Images:
    """`real`, and after them images that are nowhere."""
    growing, last = GrowingImages(), real[len(real) - 1]
    for image in real:
        growing.add(image, real.folders[0], 0)
    nowhere = Folders(Path("/nowhere"))
    for number in range(len(real), count):
        name = f"picture_{number:08d}.png"
        growing.add(SourceImage(name, nowhere.hr / name, f"{number:064x}", last.width, last.height, None), nowhere, 1)
    return growing.images((real.folders[0], nowhere))


def _peak_of(process: int) -> int:
    """Bytes; of Linux."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def _requests(hr: Path) -> Iterator[Figure]:
    """A further shard's, of all that a build asks a store."""
    with running_server() as endpoint, found_at(endpoint):
        bucket = Bucket(endpoint, "dukd-bench")
        bucket.client.create_bucket(Bucket=bucket.name)
        for kind in ("local", "ray"):
            counts, shards = [], []
            for crops in (100, 400):
                asked, address, faults = _pairs(hr, crops), bucket.address(f"{kind}-{crops}"), Faults(0, 0)
                with (
                    unreliable(bucket, faults) as counted,
                    found_at(counted.endpoint),
                    _worker(asked) if kind == "ray" else _here() as engine,
                ):
                    made = prepare(asked, address, engine)
                    build(_work(made, asked, place_at(address)), made.header, engine)
                counts.append(faults.asked)
                shards.append(len(shards_of(made.header)))
            further = (counts[1] - counts[0]) / (shards[1] - shards[0])
            facts = {"requests": counts, "shards": shards}
            yield Figure("cluster", f"requests of a store for a further shard, {kind}", further, "", None, facts)

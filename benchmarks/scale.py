"""Scale: what a cache of 1, 10 and 100 million records costs beside its pixels.

The cache is a real folder that the real reader opens: a manifest of all its shards, and every shard with its index.
They are hard links to a few shards of 561 records, as many as the default shard size makes of patches of 48 at ×4; the
pictures have 8×8 pixels: at their real size 100 million would take 9 TB. So the disk's own time to find a file that was
never read is not in these figures; nor is a store's.

The build is a real one of few records, with a teacher that costs nothing: what it takes a record does not depend on
how many there are (`growth` measures that). Images of a plan are made up, with 24 records each.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.figures import Figure, Goal
from benchmarks.made_images import save_made_images
from benchmarks.material import PROJECT, cache_config, network_file
from dukd_cache.build.teacher import Teacher
from dukd_cache.build.write import Work, build
from dukd_cache.commands.prepare import prepare
from dukd_cache.format import manifest
from dukd_cache.format.header import Degradation, Encoding, Header, ImagesInfo
from dukd_cache.format.index import index_name
from dukd_cache.format.manifest import Manifest, ShardInfo, shard_name
from dukd_cache.format.reader import Cache
from dukd_cache.format.record import Dtype, Pixels, Record, RecordInfo, key_of
from dukd_cache.format.shards import ShardWriter
from dukd_cache.places.folder import Folder
from dukd_cache.plan.views import VIEWS
from dukd_train.data.order import positions

_MILLIONS = (1, 10, 100)
_IN_A_SHARD = 561
_A_PICTURE = 24
"""Records: three views, eight crops."""
_LINKS = 30_000
"""To one file; some systems allow no more than 65 000."""
_SAMPLE = 1_500
_BATCH = 16
_MIB = 2**20


def figures() -> Iterator[Figure]:
    """Of a build, then of each size."""
    yield from _building()
    with tempfile.TemporaryDirectory(prefix="dukd-bench-") as name:
        for millions in _MILLIONS:
            folder = Path(name, str(millions))
            yield from _of(folder, -(-millions * 1_000_000 // _IN_A_SHARD), f"{millions} M records")


def _of(folder: Path, shards: int, case: str) -> Iterator[Figure]:
    """Of a cache of so many shards."""
    records = shards * _IN_A_SHARD
    images = -(-records // _A_PICTURE)
    found = json.loads(_output([sys.executable, str(PROJECT / "benchmarks/plan.py"), str(images)]))
    bytes_an_image = found["MiB"]["peak, less modules"] * _MIB / images
    yield Figure("scale", f"plan: CPU a record, {case}", found["cpu_seconds"] / records * 1e6, "µs")
    yield Figure("scale", f"plan: memory an image, {case}", bytes_an_image, "B")
    header = _header(shards)
    shard = _linked(folder, header, shards)
    infos = [shard._replace(name=_file(number)) for number in range(shards)]
    place = Folder(folder)
    started = time.perf_counter()
    manifest.write(Manifest.of(header, infos), place)
    yield Figure("scale", f"manifest: time to write, {case}", time.perf_counter() - started, "s")
    yield Figure("scale", f"manifest: size, {case}", (folder / "manifest.json").stat().st_size / 1e6, "MB")
    opened = _apart("open", folder)
    yield Figure("scale", f"opening: time, {case}", opened["seconds"], "s", Goal(at_most=10))
    yield Figure("scale", f"opening: memory, {case}", opened["MiB"], "MiB", Goal(at_most=1024))
    read = _apart("read", folder)
    yield Figure("scale", f"reading: cold index, {case}", read["ms_more"], "ms", Goal(at_most=0.3), read)
    yield Figure("scale", f"restart: finding what is whole, {case}", _restart(place, header), "s")
    drawn = _apart("order", records)
    yield Figure("scale", f"order: time to begin, {case}", drawn["seconds"], "s")
    yield Figure("scale", f"order: memory of an epoch, {case}", drawn["MiB"], "MiB")
    yield Figure("scale", f"order: a batch, {case}", drawn["ms"], "ms")


def _building() -> Iterator[Figure]:
    """CPU of all threads, for small pictures stored as they are and for the usual ones compressed."""
    for patch, codec, crops in ((8, "raw", 2000), (48, "webp", 20)):
        with tempfile.TemporaryDirectory(prefix="dukd-bench-") as name:
            folder = Path(name)
            weights = network_file(folder / "tiny.safetensors", "EDSR", {"channels": 8, "blocks": 1})
            hr = save_made_images(folder / "hr", 8, 400, 300)
            views = {"base": crops, "zoom_in": 0, "zoom_out": 0}
            asked = cache_config(hr, weights, patch=patch, codec=codec, views=views)
            made = prepare(asked, folder / "cache")
            free = {name: _Free(each.network, each.info, each.device) for name, each in made.teachers.items()}
            cpu = time.process_time()
            built = build(Work(made.plan, free, Folder(folder / "cache"), _BATCH), made.header)
            spent = (time.process_time() - cpu) / sum(map(built.total, built.views))
        goal = Goal(at_most=200) if codec == "raw" else None
        yield Figure("scale", f"build: CPU a record of patch {patch}, {codec}", spent * 1e6, "µs", goal)


@dataclass(frozen=True)
class _Free(Teacher):
    """Answers black at once."""

    @property
    def takes_all_cores(self) -> bool:
        return False

    def ask(self, input_Npp3: np.ndarray, dtype: Dtype) -> Callable[[], Pixels]:
        count, side = input_Npp3.shape[0], input_Npp3.shape[1] * self.network.scale
        return lambda: np.zeros((count, side, side, 3), dtype)


def _header(images: int) -> Header:
    """Of a cache with one shard an image."""
    view = VIEWS["base"].info(_IN_A_SHARD, 8, 4, {}).model_copy(update={"shard_records": _IN_A_SHARD})
    return Header(
        scale=4,
        patch=8,
        seed=0,
        images=ImagesInfo(count=images, sha256="0" * 64, name_bytes=24),
        degradation=Degradation(kind="bicubic"),
        answers={},
        views=(view,),
        encoding=Encoding(store="webdataset", codec="raw"),
        software={},
    )


def _linked(folder: Path, header: Header, shards: int) -> ShardInfo:
    """Write shard 0 into `folder`, and the others as links to it or to one of its copies."""
    writer, view = ShardWriter(Folder(folder), header), header.view("base")

    def record(position: int) -> Record:
        random = np.random.default_rng(position)  # equal originals: the manifest has one hash for all
        arrays = {name: random.integers(256, size=kind.shape, dtype=np.uint8) for name, kind in view.arrays.items()}
        key = key_of(position, "0" * 64, position)
        info = RecordInfo(key=key, view="base", image="a.png", image_sha256="0" * 64, crop=position, x=0, y=0)
        return Record(info, arrays)

    for number in range(shards):
        if number % _LINKS == 0:
            original = number
            shard = writer.write("base", number, (writer.encode(record(index)) for index in range(_IN_A_SHARD)))
        else:
            for name_of in (_file, lambda number: index_name(_file(number))):
                os.link(folder / name_of(original), folder / name_of(number))
    return shard


def _file(number: int) -> str:
    return shard_name("webdataset", "base", number)


def _restart(place: Folder, header: Header) -> float:
    """Seconds to know of each shard that it is whole, as a build that goes on does."""
    writer, started = ShardWriter(place, header), time.perf_counter()
    sizes = place.sizes()
    assert all(writer.finished("base", number, _IN_A_SHARD, sizes) for number in range(header.images.count))
    return time.perf_counter() - started


def _open(folder: str) -> Mapping[str, float]:
    before, started = _peak(), time.perf_counter()
    cache = Cache(folder)
    return {"seconds": time.perf_counter() - started, "MiB": _peak() - before, "records": cache.count("base")}


def _read(folder: str) -> Mapping[str, float]:
    """One record of each of some shards, then its neighbour: what the first took longer is its index."""
    cache, random = Cache(folder), np.random.default_rng(0)
    shards = random.permutation(cache.count("base") // _IN_A_SHARD)[:_SAMPLE]
    seconds = []
    for index in (shards * _IN_A_SHARD + 64 * random.integers(_IN_A_SHARD // 64, size=len(shards))).tolist():
        times = [time.perf_counter()]
        for each in (index, index + 1):
            cache.read("base", each)
            times.append(time.perf_counter())
        seconds.append(np.diff(times))
    cold, warm = np.median(seconds, axis=0) * 1e3
    return {"ms_more": cold - warm, "ms_warm": warm}


def _order(records: str) -> Mapping[str, float]:
    before, started = _peak(), time.perf_counter()
    positions(0, 0, 0, _BATCH, int(records))
    begun, peak = time.perf_counter(), _peak()
    for step in range(1, 101):
        positions(0, 0, step, _BATCH, int(records))
    return {"seconds": begun - started, "MiB": peak - before, "ms": (time.perf_counter() - begun) * 10}


_APART: Mapping[str, Callable[[str], Mapping[str, float]]] = {"open": _open, "read": _read, "order": _order}


def _apart(what: str, of: object) -> dict[str, float]:
    """One of those above, in a process of its own."""
    found: dict[str, float] = json.loads(_output([sys.executable, "-m", "benchmarks.scale", what, str(of)]))
    return found


def _output(command: list[str]) -> bytes:
    """Through a shell: a process begins with the peak of its parent's memory."""
    return subprocess.run(["sh", "-c", '"$@"; exit $?', "sh", *command], check=True, stdout=subprocess.PIPE).stdout


def _peak() -> float:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / _MIB


if __name__ == "__main__":
    print(json.dumps(_APART[sys.argv[1]](sys.argv[2])))

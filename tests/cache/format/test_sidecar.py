"""What the reading of sidecars costs."""

import gc
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dukd_cache.format.manifest import ShardInfo
from dukd_cache.format.record import RecordInfo
from dukd_cache.format.sidecar import Entry, Member, Shards, Sidecar, sidecar_name
from dukd_cache.places.choice import place_at
from dukd_cache.places.folder import Folder

RECORDS = 3000
HASH = "0" * 64


def stored(folder: Path) -> ShardInfo:
    """A sidecar in `folder`."""
    entries = tuple(
        Entry(
            info=RecordInfo(
                key=f"{crop:08d}_{HASH[:16]}_0000",
                view="base",
                image="made.png",
                image_sha256=HASH,
                crop=crop,
                x=crop,
                y=0,
                fingerprint=HASH,
            ),
            members={name: Member(offset=crop * 512, length=9, sha256=HASH) for name in ("input.webp", "json")},
        )
        for crop in range(RECORDS)
    )
    sidecar = Sidecar(RECORDS * 512, HASH, tuple(entry.to_json() for entry in entries))
    place_at(folder).write(sidecar_name("base-000000.tar"), sidecar.to_json())
    return sidecar.shard_info("base-000000.tar", "base", sidecar.to_json())


def test_a_large_sidecar_does_not_occupy_the_collector(tmp_path: Path) -> None:
    """Else a record of a large shard costs more than one of a small shard."""
    shard = stored(tmp_path)
    shards = Shards(place_at(tmp_path))
    gc.collect()
    before = sum(generation["collections"] for generation in gc.get_stats())
    found = shards.entry(shard, RECORDS - 1)
    assert sum(generation["collections"] for generation in gc.get_stats()) - before <= 2
    assert found.info.crop == RECORDS - 1


class Counting(Folder):
    """A folder that keeps the names of what is read."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.reads: list[str] = []

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        """After a moment, in which others come."""
        self.reads.append(name)
        time.sleep(0.05)
        return super().read_range(name, offset, length)


def test_threads_that_come_at_once_read_a_sidecar_once(tmp_path: Path) -> None:
    """All of them do in a training that loads its records in order, when a shard begins."""
    shard = stored(tmp_path)
    place = Counting(tmp_path)
    shards = Shards(place)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda index: shards.entry(shard, index).info.crop, range(4))) == [0, 1, 2, 3]
    assert place.reads == [sidecar_name(shard.name)]

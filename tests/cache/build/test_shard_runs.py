"""Runs of shards: how they are cut, and what becomes of those that were asked of a worker that died."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from dukd_cache.build.shard_runs import ShardRuns
from dukd_cache.build.standing import shards_of
from dukd_cache.format.reader import Cache
from dukd_cache.format.shards import ShardWriter
from dukd_cache.places.choice import place_at
from dukd_cache.settings.choices import Store
from dukd_cache.system.errors import CacheError


def runs_of(runs: ShardRuns, workers: int = 1) -> Iterator[list[str]]:
    while run := runs.take(workers):
        yield [f"{shard.view.name} {shard.number}" for shard in run]


@pytest.fixture(params=["webdataset", "zarr"])
def cache(request: pytest.FixtureRequest, many_shards: dict[Store, Path], tmp_path: Path) -> Cache:
    """Of three shards a view."""
    shutil.copytree(many_shards[request.param], tmp_path / "cache")
    return Cache(tmp_path / "cache")


def runs_over(cache: Cache, most: int, leave_out: int | None = None) -> ShardRuns:
    header = cache.manifest.header
    shards = [shard for number, shard in enumerate(shards_of(header)) if number != leave_out]
    return ShardRuns(shards, most, ShardWriter(place_at(cache.root), header))


def test_runs_are_of_one_view_and_follow_one_another(cache: Cache) -> None:
    assert [len(run) for run in runs_of(runs_over(cache, 2))] == [2, 1, 2, 1, 2, 1]
    assert [len(run) for run in runs_of(runs_over(cache, 4), 3)] == [3, 2, 1, 1, 1, 1], "the end is shared out"
    gaps = list(runs_of(runs_over(cache, 2, leave_out=1)))
    assert gaps[:3] == [["base 0"], ["base 2"], ["zoom_in 0", "zoom_in 1"]]


def test_a_shard_at_which_workers_die_is_named(cache: Cache) -> None:
    runs = runs_over(cache, 3)
    first = runs.take(1)
    runs.lost(first)
    assert list(runs_of(runs)) == [["base 0"], ["base 1", "base 2"], *list(runs_of(runs_over(cache, 3)))[1:]]
    runs.lost(first[:1])
    with pytest.raises(CacheError, match=r"base-000000(\.tar)?: 3 workers died at this shard; look for its images"):
        runs.lost(runs.take(1))


def test_a_shard_that_a_dead_worker_wrote_late_is_made_again(cache: Cache) -> None:
    runs, found = runs_over(cache, 3), cache.manifest.shards
    runs.lost(runs.take(1))
    assert len(list(runs_of(runs))) == 4
    late = next(path for path in (cache.root / "base-000001.tar", cache.root / "base/truth/c/1/0/0/0") if path.exists())
    before = late.read_bytes()
    late.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    for info in found:
        runs.whole(info)
    assert runs.left == 1
    assert list(runs_of(runs)) == [["base 1"]]
    late.write_bytes(before)
    runs.whole(found[1])
    assert runs.left == 0

"""`dukd-cache convert`: the same records in another store, codec or shard size."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.cache.samples import build_job, equal, files_of, save_photos
from tests.cache.test_cli import Command, refused
from tests.cache.test_cli import dukd_cache as dukd_cache  # a fixture
from tests.left_overs import left_over

from dukd_cache.build.convert import convert, converted_header
from dukd_cache.check.verify import verify
from dukd_cache.commands import build as job
from dukd_cache.format.codecs import CODECS
from dukd_cache.format.reader import Cache
from dukd_cache.format.record import Dtype
from dukd_cache.settings.choices import Store
from dukd_cache.system.errors import ShardCorrupt

COMBINATIONS = [(store, codec) for store, codecs in CODECS.items() for codec in codecs]


def same_records(one: Cache, other: Cache) -> bool:
    return one.views == other.views and all(
        one.count(view) == other.count(view)
        and all(equal(one.read(view, n), other.read(view, n)) for n in range(one.count(view)))
        for view in one.views
    )


def converted(source: Path, out: Path, store: Store, codec: str | None = None, size: int | None = None) -> Cache:
    opened = Cache(source)
    convert(opened, out, converted_header(opened.manifest, store, codec, size))
    return Cache(out)


@pytest.fixture(scope="module")
def originals(photos: Path, teacher_file: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("originals")
    few = {"base": 3, "zoom_in": 2, "zoom_out": 2}
    job.build_cache(*build_job(photos, folder / "float16", teacher_file, dtype="float16", **few))
    job.build_cache(*build_job(photos, folder / "float32", teacher_file, dtype="float32", **few))
    job.build_cache(*build_job(photos, folder / "uint8", teacher_file, **few))
    job.build_cache(*build_job(photos, folder / "pairs", None, base=3))
    return {name: folder / name for name in ("float32", "float16", "uint8", "pairs")}


@pytest.mark.parametrize("kind", ["uint8", "float16", "pairs"])
@pytest.mark.parametrize(("store", "codec"), COMBINATIONS)
def test_nothing_is_lost_and_the_way_back_gives_the_same_files(
    originals: dict[str, Path], tmp_path: Path, store: Store, codec: str, kind: str
) -> None:
    source = Cache(originals[kind])
    there = converted(source.root, tmp_path / "there", store, codec)
    assert same_records(source, there)
    assert verify(there.root) == []
    for section in ("scale", "patch", "seed", "views", "answers", "images", "degradation", "columns"):
        assert getattr(there.manifest, section) == getattr(source.manifest, section)
    converted(there.root, tmp_path / "back", "webdataset", "webp")
    assert files_of(tmp_path / "back") == files_of(source.root)


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32"])
def test_a_converted_cache_is_the_one_a_build_writes(
    originals: dict[str, Path], photos: Path, teacher_file: Path, tmp_path: Path, dtype: Dtype
) -> None:
    few: dict[str, Any] = {"base": 3, "zoom_in": 2, "zoom_out": 2, "dtype": dtype}
    job.build_cache(*build_job(photos, tmp_path / "built", teacher_file, store="zarr", codec=None, **few))
    converted(originals[dtype], tmp_path / "converted", "zarr")
    assert files_of(tmp_path / "converted") == files_of(tmp_path / "built")


@pytest.mark.parametrize("store", list(CODECS))
def test_shard_size(tmp_path: Path, store: Store) -> None:
    hr = save_photos(tmp_path / "hr", [(90, 96), (100, 84)])
    job.build_cache(*build_job(hr, tmp_path / "big", None, patch=40, base=45, shard_size=2))
    small = converted(tmp_path / "big", tmp_path / "small", store, size=1)
    assert [shard.records for shard in Cache(tmp_path / "big").manifest.shards] == [83, 7]
    assert [shard.records for shard in small.manifest.shards] == [41, 41, 8]
    assert same_records(Cache(tmp_path / "big"), small)
    assert verify(small.root) == []


@pytest.mark.parametrize("store", list(CODECS))
def test_a_conversion_that_stopped_goes_on(many_shards: dict[Store, Path], tmp_path: Path, store: Store) -> None:
    """Of nine shards the second half is unreadable at first: what was finished is not written again."""
    other: Store = "zarr" if store == "webdataset" else "webdataset"
    expected = converted(many_shards[other], tmp_path / "expected", store)
    damaged = tmp_path / "source"
    shutil.copytree(many_shards[other], damaged)
    lost = next(damaged.glob("zoom_in-000001.tar")) if other == "webdataset" else damaged / "zoom_in/input/c/1/0/0/0"
    content = lost.read_bytes()
    lost.write_bytes(content[:300])
    with pytest.raises(ShardCorrupt):
        converted(damaged, tmp_path / "c", store)
    half = files_of(tmp_path / "c")
    assert "building.json" in half
    assert "manifest.json" not in half
    assert not [name for name in half if name.startswith("zoom_in-000001") or name.endswith(".partial")]
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "c").rglob("base-*")}
    assert len(times) in (3, 6)
    left_over(tmp_path / "c/base-000002.tar")
    lost.write_bytes(content)
    converted(damaged, tmp_path / "c", store)
    assert files_of(tmp_path / "c") == files_of(expected.root)
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_the_command(many_shards: dict[Store, Path], dukd_cache: Command, tmp_path: Path) -> None:
    source, out = many_shards["webdataset"], tmp_path / "c"
    words = ("convert", source, out, "--store", "zarr")
    ended = dukd_cache(*words)
    assert (ended.code, ended.errors) == (0, [])
    assert ended.output.startswith(f"{out}: 18 base, 15 zoom_in, 15 zoom_out records in 9 shards, ")
    before = files_of(out)
    assert dukd_cache(*words) == ended
    assert files_of(out) == before


def test_a_target_that_holds_something_else_is_refused(
    many_shards: dict[Store, Path], dukd_cache: Command, tmp_path: Path
) -> None:
    source = many_shards["webdataset"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    dukd_cache("convert", source, tmp_path / "c", "--store", "zarr")
    before = files_of(tmp_path)
    zarr = ("--store", "zarr")
    refused(
        dukd_cache("convert", source, tmp_path / "mine", *zarr), "holds something that is no cache", "another folder"
    )
    refused(dukd_cache("convert", source, tmp_path / "file", *zarr), "expected a folder, found a file")
    refused(
        dukd_cache("convert", source, tmp_path / "c", *zarr, "--codec", "raw"), "holds another cache", "another folder"
    )
    refused(dukd_cache("convert", source, source, *zarr), "holds another cache")
    refused(dukd_cache("convert", tmp_path / "mine", tmp_path / "d", *zarr), "no finished cache here")
    refused(dukd_cache("convert", source, tmp_path / "d", *zarr, "--codec", "webp"), "--codec webp", "blosc, raw")
    refused(dukd_cache("convert", source, tmp_path / "d"), "--store")
    assert files_of(tmp_path) == before

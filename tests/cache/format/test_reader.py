"""Random access to a finished cache, and its manifest."""

import hashlib
import json
import pickle
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tests.cache.samples import build_job, everything, files_of, same, save_photos

from dukd_cache.commands import build as job
from dukd_cache.format import manifest
from dukd_cache.format.reader import Cache
from dukd_cache.places.folder import Folder
from dukd_cache.plan.views import VIEWS
from dukd_cache.settings.choices import Store
from dukd_cache.system.errors import CacheError, NoSuchView, ShardCorrupt


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of pairs in three shards: 2·90 records of 3·(40² + 80²) = 24 kB, a megabyte a shard."""
    folder = tmp_path_factory.mktemp("sharded")
    hr = save_photos(folder / "hr", [(90, 96), (100, 84)])
    job.build_cache(*build_job(hr, folder / "cache", None, patch=40, base=45))
    return folder / "cache"


def test_counts_and_views(small_cache: Path) -> None:
    cache = Cache(small_cache)
    assert cache.views == tuple(VIEWS)
    assert {view: cache.count(view) for view in VIEWS} == {"base": 18, "zoom_in": 15, "zoom_out": 15}


def test_another_process_opens_it_anew_for_the_same_reading(small_cache: Path, sharded: Path, tmp_path: Path) -> None:
    shutil.copytree(small_cache, tmp_path / "cache")
    sent = pickle.dumps(Cache(tmp_path / "cache", reading="in any order"))
    opened = pickle.loads(sent)
    assert opened.digest == Cache(small_cache).digest
    assert opened._reading == "in any order"
    assert same(opened.read("base", 3).input, Cache(small_cache).read("base", 3).input)
    shutil.rmtree(tmp_path / "cache")
    shutil.copytree(sharded, tmp_path / "cache")
    with pytest.raises(CacheError, match="another cache now than when it was opened"):
        pickle.loads(sent)


def test_every_record_is_found_at_its_index(small_cache: Path) -> None:
    cache = Cache(small_cache)
    for view in VIEWS:
        infos = [cache.info(view, index) for index in range(cache.count(view))]
        assert [int(info.key.split("_")[0]) for info in infos] == list(range(cache.count(view)))
        assert {info.view for info in infos} == {view}
        assert [cache.read(view, index).info for index in range(cache.count(view))] == infos


def test_shapes_are_those_of_the_spec(small_cache: Path) -> None:
    cache = Cache(small_cache)
    for view, p, q in [("base", 12, 24), ("zoom_in", 12, 24), ("zoom_out", 6, 12)]:
        record = cache.read(view, 3)  # type: ignore[arg-type]
        assert record.input.shape == (p, p, 3)
        assert record["teacher"].shape == (q, q, 3)
        assert "truth" not in record if view == "zoom_in" else record["truth"].shape == (q, q, 3)


def test_indices_run_on_from_shard_to_shard(sharded: Path) -> None:
    cache = Cache(sharded)
    sizes = [shard.records for shard in cache.manifest.shards]
    assert len(sizes) == 3
    assert sum(sizes) == cache.count("base") == 90
    for index in [0, sizes[0] - 1, sizes[0], sizes[0] + sizes[1] - 1, sizes[0] + sizes[1], 89]:
        assert int(cache.read("base", index).info.key.split("_")[0]) == index


@pytest.mark.parametrize("index", [-1, 18, 10**9])
def test_there_is_no_record_beyond_the_ends(small_cache: Path, index: int) -> None:
    cache = Cache(small_cache)
    for ask in (cache.read, cache.info):
        with pytest.raises(IndexError, match=f"view base has 18 records, asked for {index}"):
            ask("base", index)


def test_a_view_that_the_cache_lacks_is_empty(sharded: Path) -> None:
    cache = Cache(sharded)
    assert cache.views == ("base",)
    assert cache.count("zoom_in") == 0
    with pytest.raises(IndexError, match="view zoom_in has 0 records, asked for 0"):
        cache.read("zoom_in", 0)


def test_a_cache_is_like_a_dict_of_its_views(small_cache: Path) -> None:
    cache = Cache(small_cache)
    assert [*cache] == [*VIEWS]
    assert len(cache) == len(VIEWS)
    assert "zoom_in" in cache
    assert "zoom" not in cache
    assert cache.get("zoom") is None
    assert {view: len(records) for view, records in cache.items()} == {"base": 18, "zoom_in": 15, "zoom_out": 15}
    assert cache == cache
    assert cache != Cache(small_cache)
    assert len({cache, cache}) == 1
    assert repr(cache) == f"<Cache {small_cache}, ×2, base: 18, zoom_in: 15, zoom_out: 15>"
    assert repr(cache["zoom_in"]) == f"<15 records of zoom_in in {small_cache}: input, teacher>"


def test_a_view_is_like_a_list_of_its_records(small_cache: Path) -> None:
    cache = Cache(small_cache)
    records = cache["base"]
    assert len(records) == 18
    keys = [record.info.key for record in everything(cache, "base")]
    assert [record.info.key for record in records] == keys
    assert [record.info.key for record in records[2:9:3]] == keys[2:9:3]
    assert [records[index].info.key for index in (0, 17, -1, -18)] == [keys[index] for index in (0, 17, -1, -18)]
    assert {name: array.shape for name, array in records[3].items()} == {
        "input": (12, 12, 3), "teacher": (24, 24, 3), "truth": (24, 24, 3),
    }  # fmt: skip
    for index in (18, -19):
        with pytest.raises(IndexError, match="view base has 18 records, asked for"):
            records[index]


@pytest.mark.parametrize(
    "ask",
    [
        lambda cache: cache["zoomin"],
        lambda cache: cache.table("zoomin"),
        lambda cache: cache.dataset("zoomin"),
        lambda cache: cache.webdataset("zoomin"),
    ],
)
def test_a_view_of_another_name_is_told_those_that_there_are(small_cache: Path, ask: Callable[[Cache], object]) -> None:
    with pytest.raises(NoSuchView) as caught:
        ask(Cache(small_cache))
    assert isinstance(caught.value, CacheError)
    assert isinstance(caught.value, KeyError)
    wanted = "unknown view 'zoomin': did you mean 'zoom_in'? (valid: base, zoom_in, zoom_out)"
    assert str(caught.value) == f"{small_cache}: {wanted}"


def test_other_readers_read_the_same_pixels(many_shards: dict[Store, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    tars, arrays = Cache(many_shards["webdataset"]), Cache(many_shards["zarr"])
    expected = [record["teacher"] for record in everything(tars, "base")]
    found = [sample["teacher.webp"] for sample in tars.webdataset("base").decode("rgb8")]
    assert all(map(same, expected, found))
    assert len(found) == 18
    assert same(arrays.zarr()["base/teacher"][:], np.stack(expected))
    monkeypatch.setenv("HOME", str(arrays.place.canonical.rpartition("/")[0]))
    assert same(Cache("~/zarr").zarr()["base/teacher"][3], expected[3])
    assert len([*Cache("~/webdataset").webdataset("base")]) == 18


def test_other_readers_of_another_store_are_refused(many_shards: dict[Store, Path]) -> None:
    tars, arrays = many_shards["webdataset"], many_shards["zarr"]
    with pytest.raises(CacheError, match=f"^{arrays}: a store of zarr, not of tars$"):
        Cache(arrays).webdataset("base")
    with pytest.raises(CacheError, match=f"^{tars}: a store of webdataset, not Zarr's$"):
        Cache(tars).zarr()


def test_threads_read_the_same(sharded: Path) -> None:
    cache = Cache(sharded)
    order = [int(index) for index in np.random.default_rng(0).permutation(90)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda index: cache.read("base", index), order))
    alone = Cache(sharded)
    for index, record in zip(order, together, strict=True):
        expected = alone.read("base", index)
        assert record.info == expected.info
        assert np.array_equal(record.input, expected.input)
        assert same(record["truth"], expected["truth"])


def test_the_digest_is_that_of_the_manifest_file(small_cache: Path, sharded: Path) -> None:
    digest = Cache(small_cache).digest
    assert digest == hashlib.sha256((small_cache / "manifest.json").read_bytes()).hexdigest()
    assert digest != Cache(sharded).digest


def test_the_manifest_names_every_shard_truly(sharded: Path) -> None:
    files = files_of(sharded)
    found = manifest.read(Folder(sharded))
    assert {"manifest.json"} | {s.name for s in found.shards} | {
        s.name.replace(".tar", ".npy") for s in found.shards
    } == set(files)
    for shard in found.shards:
        assert shard.bytes == len(files[shard.name])
        assert shard.sha256 == hashlib.sha256(files[shard.name]).hexdigest()
        assert files[shard.name.replace(".tar", ".npy")].endswith(bytes.fromhex(shard.index_sha256))


def test_a_manifest_comes_back_as_it_was_written(small_cache: Path, tmp_path: Path) -> None:
    found = manifest.read(Folder(small_cache))
    manifest.write(found, Folder(tmp_path))
    assert manifest.read(Folder(tmp_path)) == found
    assert files_of(tmp_path) == {"manifest.json": (small_cache / "manifest.json").read_bytes()}


def test_damage_in_a_shard_is_named(small_cache: Path, tmp_path: Path) -> None:
    root = shutil.copytree(small_cache, tmp_path / "cache")
    shard = root / "zoom_in-000000.tar"
    content = bytearray(shard.read_bytes())
    for at in range(600, len(content), 512):
        content[at] ^= 0xFF
    shard.write_bytes(content)
    cache = Cache(root)
    cache.read("base", 0)
    with pytest.raises(ShardCorrupt, match=r"zoom_in-000000\.tar"):
        cache.read("zoom_in", 0)


@pytest.mark.parametrize("what", ["nothing", "empty folder", "unfinished"])
def test_without_a_manifest_there_is_no_cache(small_cache: Path, tmp_path: Path, what: str) -> None:
    root = tmp_path / "cache"
    if what == "empty folder":
        root.mkdir()
    elif what == "unfinished":
        shutil.copytree(small_cache, root)
        (root / "manifest.json").unlink()
    with pytest.raises(CacheError, match="no finished cache here") as caught:
        Cache(root)
    assert str(caught.value).startswith(f"{root}:")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"version": "2"}, "version"),
        ({"format": "other"}, "format"),
        ({"surprise": 1}, "surprise"),
        ({"shards": None}, "shards"),
        ({"encoding": {}}, "encoding.store"),
    ],
)
def test_a_manifest_of_another_kind_is_refused(
    small_cache: Path, tmp_path: Path, change: dict[str, object], says: str
) -> None:
    content = json.loads((small_cache / "manifest.json").read_text()) | change
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(CacheError, match=rf"manifest\.json: not a manifest of cache format 2 \({says}: ") as caught:
        Cache(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_cache_of_an_older_format_is_to_be_built_anew(small_cache: Path, tmp_path: Path) -> None:
    content = json.loads((small_cache / "manifest.json").read_text()) | {"version": 1}
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(CacheError, match=r"cache format 2 expected, found 1: build this cache anew$"):
        Cache(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"null"])
def test_a_broken_manifest_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(CacheError, match="not a manifest of cache format 2"):
        Cache(tmp_path)


@pytest.mark.parametrize("view", VIEWS)
def test_a_table_holds_the_columns_of_all_records(many_shards: dict[Store, Path], view: str) -> None:
    for root in many_shards.values():
        cache = Cache(root)
        table, infos = cache.table(view), [cache.info(view, index) for index in range(cache.count(view))]
        assert table["image"].tolist() == [info.image for info in infos]
        assert list(zip(table["x"], table["y"], table["crop"], strict=True)) == [(i.x, i.y, i.crop) for i in infos]
        assert table["fingerprint.teacher"].tolist() == [info.fingerprints["teacher"] for info in infos]
        assert table["input.bytes"].tolist() == [
            cache.stored_bytes(view, index)["input"] for index in range(cache.count(view))
        ]


def test_only_the_arrays_that_are_asked_for_are_read(many_shards: dict[Store, Path]) -> None:
    for root in many_shards.values():
        whole, part = Cache(root).read("base", 8), Cache(root).read("base", 8, ["teacher"])
        assert part.info == whole.info
        assert list(part) == ["teacher"]
        assert same(part["teacher"], whole["teacher"])


@pytest.mark.parametrize("view", VIEWS)
def test_a_fingerprint_names_teacher_precision_and_pixels(small_cache: Path, view: str) -> None:
    """Computed here from the documented parts; equal pixels have equal names wherever they were cut."""
    cache = Cache(small_cache)
    teacher = cache.manifest.answers["teacher"]
    for index in range(4):
        record = cache.read(view, index)
        side = len(record.input)
        parts = f"2/{teacher.fingerprint}/fp32/1/({side}, {side}, 3)/".encode() + record.input.tobytes()
        assert record.info.fingerprints == {"teacher": hashlib.sha256(parts).hexdigest()}

"""Shards of both stores: their records come back, and what is damaged or unfinished shows."""

import hashlib
import os
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset
from tests.cache.samples import crop_spec, equal, files_of, header_of, index_of, photo

from dukd_cache.build.answer import info_of
from dukd_cache.format.codecs import CODECS
from dukd_cache.format.container import Packed
from dukd_cache.format.header import AnswerInfo, Header, ImagesInfo
from dukd_cache.format.index import index_name
from dukd_cache.format.manifest import ShardInfo
from dukd_cache.format.record import DTYPES, Dtype, Pixels, Record, fingerprint
from dukd_cache.format.shards import ShardReader, ShardWriter, is_written, looks_like_a_shard, whole_shards
from dukd_cache.pictures.sources import SourceImage
from dukd_cache.places.folder import Folder
from dukd_cache.plan.crops import Crop
from dukd_cache.plan.views import VIEWS
from dukd_cache.settings.choices import Store
from dukd_cache.system.errors import ShardCorrupt

NAME = "dir/ä b.png"
USUAL: dict[Store, str] = {"webdataset": "png", "zarr": "blosc"}
"""The codecs of these tests."""
STORES = [*USUAL]
NUMBER, PER_SHARD = 3, 7


def header_with(
    dtype: Dtype = "uint8", teacher: bool = True, store: Store = "webdataset", codec: str | None = None
) -> Header:
    """Of a cache of what `record_of` makes."""
    info = AnswerInfo(file="t", architecture="EDSR", settings={}, fingerprint="f", precision="fp32", window=1)
    answers = {"teacher": info} if teacher else {}
    spec = crop_spec(2, 6, 6, answers=dict.fromkeys(answers, dtype))
    images = ImagesInfo(count=99, sha256="0" * 64, name_bytes=len(NAME.encode()))
    return header_of(spec, images, answers, dict.fromkeys(VIEWS, PER_SHARD), store, codec or USUAL[store])


def record_of(view: str, position: int, dtype: Dtype = "uint8", teacher: bool = True) -> Record:
    """The record at `position` of the shard with number `NUMBER`."""
    image = SourceImage(NAME, Path(NAME), hashlib.sha256(b"%d" % (position // 2)).hexdigest(), 9, 9, None)
    arrays: dict[str, Pixels] = {"input": photo(6, 6, seed=position)}
    fingerprints = {"teacher": fingerprint("asked", arrays["input"])} if teacher else {}
    if teacher:
        answer = photo(12, 12, seed=100 + position)
        arrays["teacher"] = answer if dtype == "uint8" else (answer / np.float32(255)).astype(dtype)
    if VIEWS[view].has_truth:
        arrays["truth"] = photo(12, 12, seed=200 + position)
    crop = Crop(header_with(dtype, teacher).view(view), image, position % 2, x=position, y=2 * position)
    return Record(info_of(crop, NUMBER * PER_SHARD + position, fingerprints), arrays)


def reader_of(store: Store, root: Path, **kind: Any) -> ShardReader:
    return ShardReader(Folder(root), header_with(store=store, **kind))


def writer_to(store: Store, root: Path, **kind: Any) -> ShardWriter:
    return ShardWriter(Folder(root), header_with(store=store, **kind))


def written(
    store: Store, root: Path, view: str = "base", codec: str | None = None, count: int = 5, **kind: Any
) -> ShardInfo:
    root.mkdir(exist_ok=True)
    writer = writer_to(store, root, codec=codec, **kind)
    return writer.write(view, NUMBER, [writer.encode(record_of(view, n, **kind)) for n in range(count)])


def file_of(store: Store, array: str) -> str:
    """Where the pixels of an array of `written` lie, below the root."""
    return {"webdataset": "base-000003.tar", "zarr": f"base/{array}/c/3/0/0/0"}[store]


@pytest.mark.parametrize(("store", "codec"), [(store, codec) for store in STORES for codec in CODECS[store]])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("view", VIEWS)
def test_records_come_back_in_any_order(tmp_path: Path, view: str, dtype: Dtype, store: Store, codec: str) -> None:
    shard = written(store, tmp_path, view, codec, dtype=dtype)
    reader = reader_of(store, tmp_path, codec=codec, dtype=dtype)
    for index in (4, 0, 2, 2, 1, 3):
        expected = record_of(view, index, dtype)
        assert equal(reader.read(shard, index), expected)
        assert reader.info(shard, index) == expected.info
    reader.check_structure(shard)


@pytest.mark.parametrize("store", STORES)
def test_records_without_a_teacher(tmp_path: Path, store: Store) -> None:
    shard = written(store, tmp_path, teacher=False)
    found = reader_of(store, tmp_path, teacher=False).read(shard, 1)
    assert "teacher" not in found
    assert equal(found, record_of("base", 1, teacher=False))
    assert not (tmp_path / "base/teacher").exists()


@pytest.mark.parametrize(("store", "codec"), [(store, codec) for store in STORES for codec in CODECS[store]])
def test_equal_records_give_equal_bytes(tmp_path: Path, store: Store, codec: str) -> None:
    written(store, tmp_path / "one", codec=codec)
    written(store, tmp_path / "two", codec=codec)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("array", ["input", "teacher", "truth"])
def test_one_changed_byte_is_corrupt_and_both_hashes_are_named(tmp_path: Path, array: str, store: Store) -> None:
    shard = written(store, tmp_path)
    path = tmp_path / file_of(store, array)
    row = index_of(tmp_path, shard.name)[2]
    digest = row[f"{array}.sha256"].tobytes().hex()
    content = bytearray(path.read_bytes())
    content[row[f"{array}.offset"] + row[f"{array}.length"] // 2] ^= 1
    path.write_bytes(content)
    reader = reader_of(store, tmp_path)
    with pytest.raises(ShardCorrupt, match=rf"{file_of(store, array)}: {array}.*{digest[:12]}.* stored, .*computed"):
        reader.read(shard, 2)
    assert equal(reader.read(shard, 1), record_of("base", 1))
    assert equal(reader.read(shard, 3), record_of("base", 3))


@pytest.mark.parametrize("store", STORES)
def test_a_finished_shard_is_recognised(tmp_path: Path, store: Store) -> None:
    shard = written(store, tmp_path)
    writer = writer_to(store, tmp_path)
    assert writer.finished("base", 3, 5) == shard
    assert writer.finished("base", 3, 6) is None
    assert writer.finished("base", 4, 5) is None
    assert writer.finished("zoom_in", 3, 5) is None
    assert writer.finished("base", 3, 5, Folder(tmp_path).sizes()) == shard
    assert writer.finished("base", 3, 6, Folder(tmp_path).sizes()) is None


@pytest.mark.parametrize("store", STORES)
def test_a_finished_shard_costs_one_short_read_where_sizes_are_known(tmp_path: Path, store: Store) -> None:
    """There may be a hundred thousand of them, in a store where each question takes its time."""

    class Counting(Folder):
        def read_range(self, name: str, offset: int, length: int) -> bytes:
            read.append(length)
            return super().read_range(name, offset, length)

        def size(self, name: str) -> int | None:
            raise AssertionError(name)

    read: list[int] = []
    shard, place = written(store, tmp_path), Counting(tmp_path)
    writer = ShardWriter(place, header_with(store=store))
    assert writer.finished("base", 3, 5, place.sizes()) == shard
    assert writer.finished("base", 3, 5, {}) is None
    assert len(read) == 1
    assert read[0] < 200


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("damage", ["no index", "no file", "longer file", "cut file", "broken index", "empty index"])
def test_an_unfinished_shard_is_not(tmp_path: Path, damage: str, store: Store) -> None:
    written(store, tmp_path)
    file, index = tmp_path / file_of(store, "teacher"), tmp_path / "base-000003.npy"
    if damage == "no index":
        index.unlink()
    elif damage == "no file":
        file.unlink()
    elif damage.endswith("index"):
        index.write_bytes(index.read_bytes()[:100] if damage == "broken index" else b"")
    else:
        os.truncate(file, file.stat().st_size + (1 if damage == "longer file" else -16))
    for sizes in (None, Folder(tmp_path).sizes()):
        assert writer_to(store, tmp_path).finished("base", 3, 5, sizes) is None


@pytest.mark.parametrize("store", STORES)
def test_positions_beyond_eight_digits_and_numbers_beyond_six(tmp_path: Path, store: Store) -> None:
    """Both are as wide as they must be."""
    first, number = 100_000_005, 100_000_005 // PER_SHARD
    header, writer = header_with(store=store), writer_to(store, tmp_path)
    header = header.model_copy(update={"images": header.images.model_copy(update={"count": 10**8})})
    records = [record_of("base", position) for position in range(PER_SHARD)]
    keys = [f"{first + n}{record.info.key[8:]}" for n, record in enumerate(records)]
    records = [replace(r, info=r.info.model_copy(update={"key": key})) for r, key in zip(records, keys, strict=True)]
    shard = writer.write("base", number, map(writer.encode, records))
    reader = reader_of(store, tmp_path)
    assert all(equal(reader.read(shard, index), record) for index, record in enumerate(records))
    assert [reader.info(shard, index).key for index in range(PER_SHARD)] == keys
    reader.check_structure(shard)
    assert writer.finished("base", number, PER_SHARD) == shard
    assert [found for found, _ in whole_shards(Folder(tmp_path), header)] == [shard]
    for name in (index_name(shard.name), *reader.files(shard)):
        assert (tmp_path / name).is_file()
        assert is_written(name, header)
        assert looks_like_a_shard(name, header)
    if store == "webdataset":
        samples = webdataset.WebDataset(str(tmp_path / shard.name), shardshuffle=False)
        assert [sample["__key__"] for sample in samples] == keys
        with tarfile.open(tmp_path / shard.name) as tar:
            assert len(tar.getnames()) == 4 * PER_SHARD


@pytest.mark.parametrize("store", STORES)
def test_a_write_that_fails_leaves_nothing(tmp_path: Path, store: Store) -> None:
    writer = writer_to(store, tmp_path)

    def two_and_then_none() -> Iterator[Packed]:
        yield from [writer.encode(record_of("base", n)) for n in range(2)]
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        writer.write("base", 0, two_and_then_none())
    assert files_of(tmp_path) == {}
    assert store == "zarr" or not [*tmp_path.iterdir()]

"""Tar shards: their bytes, what other software reads from them, and how damage shows."""

import hashlib
import io
import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset
from PIL import Image
from tests.cache.samples import crop_spec, files_of, header_of, index_of, photo, same

from dukd_cache.build.answer import info_of
from dukd_cache.format.codecs import CODECS as CODECS_OF_STORES
from dukd_cache.format.codecs import Store
from dukd_cache.format.container import Packed
from dukd_cache.format.manifest import AnswerInfo, Header, ImagesInfo, ShardInfo
from dukd_cache.format.record import DTYPES, Dtype, Pixels, Record, fingerprint
from dukd_cache.format.shards import ShardReader, ShardWriter
from dukd_cache.pictures.sources import SourceImage
from dukd_cache.places.folder import Folder
from dukd_cache.plan.crops import Crop
from dukd_cache.plan.views import VIEWS
from dukd_cache.system.errors import CacheError, ShardCorrupt

CODECS = CODECS_OF_STORES["webdataset"]
BLOCK = 512
NAME = "dir/ä b.png"
NUMBER, PER_SHARD = 3, 7


def header_with(
    dtype: Dtype = "uint8", teacher: bool = True, codec: str = "png", store: Store = "webdataset"
) -> Header:
    """Of a cache of what `record_of` makes."""
    info = AnswerInfo(file="t", architecture="EDSR", settings={}, fingerprint="f", precision="fp32", window=1)
    answers = {"teacher": info} if teacher else {}
    spec = crop_spec(2, 6, 6, answers=dict.fromkeys(answers, dtype))
    images = ImagesInfo(count=99, sha256="0" * 64, name_bytes=len(NAME.encode()))
    return header_of(spec, images, answers, dict.fromkeys(VIEWS, PER_SHARD), store, codec)


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


def reader_of(root: Path, dtype: Dtype = "uint8", teacher: bool = True, codec: str = "png") -> ShardReader:
    return ShardReader(Folder(root), header_with(dtype, teacher, codec))


def writer_to(root: Path, codec: str = "png", **kind: Any) -> ShardWriter:
    return ShardWriter(Folder(root), header_with(codec=codec, **kind))


def written(root: Path, view: str = "base", codec: str = "png", count: int = 5, **kind: Any) -> ShardInfo:
    root.mkdir(exist_ok=True)
    writer = writer_to(root, codec, **kind)
    return writer.write(view, NUMBER, [writer.encode(record_of(view, n, **kind)) for n in range(count)])


def equal(one: Record, other: Record) -> bool:
    return one.info == other.info and one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("view", VIEWS)
def test_records_come_back_in_any_order(tmp_path: Path, view: str, dtype: Dtype, codec: str) -> None:
    shard = written(tmp_path, view, codec, dtype=dtype)
    reader = reader_of(tmp_path, dtype, codec=codec)
    for index in (4, 0, 2, 2, 1, 3):
        expected = record_of(view, index, dtype)
        assert equal(reader.read(shard, index), expected)
        assert reader.info(shard, index) == expected.info


def test_records_without_a_teacher(tmp_path: Path) -> None:
    shard = written(tmp_path, teacher=False)
    found = reader_of(tmp_path, teacher=False).read(shard, 1)
    assert "teacher" not in found
    assert equal(found, record_of("base", 1, teacher=False))


def test_the_shard_is_described_truly(tmp_path: Path) -> None:
    shard = written(tmp_path)
    assert (shard.name, shard.view, shard.records) == ("base-000003.tar", "base", 5)
    content = (tmp_path / shard.name).read_bytes()
    assert shard.bytes == len(content)
    assert shard.sha256 == hashlib.sha256(content).hexdigest()
    assert (tmp_path / "base-000003.npy").read_bytes().endswith(bytes.fromhex(shard.index_sha256))
    assert sorted(files_of(tmp_path)) == ["base-000003.npy", "base-000003.tar"]


@pytest.mark.parametrize("codec", CODECS)
def test_equal_records_give_equal_bytes(tmp_path: Path, codec: str) -> None:
    written(tmp_path / "one", codec=codec)
    written(tmp_path / "two", codec=codec)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")


def headers(tar: bytes) -> Iterator[bytes]:
    """The raw header blocks of a tar, up to the two blocks of zeros at its end."""
    at = 0
    while tar[at : at + BLOCK].strip(b"\0"):
        yield tar[at : at + BLOCK]
        at += BLOCK + -(-int(tar[at + 124 : at + 136].strip(b"\0 "), 8) // BLOCK) * BLOCK


def test_the_tar_is_plain_ustar_of_one_owner_and_time(tmp_path: Path) -> None:
    """Header fields by their places in POSIX.1-1988: nothing but regular files, no extended headers."""
    content = (tmp_path / written(tmp_path).name).read_bytes()
    found = list(headers(content))
    assert len(found) == 5 * 4
    for header in found:
        assert header[257:265] == b"ustar\x0000"
        assert header[156:157] == b"0"
        assert int(header[136:148].strip(b"\0 "), 8) == 0, "mtime"
    assert len({(h[100:124], h[265:329]) for h in found}) == 1, "mode, owner and group are the same for all"


def test_members_of_a_record_lie_together_under_portable_keys(tmp_path: Path) -> None:
    shard = written(tmp_path, codec="webp")
    with tarfile.open(tmp_path / shard.name) as tar:
        names = [member.name.split(".", 1) for member in tar]
    keys = [key for key, _ in names]
    assert all(re.fullmatch("[0-9a-f_]+", key) for key in keys)
    assert keys == sorted(keys)
    assert len(set(keys)) == 5
    for key in set(keys):
        assert {name for found, name in names if found == key} == {"json", "input.webp", "teacher.webp", "truth.webp"}


def test_the_index_tells_where_each_arrays_bytes_lie(tmp_path: Path) -> None:
    shard = written(tmp_path)
    content = (tmp_path / shard.name).read_bytes()
    for position, row in enumerate(index_of(tmp_path, shard.name)):
        record = record_of("base", position)
        for name in ("input", "teacher", "truth"):
            member = content[row[f"{name}.offset"] : row[f"{name}.offset"] + row[f"{name}.length"]]
            assert hashlib.sha256(member).digest() == row[f"{name}.sha256"].tobytes()
            assert same(np.asarray(Image.open(io.BytesIO(member))), record[name])
        assert (row["image"].decode(), row["crop"], row["x"], row["y"]) == (NAME, position % 2, position, 2 * position)
        assert row["image_sha256"].tobytes().hex() == record.info.image_sha256
        assert row["fingerprint.teacher"].tobytes().hex() == record.info.fingerprints["teacher"]


@pytest.mark.parametrize("codec", ["webp", "png"])
@pytest.mark.parametrize("how", ["rgb8", "pil"])
def test_a_plain_webdataset_pipeline_reads_the_same(tmp_path: Path, how: str, codec: str) -> None:
    shard = written(tmp_path, codec=codec)
    samples = list(webdataset.WebDataset(str(tmp_path / shard.name), shardshuffle=False).decode(how))
    assert len(samples) == 5
    for position, sample in enumerate(samples):
        expected = record_of("base", position)
        assert sample["__key__"] == expected.info.key
        assert sample["json"] == expected.info.model_dump()
        for name, pixels in expected.items():
            assert same(np.asarray(sample[f"{name}.{codec}"]), pixels)


@pytest.mark.parametrize(("codec", "dtype", "suffix"), [("raw", "uint8", "npy"), ("webp", "float16", "npy")])
def test_a_plain_webdataset_pipeline_reads_arrays(tmp_path: Path, codec: str, dtype: Dtype, suffix: str) -> None:
    shard = written(tmp_path, codec=codec, dtype=dtype)
    for position, sample in enumerate(webdataset.WebDataset(str(tmp_path / shard.name), shardshuffle=False).decode()):
        answer = sample[f"teacher.{suffix}"]
        assert answer.dtype == np.dtype(dtype)
        assert same(answer, record_of("base", position, dtype)["teacher"])


@pytest.mark.parametrize("member", ["input", "teacher", "truth"])
def test_one_changed_byte_is_corrupt_and_both_hashes_are_named(tmp_path: Path, member: str) -> None:
    shard = written(tmp_path)
    path = tmp_path / shard.name
    row = index_of(tmp_path, shard.name)[2]
    digest = row[f"{member}.sha256"].tobytes().hex()
    content = bytearray(path.read_bytes())
    content[row[f"{member}.offset"] + row[f"{member}.length"] // 2] ^= 1
    path.write_bytes(content)
    reader = reader_of(tmp_path)
    with pytest.raises(ShardCorrupt, match=rf"base-000003\.tar: {member}.*{digest[:12]}.* stored, .*computed"):
        reader.read(shard, 2)
    assert equal(reader.read(shard, 1), record_of("base", 1))
    assert equal(reader.read(shard, 3), record_of("base", 3))


def test_a_tar_cut_at_a_members_boundary_is_noticed(tmp_path: Path) -> None:
    """Other readers see a shorter tar and no error."""
    shard = written(tmp_path)
    path = tmp_path / shard.name
    with tarfile.open(path) as tar:
        end = tar.getmembers()[3 * 4].offset
    os.truncate(path, end)
    with tarfile.open(path) as tar:
        assert len(tar.getmembers()) == 3 * 4
    reader = reader_of(tmp_path)
    assert equal(reader.read(shard, 2), record_of("base", 2))
    with pytest.raises(ShardCorrupt):
        reader.read(shard, 3)
    assert writer_to(tmp_path).finished("base", 3, 5) is None


def test_a_changed_index_is_corrupt(tmp_path: Path) -> None:
    shard = written(tmp_path)
    index = tmp_path / "base-000003.npy"
    rows = index_of(tmp_path, shard.name)
    rows["y"][1] = 3
    content = index.read_bytes()
    start = content.index(b"\n") + 1
    index.write_bytes(content[:start] + rows.tobytes() + content[start + rows.nbytes :])
    with pytest.raises(ShardCorrupt, match=r"base-000003\.npy.* stored"):
        reader_of(tmp_path).info(shard, 0)


def test_lost_files_are_named(tmp_path: Path) -> None:
    shard = written(tmp_path)
    (tmp_path / shard.name).unlink()
    reader = reader_of(tmp_path)
    assert reader.info(shard, 1) == record_of("base", 1).info, "the index alone says this"
    with pytest.raises(CacheError, match=r"base-000003\.tar: shard cannot be read \(No such file"):
        reader.read(shard, 1)
    (tmp_path / "base-000003.npy").unlink()
    with pytest.raises(CacheError, match=r"base-000003\.npy: index cannot be read \(No such file"):
        reader_of(tmp_path).info(shard, 1)


def test_another_file_is_no_index(tmp_path: Path) -> None:
    shard = written(tmp_path)
    (tmp_path / "base-000003.npy").write_bytes(b"{}")
    shard = shard.model_copy(update={"index_sha256": hashlib.sha256(b"{}").hexdigest()})
    with pytest.raises(CacheError, match=r"base-000003\.npy: sha256"):
        reader_of(tmp_path).info(shard, 1)


def test_a_finished_shard_is_recognised(tmp_path: Path) -> None:
    shard = written(tmp_path)
    writer = writer_to(tmp_path)
    assert writer.finished("base", 3, 5) == shard
    assert writer.finished("base", 3, 6) is None
    assert writer.finished("base", 4, 5) is None
    assert writer.finished("zoom_in", 3, 5) is None


@pytest.mark.parametrize("damage", ["no index", "no shard", "longer shard", "broken index", "empty index"])
def test_an_unfinished_shard_is_not(tmp_path: Path, damage: str) -> None:
    shard, index = tmp_path / written(tmp_path).name, tmp_path / "base-000003.npy"
    if damage == "no index":
        index.unlink()
    elif damage == "no shard":
        shard.unlink()
    elif damage == "longer shard":
        shard.write_bytes(shard.read_bytes() + b"\0")
    else:
        index.write_bytes(index.read_bytes()[:100] if damage == "broken index" else b"")
    assert writer_to(tmp_path).finished("base", 3, 5) is None


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    writer = writer_to(tmp_path)

    def two_and_then_none() -> Iterator[Packed]:
        yield from [writer.encode(record_of("base", n)) for n in range(2)]
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        writer.write("base", 0, two_and_then_none())
    assert list(tmp_path.iterdir()) == []


def test_keys_differ_where_only_the_position_does(tmp_path: Path) -> None:
    """The same image twice, as a copy under another name, gives equal hashes and crop numbers."""
    record = record_of("base", 0)
    twin = replace(
        record, info=record.info.model_copy(update={"key": f"{NUMBER * PER_SHARD + 1:08d}" + record.info.key[8:]})
    )
    writer = writer_to(tmp_path)
    shard = writer.write("base", NUMBER, [writer.encode(record), writer.encode(twin)])
    assert equal(reader_of(tmp_path).read(shard, 1), twin)

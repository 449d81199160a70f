"""Tar shards: their bytes, what other software reads from them, and how damage shows."""

import hashlib
import json
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
from tests.cache.samples import files_of, photo, same

from dukd_cache.build.answer import info_of
from dukd_cache.format import codecs
from dukd_cache.format.layout import Kind, Layout
from dukd_cache.format.manifest import CODECS as CODECS_OF_STORES
from dukd_cache.format.manifest import DTYPES, VIEWS, Codec, Dtype, ShardInfo, View
from dukd_cache.format.record import Answer, Record, fingerprint
from dukd_cache.format.tar import EncodedRecord, WebDatasetReader, WebDatasetWriter
from dukd_cache.pictures.sources import SourceImage
from dukd_cache.places.folder import Folder
from dukd_cache.plan.crops import Crop
from dukd_cache.system.errors import CacheError, ShardCorrupt

CODECS = CODECS_OF_STORES["webdataset"]
BLOCK = 512


def record_of(view: View, position: int, dtype: Dtype = "uint8", teacher: bool = True) -> Record:
    image = SourceImage(
        "dir/ä b.png", Path("dir/ä b.png"), hashlib.sha256(b"%d" % (position // 2)).hexdigest(), 9, 9, None
    )
    pixels = photo(6, 6, seed=position)
    answer: Answer = photo(12, 12, seed=100 + position)
    if dtype != "uint8":
        answer = (answer / np.float32(255)).astype(dtype)
    truth = None if view == "zoom_in" else photo(12, 12, seed=200 + position)
    crop = Crop(view, image, position % 2, x=position, y=2 * position)
    info = info_of(crop, position, fingerprint(pixels, None))
    return Record(info, pixels, answer if teacher else None, truth)


def layout_of(dtype: Dtype = "uint8", teacher: bool = True) -> Layout:
    """What `record_of` makes."""
    found: Layout = {}
    for view in VIEWS:
        found[view] = {"input": Kind(6, "uint8")}
        if teacher:
            found[view]["teacher"] = Kind(12, dtype)
        if view != "zoom_in":
            found[view]["truth"] = Kind(12, "uint8")
    return found


def reader_of(root: Path, dtype: Dtype = "uint8", teacher: bool = True) -> WebDatasetReader:
    return WebDatasetReader(Folder(root), layout_of(dtype, teacher))


def written(root: Path, view: View = "base", codec: Codec = "png", count: int = 5, **kind: Any) -> ShardInfo:
    root.mkdir(exist_ok=True)
    writer = WebDatasetWriter(Folder(root), codec)
    return writer.write(view, 3, [writer.encode(record_of(view, n, **kind)) for n in range(count)])


def equal(one: Record, other: Record) -> bool:
    pairs = [(one.input, other.input), (one.teacher, other.teacher), (one.truth, other.truth)]
    return one.info == other.info and all(same(a, b) for a, b in pairs)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("view", VIEWS)
def test_records_come_back_in_any_order(tmp_path: Path, view: View, dtype: Dtype, codec: Codec) -> None:
    shard = written(tmp_path, view, codec, dtype=dtype)
    reader = reader_of(tmp_path, dtype)
    for index in (4, 0, 2, 2, 1, 3):
        expected = record_of(view, index, dtype)
        assert equal(reader.read(shard, index), expected)
        assert reader.info(shard, index) == expected.info


def test_records_without_a_teacher(tmp_path: Path) -> None:
    shard = written(tmp_path, teacher=False)
    found = reader_of(tmp_path, teacher=False).read(shard, 1)
    assert found.teacher is None
    assert equal(found, record_of("base", 1, teacher=False))


def test_the_shard_is_described_truly(tmp_path: Path) -> None:
    shard = written(tmp_path)
    assert (shard.name, shard.view, shard.records) == ("base-000003.tar", "base", 5)
    content = (tmp_path / shard.name).read_bytes()
    assert shard.bytes == len(content)
    assert shard.sha256 == hashlib.sha256(content).hexdigest()
    assert shard.sidecar_sha256 == hashlib.sha256((tmp_path / "base-000003.json").read_bytes()).hexdigest()
    assert sorted(files_of(tmp_path)) == ["base-000003.json", "base-000003.tar"]


@pytest.mark.parametrize("codec", CODECS)
def test_equal_records_give_equal_bytes(tmp_path: Path, codec: Codec) -> None:
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


def test_the_sidecar_tells_where_each_members_bytes_lie(tmp_path: Path) -> None:
    shard = written(tmp_path)
    content = (tmp_path / shard.name).read_bytes()
    sidecar = json.loads((tmp_path / "base-000003.json").read_text())
    for position, entry in enumerate(sidecar["records"]):
        members = {
            name: content[where["offset"] : where["offset"] + where["length"]]
            for name, where in entry["members"].items()
        }
        assert all(hashlib.sha256(members[name]).hexdigest() == entry["members"][name]["sha256"] for name in members)
        assert json.loads(members["json"]) == entry["info"] == record_of("base", position).info.model_dump()
        assert np.array_equal(
            codecs.decode("png", members["input.png"], Kind(6, "uint8")), record_of("base", position).input
        )


@pytest.mark.parametrize("codec", ["webp", "png"])
@pytest.mark.parametrize("how", ["rgb8", "pil"])
def test_a_plain_webdataset_pipeline_reads_the_same(tmp_path: Path, how: str, codec: Codec) -> None:
    shard = written(tmp_path, codec=codec)
    samples = list(webdataset.WebDataset(str(tmp_path / shard.name), shardshuffle=False).decode(how))
    assert len(samples) == 5
    for position, sample in enumerate(samples):
        expected = record_of("base", position)
        assert sample["__key__"] == expected.info.key
        assert sample["json"] == expected.info.model_dump()
        for name, pixels in [("input", expected.input), ("teacher", expected.teacher), ("truth", expected.truth)]:
            assert same(np.asarray(sample[f"{name}.{codec}"]), pixels)


@pytest.mark.parametrize(("codec", "dtype", "suffix"), [("raw", "uint8", "npy"), ("webp", "float16", "npy")])
def test_a_plain_webdataset_pipeline_reads_arrays(tmp_path: Path, codec: Codec, dtype: Dtype, suffix: str) -> None:
    shard = written(tmp_path, codec=codec, dtype=dtype)
    for position, sample in enumerate(webdataset.WebDataset(str(tmp_path / shard.name), shardshuffle=False).decode()):
        answer = sample[f"teacher.{suffix}"]
        assert answer.dtype == np.dtype(dtype)
        assert same(answer, record_of("base", position, dtype).teacher)


@pytest.mark.parametrize("member", ["input.png", "teacher.png", "truth.png"])
def test_one_changed_byte_is_corrupt_and_both_hashes_are_named(tmp_path: Path, member: str) -> None:
    shard = written(tmp_path)
    path = tmp_path / shard.name
    where = json.loads((tmp_path / "base-000003.json").read_text())["records"][2]["members"][member]
    content = bytearray(path.read_bytes())
    content[where["offset"] + where["length"] // 2] ^= 1
    path.write_bytes(content)
    reader = reader_of(tmp_path)
    with pytest.raises(ShardCorrupt, match=rf"base-000003\.tar: {member}.*{where['sha256'][:12]}.* stored, .*computed"):
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
    assert WebDatasetWriter(Folder(tmp_path), "png").finished("base", 3, 5) is None


def test_a_changed_sidecar_is_corrupt(tmp_path: Path) -> None:
    shard = written(tmp_path)
    sidecar = tmp_path / "base-000003.json"
    sidecar.write_bytes(sidecar.read_bytes().replace(b'"y":2', b'"y":3'))
    with pytest.raises(ShardCorrupt, match=rf"base-000003\.json.*{shard.sidecar_sha256[:12]}.* stored"):
        reader_of(tmp_path).info(shard, 0)


def test_lost_files_are_named(tmp_path: Path) -> None:
    shard = written(tmp_path)
    (tmp_path / shard.name).unlink()
    reader = reader_of(tmp_path)
    assert reader.info(shard, 1) == record_of("base", 1).info, "the sidecar alone says this"
    with pytest.raises(CacheError, match=r"base-000003\.tar: shard cannot be read \(No such file"):
        reader.read(shard, 1)
    (tmp_path / "base-000003.json").unlink()
    with pytest.raises(CacheError, match=r"base-000003\.json: sidecar cannot be read \(No such file"):
        reader_of(tmp_path).info(shard, 1)


def test_a_sidecar_of_another_kind_is_no_sidecar(tmp_path: Path) -> None:
    shard = written(tmp_path)
    (tmp_path / "base-000003.json").write_bytes(b"{}")
    shard = shard.model_copy(update={"sidecar_sha256": hashlib.sha256(b"{}").hexdigest()})
    with pytest.raises(CacheError, match="not a sidecar"):
        reader_of(tmp_path).info(shard, 1)


def test_a_finished_shard_is_recognised(tmp_path: Path) -> None:
    shard = written(tmp_path)
    writer = WebDatasetWriter(Folder(tmp_path), "png")
    assert writer.finished("base", 3, 5) == shard
    assert writer.finished("base", 3, 6) is None
    assert writer.finished("base", 4, 5) is None
    assert writer.finished("zoom_in", 3, 5) is None


@pytest.mark.parametrize("damage", ["no sidecar", "no shard", "longer shard", "broken sidecar", "empty sidecar"])
def test_an_unfinished_shard_is_not(tmp_path: Path, damage: str) -> None:
    shard, sidecar = tmp_path / written(tmp_path).name, tmp_path / "base-000003.json"
    if damage == "no sidecar":
        sidecar.unlink()
    elif damage == "no shard":
        shard.unlink()
    elif damage == "longer shard":
        shard.write_bytes(shard.read_bytes() + b"\0")
    else:
        sidecar.write_bytes(sidecar.read_bytes()[:100] if damage == "broken sidecar" else b"")
    assert WebDatasetWriter(Folder(tmp_path), "png").finished("base", 3, 5) is None


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    writer = WebDatasetWriter(Folder(tmp_path), "png")

    def two_and_then_none() -> Iterator[EncodedRecord]:
        yield from [writer.encode(record_of("base", n)) for n in range(2)]
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        writer.write("base", 0, two_and_then_none())
    assert list(tmp_path.iterdir()) == []


def test_keys_differ_where_only_the_position_does(tmp_path: Path) -> None:
    """The same image twice, as a copy under another name, gives equal hashes and crop numbers."""
    record = record_of("base", 0)
    twin = replace(record, info=record.info.model_copy(update={"key": record_of("base", 1).info.key}))
    writer = WebDatasetWriter(Folder(tmp_path), "png")
    shard = writer.write("base", 0, [writer.encode(record), writer.encode(twin)])
    assert equal(reader_of(tmp_path).read(shard, 1), twin)

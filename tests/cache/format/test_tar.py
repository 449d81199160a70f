"""Tar shards: their bytes, what other software reads from them, and how damage shows."""

import hashlib
import io
import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import webdataset
from PIL import Image
from tests.cache.format.test_shards import NAME, NUMBER, PER_SHARD, reader_of, record_of, writer_to, written
from tests.cache.samples import equal, files_of, index_of, same

from dukd_cache.format.record import Dtype
from dukd_cache.format.tar import _framing
from dukd_cache.system.errors import CacheError, ShardCorrupt

BLOCK = 512


def test_the_shard_is_described_truly(tmp_path: Path) -> None:
    shard = written("webdataset", tmp_path)
    assert (shard.name, shard.view, shard.records) == ("base-000003.tar", "base", 5)
    content = (tmp_path / shard.name).read_bytes()
    assert shard.bytes == len(content)
    assert shard.sha256 == hashlib.sha256(content).hexdigest()
    assert (tmp_path / "base-000003.npy").read_bytes().endswith(bytes.fromhex(shard.index_sha256))
    assert sorted(files_of(tmp_path)) == ["base-000003.npy", "base-000003.tar"]


def headers(tar: bytes) -> Iterator[bytes]:
    """The raw header blocks of a tar, up to the two blocks of zeros at its end."""
    at = 0
    while tar[at : at + BLOCK].strip(b"\0"):
        yield tar[at : at + BLOCK]
        at += BLOCK + -(-int(tar[at + 124 : at + 136].strip(b"\0 "), 8) // BLOCK) * BLOCK


def test_the_tar_is_plain_ustar_of_one_owner_and_time(tmp_path: Path) -> None:
    """Header fields by their places in POSIX.1-1988: nothing but regular files, no extended headers."""
    content = (tmp_path / written("webdataset", tmp_path).name).read_bytes()
    found = list(headers(content))
    assert len(found) == 5 * 4
    for header in found:
        assert header[257:265] == b"ustar\x0000"
        assert header[156:157] == b"0"
        assert int(header[136:148].strip(b"\0 "), 8) == 0, "mtime"
    assert len({(h[100:124], h[265:329]) for h in found}) == 1, "mode, owner and group are the same for all"


@pytest.mark.parametrize("length", [0, 1, 511, 8**9 + 5, 8**11 - 1])
@pytest.mark.parametrize("name", ["a", "00000001_0123456789abcdef_0001.teacher.webp", "b" * 100])
def test_headers_are_those_of_the_standard_library(name: str, length: int) -> None:
    expected = tarfile.TarInfo(name)
    expected.size, expected.mode, expected.uname, expected.gname = length, 0o444, "dukd", "dukd"
    assert _framing(name, length) == expected.tobuf(tarfile.USTAR_FORMAT)
    for too_long in ((name * 101, length), (name, 8**11)):
        with pytest.raises(ValueError, match="does not fit in a tar"):
            _framing(*too_long)


def test_members_of_a_record_lie_together_under_portable_keys(tmp_path: Path) -> None:
    shard = written("webdataset", tmp_path, codec="webp")
    with tarfile.open(tmp_path / shard.name) as tar:
        names = [member.name.split(".", 1) for member in tar]
    keys = [key for key, _ in names]
    assert all(re.fullmatch("[0-9a-f_]+", key) for key in keys)
    assert keys == sorted(keys)
    assert len(set(keys)) == 5
    for key in set(keys):
        assert {name for found, name in names if found == key} == {"json", "input.webp", "teacher.webp", "truth.webp"}


def test_the_index_tells_where_each_arrays_bytes_lie(tmp_path: Path) -> None:
    shard = written("webdataset", tmp_path)
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
    shard = written("webdataset", tmp_path, codec=codec)
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
    shard = written("webdataset", tmp_path, codec=codec, dtype=dtype)
    for position, sample in enumerate(webdataset.WebDataset(str(tmp_path / shard.name), shardshuffle=False).decode()):
        answer = sample[f"teacher.{suffix}"]
        assert answer.dtype == np.dtype(dtype)
        assert same(answer, record_of("base", position, dtype)["teacher"])


def test_a_tar_cut_at_a_members_boundary_is_noticed(tmp_path: Path) -> None:
    """Other readers see a shorter tar and no error."""
    shard = written("webdataset", tmp_path)
    path = tmp_path / shard.name
    with tarfile.open(path) as tar:
        end = tar.getmembers()[3 * 4].offset
    os.truncate(path, end)
    with tarfile.open(path) as tar:
        assert len(tar.getmembers()) == 3 * 4
    reader = reader_of("webdataset", tmp_path)
    assert equal(reader.read(shard, 2), record_of("base", 2))
    with pytest.raises(ShardCorrupt):
        reader.read(shard, 3)
    assert writer_to("webdataset", tmp_path).finished("base", 3, 5) is None


def test_a_changed_index_is_corrupt(tmp_path: Path) -> None:
    shard = written("webdataset", tmp_path)
    index = tmp_path / "base-000003.npy"
    rows = index_of(tmp_path, shard.name)
    rows["y"][1] = 3
    content = index.read_bytes()
    start = content.index(b"\n") + 1
    index.write_bytes(content[:start] + rows.tobytes() + content[start + rows.nbytes :])
    with pytest.raises(ShardCorrupt, match=r"base-000003\.npy.* stored"):
        reader_of("webdataset", tmp_path).info(shard, 0)


def test_lost_files_are_named(tmp_path: Path) -> None:
    shard = written("webdataset", tmp_path)
    (tmp_path / shard.name).unlink()
    reader = reader_of("webdataset", tmp_path)
    assert reader.info(shard, 1) == record_of("base", 1).info, "the index alone says this"
    with pytest.raises(CacheError, match=r"base-000003\.tar: shard cannot be read \(No such file"):
        reader.read(shard, 1)
    (tmp_path / "base-000003.npy").unlink()
    with pytest.raises(CacheError, match=r"base-000003\.npy: index cannot be read \(No such file"):
        reader_of("webdataset", tmp_path).info(shard, 1)


def test_another_file_is_no_index(tmp_path: Path) -> None:
    shard = written("webdataset", tmp_path)
    (tmp_path / "base-000003.npy").write_bytes(b"{}")
    shard = shard._replace(index_sha256=hashlib.sha256(b"{}").hexdigest())
    with pytest.raises(CacheError, match=r"base-000003\.npy: sha256"):
        reader_of("webdataset", tmp_path).info(shard, 1)


def test_keys_differ_where_only_the_position_does(tmp_path: Path) -> None:
    """The same image twice, as a copy under another name, gives equal hashes and crop numbers."""
    record = record_of("base", 0)
    twin = replace(
        record, info=record.info.model_copy(update={"key": f"{NUMBER * PER_SHARD + 1:08d}" + record.info.key[8:]})
    )
    writer = writer_to("webdataset", tmp_path)
    shard = writer.write("base", NUMBER, [writer.encode(record), writer.encode(twin)])
    assert equal(reader_of("webdataset", tmp_path).read(shard, 1), twin)

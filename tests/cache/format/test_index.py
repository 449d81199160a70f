"""Indices: what a row holds, how little of it is read, and how damage shows."""

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from tests.cache.samples import crop_spec, header_of

from dukd_cache.format.header import AnswerInfo, Header, ImagesInfo
from dukd_cache.format.index import (
    Entry,
    Indices,
    Member,
    from_bytes,
    index_name,
    readable,
    row_type,
    rows_of,
    to_bytes,
)
from dukd_cache.format.manifest import ShardInfo
from dukd_cache.format.record import RecordInfo, key_of
from dukd_cache.places.folder import Folder
from dukd_cache.system.errors import ShardCorrupt

RECORDS = 3000
NAME = "dir/ä b.png"


def header() -> Header:
    info = AnswerInfo(file="t", architecture="EDSR", settings={}, fingerprint="f", precision="fp32", window=1)
    images = ImagesInfo(count=RECORDS, sha256="0" * 64, name_bytes=len(NAME.encode()))
    found = header_of(crop_spec(base=1, zoom_in=0, zoom_out=0), images, {"teacher": info}, {"base": RECORDS})
    return found.model_copy(update={"columns": {"difficulty": "float64", "group": "int64"}})


def entry(position: int) -> Entry:
    digest = hashlib.sha256(b"%d" % position)
    info = RecordInfo(
        key=key_of(position, digest.hexdigest(), position % 7),
        view="base",
        image=NAME[: 1 + position % len(NAME)],
        image_sha256=digest.hexdigest(),
        crop=position % 7,
        x=position,
        y=2**32 - 1 - position,
        fingerprints={"teacher": hashlib.sha256(digest.digest()).hexdigest()},
        columns={"difficulty": position / 7, "group": position - 5},
    )
    members = {
        name: Member(position * 2**40, 9 + place, digest.digest())
        for place, name in enumerate(("input", "teacher", "truth"))
    }
    return Entry(info, members)


@cache
def made() -> bytes:
    """The file of an index."""
    rows = rows_of(header(), header().view("base"), [entry(position) for position in range(RECORDS)])
    return to_bytes(rows, 123, "5" * 64)


def stored(folder: Path) -> ShardInfo:
    """An index in `folder`."""
    (folder / "base-000000.npy").write_bytes(made())
    return from_bytes(made(), row_type(header(), header().view("base"))).shard_info("base-000000.tar", "base")


class Counting(Folder):
    """A folder that keeps what is read."""

    def __init__(self, path: Path, pause: float = 0.0) -> None:
        super().__init__(path)
        self.reads: list[tuple[str, int]] = []
        self._pause = pause

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        """After a moment, in which others come."""
        self.reads.append((name, length))
        time.sleep(self._pause)
        return super().read_range(name, offset, length)


def test_rows_say_what_they_were_given(tmp_path: Path) -> None:
    shard, indices, place = stored(tmp_path), Indices(header()), Folder(tmp_path)
    for index in (0, 1, 63, 64, 1500, RECORDS - 1):
        assert indices.entry(place, shard, index, index) == entry(index)


def test_numpy_opens_it(tmp_path: Path) -> None:
    """Nothing else is needed to see the columns of a cache."""
    stored(tmp_path)
    for rows in (np.load(tmp_path / "base-000000.npy"), np.load(tmp_path / "base-000000.npy", mmap_mode="r")):
        assert rows.shape == (RECORDS,)
        assert rows["x"].tolist() == list(range(RECORDS))
        assert rows["difficulty"].tolist() == [position / 7 for position in range(RECORDS)]
        assert rows["image"][len(NAME) - 1].decode() == NAME


def test_a_record_costs_two_short_reads_and_its_neighbours_none(tmp_path: Path) -> None:
    shard, place = stored(tmp_path), Counting(tmp_path)
    indices = Indices(header())
    size = (tmp_path / index_name(shard.name)).stat().st_size
    indices.entry(place, shard, 100, 100)
    assert len(place.reads) == 2
    assert sum(length for _, length in place.reads) < size / 20
    indices.entry(place, shard, 101, 101)
    assert len(place.reads) == 2
    indices.entry(place, shard, 200, 200)
    assert len(place.reads) == 3


def test_threads_that_come_at_once_read_it_once(tmp_path: Path) -> None:
    """All of them do in a training that loads its records in order, when a shard begins."""
    shard, place = stored(tmp_path), Counting(tmp_path, pause=0.05)
    indices = Indices(header())
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda i: indices.entry(place, shard, i, i).info.x, range(4))) == [0, 1, 2, 3]
    assert len(place.reads) == 2


@pytest.mark.parametrize("seed", range(60))
def test_each_damaged_byte_is_noticed_where_it_is_read(tmp_path: Path, seed: int) -> None:
    shard = stored(tmp_path)
    path = tmp_path / index_name(shard.name)
    content = bytearray(path.read_bytes())
    head = content.index(b"\n") + 1
    at = int(np.random.default_rng(seed).integers(head, len(content)))
    content[at] ^= 1 << seed % 8
    path.write_bytes(content)
    place, kind = Folder(tmp_path), row_type(header(), header().view("base"))
    index = min((at - head) // kind.itemsize, RECORDS - 1)
    with pytest.raises(ShardCorrupt, match=r"base-000000\.npy.*stored.*computed"):
        Indices(header()).entry(place, shard, index, index)
    with pytest.raises(ShardCorrupt, match=r"base-000000\.npy"):
        Indices(header()).rows(place, shard)


def test_an_index_of_other_records_is_refused(tmp_path: Path) -> None:
    shard = stored(tmp_path)
    for wrong in ({"records": RECORDS - 1}, {"records": RECORDS + 1}, {"index_sha256": "0" * 64}):
        with pytest.raises(ShardCorrupt, match=r"base-000000\.npy"):
            Indices(header()).entry(Folder(tmp_path), shard._replace(**wrong), 0, 0)
    other = header().model_copy(update={"columns": {"difficulty": "float64"}})
    with pytest.raises(ShardCorrupt, match=r"base-000000\.npy"):
        Indices(other).entry(Folder(tmp_path), shard, 0, 0)


def test_columns_are_readable(tmp_path: Path) -> None:
    shard = stored(tmp_path)
    columns = readable(Indices(header()).rows(Folder(tmp_path), shard))
    infos = [entry(position).info for position in range(RECORDS)]
    assert columns["image"].tolist() == [info.image for info in infos]
    assert columns["image_sha256"].tolist() == [info.image_sha256 for info in infos]
    assert columns["fingerprint.teacher"].tolist() == [info.fingerprints["teacher"] for info in infos]
    assert columns["group"].tolist() == [info.columns["group"] for info in infos]
    assert columns["y"].tolist() == [info.y for info in infos]
    assert set(columns["teacher.bytes"].tolist()) == {10}

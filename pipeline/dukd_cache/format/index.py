"""What lies beside a shard: a row of numbers for each record, read in constant time and checked as it is read.

    base-000003.npy    a NumPy file (`numpy.load` opens it): its header, then rows of fixed width
                       image, image_sha256, crop, x, y          where the record comes from
                       fingerprint.<answer>                     of each answer
                       <column>                                 numbers that the manifest declares
                       <array>.offset, .length, .sha256         where its bytes lie in their file
                       … and after the rows, where NumPy does not look:
                       sha256 of each 64 rows; bytes and sha256 of the shard's files; the root: sha256 of the header
                       and of all hashes before it

The manifest has the root. So one record costs one read of the hashes and one of 64 rows, whatever the shard holds; both
are kept. The header follows from the manifest, and is compared, never parsed.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from dukd_cache.format.header import Header, ViewInfo
from dukd_cache.format.manifest import ShardInfo, number_of
from dukd_cache.format.record import RecordInfo, key_of
from dukd_cache.places import Place
from dukd_cache.system.errors import CacheError, ShardCorrupt

Rows = npt.NDArray[np.void]
"""[N] of the dtype `row_type`."""

SUFFIX = ".npy"
"""Of an index."""

_BLOCK = 64
"""Rows that are hashed together."""
_HASH = 32
_SHARD = np.dtype([("bytes", "<u8"), ("sha256", "u1", _HASH)])
_INDICES_KEPT = 512
_LOCKS = 64
_MAGIC = b"\x93NUMPY\x01\x00"


@dataclass(frozen=True)
class Member:
    """Where the bytes of one array of a record lie in their file, and what they hash to."""

    offset: int
    length: int
    sha256: bytes


@dataclass(frozen=True)
class Entry:
    """One row."""

    info: RecordInfo
    members: Mapping[str, Member]
    """By array."""


def index_name(shard: str) -> str:
    """`base-000003.npy` of `base-000003.tar`, or of `base-000003`."""
    return f"{shard.partition('.')[0]}{SUFFIX}"


@lru_cache(maxsize=64)
def _row_type(name_bytes: int, answers: tuple[str, ...], columns: tuple[tuple[str, str], ...], arrays: str) -> Any:
    fields: list[Any] = [("image", f"S{name_bytes}"), ("image_sha256", "u1", _HASH)]
    fields += [(name, "<u4") for name in ("crop", "x", "y")]
    fields += [(f"fingerprint.{answer}", "u1", _HASH) for answer in answers]
    fields += [(name, np.dtype(kind).newbyteorder("<").str) for name, kind in columns]
    for array in arrays.split():
        fields += [(f"{array}.offset", "<u8"), (f"{array}.length", "<u4"), (f"{array}.sha256", "u1", _HASH)]
    return np.dtype(fields)


def row_type(header: Header, view: ViewInfo) -> np.dtype[np.void]:
    """The columns of an index of `view`."""
    # Sorted, as the order of a mapping is lost in the manifest.
    answers = tuple(sorted(answer for answer in header.answers if answer in view.arrays))
    found: np.dtype[np.void] = _row_type(
        header.images.name_bytes, answers, tuple(sorted(header.columns.items())), " ".join(sorted(view.arrays))
    )
    return found


def rows_of(header: Header, view: ViewInfo, entries: Sequence[Entry]) -> Rows:
    """A row for each of `entries`."""
    kind = row_type(header, view)
    rows = np.zeros(len(entries), kind)
    infos = [entry.info for entry in entries]
    rows["image"] = [info.image.encode() for info in infos]
    rows["image_sha256"] = _digests(info.image_sha256 for info in infos)
    for name in ("crop", "x", "y"):
        rows[name] = [getattr(info, name) for info in infos]
    for answer in header.answers:
        if answer in view.arrays:
            rows[f"fingerprint.{answer}"] = _digests(info.fingerprints[answer] for info in infos)
    for column in header.columns:
        rows[column] = [info.columns[column] for info in infos]
    for array in view.arrays:
        members = [entry.members[array] for entry in entries]
        rows[f"{array}.offset"] = [member.offset for member in members]
        rows[f"{array}.length"] = [member.length for member in members]
        rows[f"{array}.sha256"] = np.frombuffer(b"".join(member.sha256 for member in members), np.uint8).reshape(
            -1, _HASH
        )
    return rows


def entry_of(header: Header, view: ViewInfo, rows: Rows, index: int, position: int) -> Entry:
    """What the row at `index` says of the record at `position` of its view.

    Raises:
        ValueError: nothing that could be.
    """
    row = rows[index]
    image_sha256 = row["image_sha256"].tobytes().hex()
    info = RecordInfo(
        key=key_of(position, image_sha256, int(row["crop"])),
        view=view.name,
        image=row["image"].decode(),
        image_sha256=image_sha256,
        crop=int(row["crop"]),
        x=int(row["x"]),
        y=int(row["y"]),
        fingerprints={
            answer: row[f"fingerprint.{answer}"].tobytes().hex() for answer in header.answers if answer in view.arrays
        },
        columns={column: row[column].item() for column in header.columns},
    )
    return Entry(info, {array: member_of(row, array) for array in view.arrays})


def member_of(row: Any, array: str) -> Member:
    """Where that array of a row's record lies."""
    return Member(int(row[f"{array}.offset"]), int(row[f"{array}.length"]), row[f"{array}.sha256"].tobytes())


def readable(rows: Rows) -> dict[str, npt.NDArray[Any]]:
    """The columns of an index, for people and their tools: names as text, hashes as digits, lengths as bytes."""
    columns: dict[str, npt.NDArray[Any]] = {}
    for name in rows.dtype.names or ():
        part, _, what = name.partition(".")
        if name == "image":
            columns[name] = np.array([text.decode() for text in rows[name].tolist()])
        elif name == "image_sha256" or part == "fingerprint":
            columns[name] = np.array([digest.tobytes().hex() for digest in rows[name]])
        elif what == "length":
            columns[f"{part}.bytes"] = rows[name].astype(np.int64)
        elif not what:
            columns[name] = rows[name].astype(np.int64 if rows.dtype[name].kind == "u" else rows.dtype[name])
    return columns


def to_bytes(rows: Rows, length: int, sha256: str) -> bytes:
    """The file of an index, of a shard whose files take `length` bytes together and hash to `sha256`."""
    head = _head(rows.dtype, len(rows))
    tail = _block_hashes(rows) + np.array((length, np.frombuffer(bytes.fromhex(sha256), np.uint8)), _SHARD).tobytes()
    return head + rows.tobytes() + tail + _root(head, tail)


def root_of(content: bytes) -> str:
    """The hash that ends the file of an index, and stands for all of it."""
    return content[-_HASH:].hex()


@dataclass(frozen=True)
class Index:
    """An index read as a whole, and found to be whole."""

    rows: Rows
    bytes: int
    """Of the shard's files together. So for `sha256`."""
    sha256: str
    root: str

    def shard_info(self, name: str, view: str) -> ShardInfo:
        """What the manifest says of the shard."""
        return ShardInfo(name, view, len(self.rows), self.bytes, self.sha256, self.root)


def from_bytes(content: bytes, kind: np.dtype[np.void]) -> Index:
    """What `to_bytes` gave.

    Raises:
        ValueError: it is something else, or damaged.
    """
    found = re.search(rb"'shape': \((\d{1,7}),\)", content[: 10 + int.from_bytes(content[8:10], "little")])
    count = int(found[1]) if found else 0
    head, (start, length) = _head(kind, count), end_of(kind, count)
    if not count or content[: len(head)] != head or len(content) != start + length:
        raise ValueError("not the index of such records")
    rows: Rows = np.frombuffer(content, kind, count, len(head))
    if not content.startswith(_block_hashes(rows), start):
        raise ValueError("its hashes do not hold")
    return Index(rows, *from_end(content[start:], kind, count))


def end_of(kind: np.dtype[np.void], count: int) -> tuple[int, int]:
    """Where the end of the file of an index lies, which follows its rows: offset and length."""
    return len(_head(kind, count)) + count * kind.itemsize, _tail_bytes(count)


def from_end(end: bytes, kind: np.dtype[np.void], count: int) -> tuple[int, str, str]:
    """`bytes`, `sha256` and `root` of an index, from what follows its rows.

    Raises:
        ValueError: it is not that of so many such records, or damaged.
    """
    if len(end) != _tail_bytes(count) or end[-_HASH:] != _root(_head(kind, count), end[:-_HASH]):
        raise ValueError("its hashes do not hold")
    shard = np.frombuffer(end, _SHARD, 1, len(end) - _SHARD.itemsize - _HASH)[0]
    return int(shard["bytes"]), shard["sha256"].tobytes().hex(), root_of(end)


class Indices:
    """The indices of a cache's shards, read as far as they are asked for; safe to share between threads.

    What cannot be read raises a CacheError, what is not what was written a ShardCorrupt.
    """

    def __init__(self, header: Header) -> None:
        self._header = header
        self._hashes = lru_cache(maxsize=_INDICES_KEPT)(self._read_hashes)
        self._blocks = lru_cache(maxsize=8 * _INDICES_KEPT)(self._read_block)
        self._reading = [Lock() for _ in range(_LOCKS)]

    def entry(self, place: Place, shard: ShardInfo, index: int, position: int) -> Entry:
        """What it says of the record at `index` of the shard, `position` of the view."""
        # Threads that read in order all come to a new shard at the same time.
        with self._reading[number_of(shard.name) % _LOCKS]:
            rows = self._blocks(place, shard, index // _BLOCK)
        try:
            return entry_of(self._header, self._header.view(shard.view), rows, index % _BLOCK, position)
        except ValueError as error:
            raise ShardCorrupt(f"row {index} makes no sense ({error})", place.at(index_name(shard.name))) from error

    def rows(self, place: Place, shard: ShardInfo) -> Rows:
        """All of them, read at once."""
        content = self._range(place, shard, 0, self._size(shard) + 1)
        try:
            found = from_bytes(content, self._kind(shard))
        except ValueError as error:
            raise ShardCorrupt(str(error), place.at(index_name(shard.name))) from error
        if found.shard_info(shard.name, shard.view) != shard:
            raise ShardCorrupt(
                f"sha256 {shard.index_sha256[:12]}… stored, "
                f"{found.root[:12]}… computed; {len(found.rows)} records, the manifest says {shard.records}",
                place.at(index_name(shard.name)),
            )
        return found.rows

    def _kind(self, shard: ShardInfo) -> np.dtype[np.void]:
        return row_type(self._header, self._header.view(shard.view))

    def _size(self, shard: ShardInfo) -> int:
        return sum(end_of(self._kind(shard), shard.records))

    def _read_hashes(self, place: Place, shard: ShardInfo) -> bytes:
        """Of the blocks, which the manifest vouches for."""
        length = _tail_bytes(shard.records)
        found = self._range(place, shard, self._size(shard) - length, length + 1)
        tail, root = found[: length - _HASH], bytes.fromhex(shard.index_sha256)
        computed = _root(_head(self._kind(shard), shard.records), tail)
        if len(found) != length or found[length - _HASH :] != root or computed != root:
            raise ShardCorrupt(
                f"sha256 {shard.index_sha256[:12]}… stored, {computed.hex()[:12]}… computed of {shard.records} records",
                place.at(index_name(shard.name)),
            )
        return tail

    def _read_block(self, place: Place, shard: ShardInfo, number: int) -> Rows:
        kind, first = self._kind(shard), number * _BLOCK
        count = min(_BLOCK, shard.records - first)
        expected = self._hashes(place, shard)[number * _HASH : (number + 1) * _HASH]
        start = len(_head(kind, shard.records)) + first * kind.itemsize
        content = self._range(place, shard, start, count * kind.itemsize)
        computed = hashlib.sha256(content).digest()
        if computed != expected:
            raise ShardCorrupt(
                f"rows {first} to {first + count - 1}: "
                f"sha256 {expected.hex()[:12]}… stored, {computed.hex()[:12]}… computed",
                place.at(index_name(shard.name)),
            )
        rows: Rows = np.frombuffer(content, kind)
        return rows

    def _range(self, place: Place, shard: ShardInfo, start: int, length: int) -> bytes:
        name = index_name(shard.name)
        try:
            return place.read_range(name, start, length)
        except OSError as error:
            raise CacheError(f"index cannot be read ({error.strerror})", place.at(name)) from error


@lru_cache(maxsize=256)
def _head(kind: np.dtype[np.void], count: int) -> bytes:
    """Source: numpy.lib.format, version 1.0. Written here, so that its bytes do not depend on NumPy's version."""
    text = f"{{'descr': {kind.descr}, 'fortran_order': False, 'shape': ({count},), }}"
    length = -(-(len(_MAGIC) + 2 + len(text) + 1) // 64) * 64 - len(_MAGIC) - 2
    return _MAGIC + length.to_bytes(2, "little") + text.encode().ljust(length - 1) + b"\n"


def _tail_bytes(count: int) -> int:
    return -(-count // _BLOCK) * _HASH + _SHARD.itemsize + _HASH


def _block_hashes(rows: Rows) -> bytes:
    blocks = range(0, len(rows), _BLOCK)
    return b"".join(hashlib.sha256(rows[first : first + _BLOCK].tobytes()).digest() for first in blocks)


def _root(head: bytes, tail: bytes) -> bytes:
    return hashlib.sha256(head + tail).digest()


def _digests(texts: Any) -> npt.NDArray[np.uint8]:
    return np.frombuffer(bytes.fromhex("".join(texts)), np.uint8).reshape(-1, _HASH)

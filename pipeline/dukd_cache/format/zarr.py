"""Shards as files of Zarr 3 arrays, one group a view, with a sidecar for checked random access.

    zarr.json                    the root group; its attributes hold the cache's header
    base/input/zarr.json         array `input` [N,p,p,3] of the group `base`; so `teacher` and `truth` [N,q,q,3]
    base/input/c/3/0/0/0         shard 3 of that array: a chunk for each record, and their index
    base-000003.json             the sidecar of shard 3 of all arrays of `base`

Zarr readers take a missing shard for zeros. This reader takes nothing for pixels but bytes that the sidecar
names by offset, length and hash, and the sidecar's hash stands in the manifest.
"""

import hashlib
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from dukd_cache.format.layout import ArrayName, Layout, Pixels
from dukd_cache.format.manifest import Encoding, ShardInfo, View, shard_name
from dukd_cache.format.record import Record, RecordInfo
from dukd_cache.format.sidecar import Entry, Member, Shards, Sidecar, finished_sidecar, hash_of_files, sidecar_name
from dukd_cache.format.zarr_format import decode_chunk, encode_chunk, shard_index
from dukd_cache.places import Place
from dukd_cache.system.errors import ShardCorrupt


@dataclass(frozen=True)
class EncodedRecord:
    """The chunks of one record."""

    info: RecordInfo
    chunks: dict[ArrayName, bytes]


@dataclass(frozen=True)
class ZarrWriter:
    """Writes shards into `place`."""

    place: Place
    encoding: Encoding
    layout: Layout

    def encode(self, record: Record) -> EncodedRecord:
        """Compress the pixels of `record`."""
        chunks: dict[ArrayName, bytes] = {}
        for name, kind in self.layout[record.info.view].items():
            pixels: Pixels = getattr(record, name)
            if pixels.shape != kind.shape or pixels.dtype != np.dtype(kind.dtype):
                raise ValueError(f"{record.info.key}.{name}: {pixels.dtype} {pixels.shape}, expected {kind}")
            chunks[name] = encode_chunk(pixels, self.encoding.codec)
        return EncodedRecord(record.info, chunks)

    def write(self, view: View, number: int, records: Iterable[EncodedRecord]) -> ShardInfo:
        """Write a shard and its sidecar: data first, so that a sidecar never names what is not there."""
        name = shard_name("zarr", view, number)
        self.place.delete([sidecar_name(name)])
        names = self._files(view, number)
        chunks: dict[ArrayName, list[tuple[int, int]]] = {array: [] for array in names}
        entries: list[bytes] = []
        with ExitStack() as shard:
            paths = {array: shard.enter_context(self.place.new_file(file)) for array, file in names.items()}
            with ExitStack() as files:
                streams = {array: files.enter_context(path.open("wb")) for array, path in paths.items()}
                for record in records:
                    members: dict[str, Member] = {}
                    for array, chunk in record.chunks.items():
                        offset = streams[array].tell()
                        streams[array].write(chunk)
                        chunks[array].append((offset, len(chunk)))
                        sha256 = hashlib.sha256(chunk).hexdigest()
                        members[array] = Member(offset=offset, length=len(chunk), sha256=sha256)
                    entries.append(Entry(info=record.info, members=members).to_json())
                for array, stream in streams.items():
                    stream.write(shard_index(chunks[array], self.encoding.shard_records[view]))
            length, sha256 = hash_of_files(paths.values())
        sidecar = Sidecar(length, sha256, tuple(entries))
        content = sidecar.to_json()
        self.place.write(sidecar_name(name), content)
        return sidecar.shard_info(name, view, content)

    def finished(self, view: View, number: int, records: int | None) -> ShardInfo | None:
        """The shard, if an earlier build finished it with that many records; None: with any number."""
        name = shard_name("zarr", view, number)
        found = finished_sidecar(self.place, name, records)
        if found is None:
            return None
        sidecar, content = found
        for array, file in self._files(view, number).items():
            last = sidecar.entry(-1).members.get(array)
            index_bytes = 16 * self.encoding.shard_records[view] + 4
            if last is None or self.place.size(file) != last.offset + last.length + index_bytes:
                return None
        return sidecar.shard_info(name, view, content)

    def _files(self, view: View, number: int) -> dict[ArrayName, str]:
        return {array: shard_file(view, array, number) for array in self.layout[view]}


class ZarrReader:
    """Reads records of the shards in `place`, each chunk by its offset; safe to share between threads."""

    def __init__(self, place: Place, encoding: Encoding, layout: Layout) -> None:
        self._place = place
        self._encoding = encoding
        self._layout = layout
        self._shards = Shards(place)

    def read(self, shard: ShardInfo, index: int) -> Record:
        """The record at `index` of `shard`.

        Raises:
            ShardCorrupt: the stored bytes are not those that were written.
        """
        entry = self._shards.entry(shard, index)
        found: dict[str, Pixels] = {}
        for array, kind in self._layout[shard.view].items():
            file = shard_file(shard.view, array, number_of(shard))
            where = entry.members.get(array)
            if where is None:
                raise ShardCorrupt(f"{self._place.at(file)}: record {entry.info.key} is not there")
            content = self._shards.slices(file, {entry.info.key: where})[entry.info.key]
            try:
                found[array] = decode_chunk(content, self._encoding.codec, kind)
            except ValueError as error:
                raise ShardCorrupt(f"{self._place.at(file)}: {entry.info.key} cannot be decoded: {error}") from error
        return Record(entry.info, found["input"], found.get("teacher"), found.get("truth"))  # type: ignore[arg-type]

    def info(self, shard: ShardInfo, index: int) -> RecordInfo:
        """Where the record at `index` of `shard` comes from, without reading its pixels."""
        return self._shards.entry(shard, index).info

    def stored_bytes(self, shard: ShardInfo, index: int) -> dict[str, int]:
        """What `input`, `teacher` and `truth` of the record at `index` take; those there are."""
        members = self._shards.entry(shard, index).members
        return {array: where.length for array, where in members.items()}

    def files(self, shard: ShardInfo) -> list[str]:
        """Files of `shard` below the root, without the sidecar, in the order in which they are hashed."""
        return [shard_file(shard.view, array, number_of(shard)) for array in self._layout[shard.view]]

    def check_structure(self, shard: ShardInfo) -> None:
        """Compare the index at the end of each file with the sidecar: Zarr readers must read what this reader reads.

        Raises:
            ShardCorrupt: they differ.
        """
        records = self._shards.sidecar(shard).records()
        if any(set(entry.members) != set(self._layout[shard.view]) for entry in records):
            raise ShardCorrupt(f"{self._place.at(sidecar_name(shard.name))}: records of other arrays")
        for array, file in zip(self._layout[shard.view], self.files(shard), strict=True):
            places = [(entry.members[array].offset, entry.members[array].length) for entry in records]
            index = shard_index(places, self._encoding.shard_records[shard.view])
            start = sum(places[-1])
            if self._place.read_range(file, start, len(index) + 1) != index:
                raise ShardCorrupt(
                    f"{self._place.at(file)}: the index at byte {start} is not that of its {len(places)} chunks"
                )


def shard_file(view: View, array: ArrayName, number: int) -> str:
    """`base/input/c/3/0/0/0`"""
    return f"{view}/{array}/c/{number}/0/0/0"


def number_of(shard: ShardInfo) -> int:
    """3 of `base-000003`; the manifest was checked to have such names only."""
    return int(shard.name.rpartition("-")[2])

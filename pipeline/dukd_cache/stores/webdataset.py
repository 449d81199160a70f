"""Shards as tar files that any `webdataset` pipeline reads, with a sidecar for random access.

The members of a record lie together: `<key>.input.webp`, `<key>.json`, `<key>.teacher.webp`, `<key>.truth.webp`.
Owner and time are fixed, so equal records give equal bytes. The sidecar says where each member's bytes lie and
what they hash to: a tar cut at a member's boundary reads as a shorter tar with no error, the sidecar tells.
Names in a tar are compared with the sidecar's and used for nothing else.
"""

import hashlib
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from webdataset import TarWriter

from dukd_cache import codecs
from dukd_cache.errors import ShardCorrupt
from dukd_cache.files import finished_file, write_atomically
from dukd_cache.layout import Layout, Pixels
from dukd_cache.manifest import Codec, ShardInfo, View, shard_name
from dukd_cache.record import Record, RecordInfo
from dukd_cache.stores.sidecar import Entry, Member, Shards, Sidecar, finished_sidecar, hash_of_files, sidecar_name

_BLOCK = 512


@dataclass(frozen=True)
class EncodedRecord:
    """Members of one record, by what follows the key."""

    info: RecordInfo
    members: dict[str, bytes]


@dataclass(frozen=True)
class WebDatasetWriter:
    """Writes shards into the folder `root`."""

    root: Path
    codec: Codec

    def encode(self, record: Record) -> EncodedRecord:
        """Compress the pixels of `record`."""
        pixels: dict[str, Pixels | None] = {
            "input": record.input,
            "teacher": record.teacher,
            "truth": record.truth,
        }
        members = {"json": record.info.model_dump_json().encode()}
        for name, array in pixels.items():
            if array is not None:
                suffix, content = codecs.encode(array, self.codec)
                members[f"{name}.{suffix}"] = content
        return EncodedRecord(record.info, members)

    def write(self, view: View, number: int, records: Iterable[EncodedRecord]) -> ShardInfo:
        """Write a shard and its sidecar: data first, so that a sidecar never names what is not there."""
        path = self.root / shard_name("webdataset", view, number)
        sidecar_path = self.root / sidecar_name(path.name)
        sidecar_path.unlink(missing_ok=True)
        hashes: dict[str, str] = {}
        infos: list[RecordInfo] = []
        with finished_file(path) as partial:
            with (
                partial.open("wb") as stream,
                TarWriter(stream, user="dukd", group="dukd", mtime=0, encoder=False) as tar,
            ):
                for record in records:
                    infos.append(record.info)
                    tar.write({"__key__": record.info.key, **record.members})
                    for name, content in record.members.items():
                        hashes[f"{record.info.key}.{name}"] = hashlib.sha256(content).hexdigest()
            sidecar = _describe(partial, infos, hashes)
        content = sidecar.to_json()
        write_atomically(sidecar_path, content)
        return sidecar.shard_info(path.name, view, content)

    def finished(self, view: View, number: int, records: int | None) -> ShardInfo | None:
        """The shard, if an earlier build finished it with that many records; None: with any number."""
        path = self.root / shard_name("webdataset", view, number)
        found = finished_sidecar(self.root / sidecar_name(path.name), records)
        if found is None or not path.is_file() or path.stat().st_size != found[0].bytes:
            return None
        return found[0].shard_info(path.name, view, found[1])


class WebDatasetReader:
    """Reads records of the shards in the folder `root`, each by its offset; safe to share between threads."""

    def __init__(self, root: Path, layout: Layout) -> None:
        self._layout = layout
        self._shards = Shards(root)

    def read(self, shard: ShardInfo, index: int) -> Record:
        """The record at `index` of `shard`.

        Raises:
            ShardCorrupt: the stored bytes are not those that were written.
        """
        entry = self._shards.sidecar(shard).records[index]
        found: dict[str, Pixels] = {}
        for name, kind in self._layout[shard.view].items():
            member = next((member for member in entry.members if member.partition(".")[0] == name), None)
            if member is None:
                raise ShardCorrupt(f"{self._shards.root / shard.name}: record {entry.info.key} has no {name}")
            content = self._shards.slice(shard.name, member, entry.members[member])
            try:
                found[name] = codecs.decode(member.partition(".")[2], content, kind)
            except ValueError as error:
                raise ShardCorrupt(
                    f"{self._shards.root / shard.name}: {entry.info.key}.{member} cannot be decoded: {error}"
                ) from error
        return Record(entry.info, found["input"], found.get("teacher"), found.get("truth"))  # type: ignore[arg-type]

    def info(self, shard: ShardInfo, index: int) -> RecordInfo:
        """Where the record at `index` of `shard` comes from, without reading its pixels."""
        return self._shards.sidecar(shard).records[index].info

    def stored_bytes(self, shard: ShardInfo, index: int) -> dict[str, int]:
        """What `input`, `teacher` and `truth` of the record at `index` take, less the tar itself; those there are."""
        members = self._shards.sidecar(shard).records[index].members
        return {name.partition(".")[0]: where.length for name, where in members.items() if name != "json"}

    def files(self, shard: ShardInfo) -> list[str]:
        """Files of `shard` below the root, without the sidecar, in the order in which they are hashed."""
        return [shard.name]

    def check_structure(self, shard: ShardInfo) -> None:
        """Compare the tar's own headers with the sidecar: other software must read what this reader reads.

        Raises:
            ShardCorrupt: they differ.
        """
        expected = [
            (where.offset, where.length, f"{entry.info.key}.{member}")
            for entry in self._shards.sidecar(shard).records
            for member, where in entry.members.items()
        ]
        path = self._shards.root / shard.name
        position, end = 0, path.stat().st_size
        with path.open("rb") as stream:
            for offset, length, name in sorted(expected):
                stream.seek(position)
                try:
                    header = tarfile.TarInfo.frombuf(stream.read(_BLOCK), "utf-8", "surrogateescape")
                except tarfile.HeaderError as error:
                    raise ShardCorrupt(f"{path}: no tar header at byte {position} ({error})") from error
                if (position + _BLOCK, header.size, header.name) != (offset, length, name) or not header.isreg():
                    raise ShardCorrupt(f"{path}: member {header.name!r:.80} at byte {position}, expected {name}")
                position = offset + -(-length // _BLOCK) * _BLOCK
            stream.seek(position)
            if end - position > tarfile.RECORDSIZE + 2 * _BLOCK or stream.read().strip(b"\0"):
                raise ShardCorrupt(f"{path}: something follows its last member, at byte {position}")


def _describe(tar: Path, infos: list[RecordInfo], hashes: dict[str, str]) -> Sidecar:
    """The sidecar of a tar just written; the offsets are the tar's own, read back."""
    members: dict[str, dict[str, Member]] = {info.key: {} for info in infos}
    with tarfile.open(tar) as archive:
        for item in archive:
            key, _, name = item.name.partition(".")
            members[key][name] = Member(offset=item.offset_data, length=item.size, sha256=hashes[item.name])
    length, sha256 = hash_of_files([tar])
    entries = tuple(Entry(info=info, members=members[info.key]) for info in infos)
    return Sidecar(bytes=length, sha256=sha256, records=entries)

"""Shards as tar files that any `webdataset` pipeline reads, with a sidecar for random access.

The members of a record lie together: `<key>.input.webp`, `<key>.json`, `<key>.teacher.webp`, `<key>.truth.webp`.
They are put into the form of a tar, and hashed, by the threads that compress them: the one that writes only copies.
Owner and time are fixed, so equal records give equal bytes. The sidecar says where each member's bytes lie and
what they hash to: a tar cut at a member's boundary reads as a shorter tar with no error, the sidecar tells.
Names in a tar are compared with the sidecar's and used for nothing else.
"""

import hashlib
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass

from dukd_cache.format import codecs
from dukd_cache.format.layout import Layout, Pixels
from dukd_cache.format.manifest import Codec, ShardInfo, View, shard_name
from dukd_cache.format.record import Record, RecordInfo
from dukd_cache.format.sidecar import Entry, Member, Shards, Sidecar, finished_sidecar, sidecar_name
from dukd_cache.places import Place
from dukd_cache.system.errors import ShardCorrupt

_BLOCK = tarfile.BLOCKSIZE
_END = bytes(2 * _BLOCK)


@dataclass(frozen=True)
class EncodedRecord:
    """One record as a part of a tar."""

    info: RecordInfo
    content: bytes
    """Its members, each with its header before it and zeros up to the next block."""
    members: dict[str, Member]
    """By what follows the key; offsets are those in `content`."""


@dataclass(frozen=True)
class WebDatasetWriter:
    """Writes shards into `place`."""

    place: Place
    codec: Codec

    def encode(self, record: Record) -> EncodedRecord:
        """Compress the pixels of `record`."""
        pixels: dict[str, Pixels | None] = {
            "input": record.input,
            "teacher": record.teacher,
            "truth": record.truth,
        }
        files = {"json": record.info.model_dump_json().encode()}
        for name, array in pixels.items():
            if array is not None:
                suffix, content = codecs.encode(array, self.codec, "small" if name == "teacher" else "fast")
                files[f"{name}.{suffix}"] = content
        return _framed(record.info, files)

    def write(self, view: View, number: int, records: Iterable[EncodedRecord]) -> ShardInfo:
        """Write a shard and its sidecar: data first, so that a sidecar never names what is not there."""
        name = shard_name("webdataset", view, number)
        self.place.delete([sidecar_name(name)])
        entries: list[bytes] = []
        length, sha256 = 0, hashlib.sha256()
        with self.place.new_file(name) as path, path.open("wb") as stream:
            for record in records:
                stream.write(record.content)
                sha256.update(record.content)
                entries.append(Entry(info=record.info, members=_moved(record.members, length)).to_json())
                length += len(record.content)
            end = _END + bytes(-(length + len(_END)) % tarfile.RECORDSIZE)
            stream.write(end)
            sha256.update(end)
        sidecar = Sidecar(length + len(end), sha256.hexdigest(), tuple(entries))
        content = sidecar.to_json()
        self.place.write(sidecar_name(name), content)
        return sidecar.shard_info(name, view, content)

    def finished(self, view: View, number: int, records: int | None) -> ShardInfo | None:
        """The shard, if an earlier build finished it with that many records; None: with any number."""
        name = shard_name("webdataset", view, number)
        found = finished_sidecar(self.place, name, records)
        if found is None or self.place.size(name) != found[0].bytes:
            return None
        return found[0].shard_info(name, view, found[1])


class WebDatasetReader:
    """Reads records of the shards in `place`, each by its offset; safe to share between threads."""

    def __init__(self, place: Place, layout: Layout) -> None:
        self._place = place
        self._layout = layout
        self._shards = Shards(place)

    def read(self, shard: ShardInfo, index: int) -> Record:
        """The record at `index` of `shard`.

        Raises:
            ShardCorrupt: the stored bytes are not those that were written.
        """
        entry = self._shards.entry(shard, index)
        members: dict[str, str] = {}
        for name in self._layout[shard.view]:
            member = next((member for member in entry.members if member.partition(".")[0] == name), None)
            if member is None:
                raise ShardCorrupt(f"{self._place.at(shard.name)}: record {entry.info.key} has no {name}")
            members[name] = member
        slices = self._shards.slices(shard.name, {member: entry.members[member] for member in members.values()})
        found: dict[str, Pixels] = {}
        for name, kind in self._layout[shard.view].items():
            member = members[name]
            try:
                found[name] = codecs.decode(member.partition(".")[2], slices[member], kind)
            except ValueError as error:
                raise ShardCorrupt(
                    f"{self._place.at(shard.name)}: {entry.info.key}.{member} cannot be decoded: {error}"
                ) from error
        return Record(entry.info, found["input"], found.get("teacher"), found.get("truth"))  # type: ignore[arg-type]

    def info(self, shard: ShardInfo, index: int) -> RecordInfo:
        """Where the record at `index` of `shard` comes from, without reading its pixels."""
        return self._shards.entry(shard, index).info

    def stored_bytes(self, shard: ShardInfo, index: int) -> dict[str, int]:
        """What `input`, `teacher` and `truth` of the record at `index` take, less the tar itself; those there are."""
        members = self._shards.entry(shard, index).members
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
            for entry in self._shards.sidecar(shard).records()
            for member, where in entry.members.items()
        ]
        path, position = self._place.at(shard.name), 0
        for offset, length, name in sorted(expected):
            block = self._place.read_range(shard.name, position, _BLOCK)
            try:
                header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
            except tarfile.HeaderError as error:
                raise ShardCorrupt(f"{path}: no tar header at byte {position} ({error})") from error
            if (position + _BLOCK, header.size, header.name) != (offset, length, name) or not header.isreg():
                raise ShardCorrupt(f"{path}: member {header.name!r:.80} at byte {position}, expected {name}")
            position = offset + -(-length // _BLOCK) * _BLOCK
        most = tarfile.RECORDSIZE + 2 * _BLOCK
        end = self._place.read_range(shard.name, position, most + 1)
        if len(end) > most or end.strip(b"\0"):
            raise ShardCorrupt(f"{path}: something follows its last member, at byte {position}")


def _framed(info: RecordInfo, files: dict[str, bytes]) -> EncodedRecord:
    """The members `files` of a record as they lie in a tar, sorted by name."""
    parts: list[bytes] = []
    members: dict[str, Member] = {}
    length = 0
    for name, content in sorted(files.items()):
        header = tarfile.TarInfo(f"{info.key}.{name}")
        header.size, header.mode, header.uname, header.gname = len(content), 0o444, "dukd", "dukd"
        members[name] = Member(offset=length + _BLOCK, length=len(content), sha256=hashlib.sha256(content).hexdigest())
        parts += [header.tobuf(tarfile.USTAR_FORMAT), content, bytes(-len(content) % _BLOCK)]
        length += _BLOCK + len(content) + len(parts[-1])
    return EncodedRecord(info, b"".join(parts), members)


def _moved(members: dict[str, Member], by: int) -> dict[str, Member]:
    return {
        name: Member(offset=by + member.offset, length=member.length, sha256=member.sha256)
        for name, member in members.items()
    }

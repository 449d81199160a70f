"""Shards as tar files that any `webdataset` pipeline reads, with a sidecar for random access.

The members of a record lie together: `<key>.input.webp`, `<key>.json`, `<key>.teacher.webp`, `<key>.truth.webp`.
Owner and time are fixed, so equal records give equal bytes. The sidecar says where each member's bytes lie and
what they hash to: a tar cut at a member's boundary reads as a shorter tar with no error, the sidecar tells.
"""

import hashlib
import os
import tarfile
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError
from webdataset import TarWriter

from dukd_cache import codecs
from dukd_cache.codecs import Pixels
from dukd_cache.errors import CacheError, ShardCorrupt
from dukd_cache.files import finished_file, write_atomically
from dukd_cache.manifest import VIEWS, Codec, ShardInfo, View
from dukd_cache.record import Record, RecordInfo

_SIDECARS_KEPT = 64


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Member(_Strict):
    """Bytes of one member of a tar."""

    offset: int
    length: int
    sha256: str


class Entry(_Strict):
    """One record of a shard."""

    info: RecordInfo
    members: dict[str, Member]
    """By what follows the key: `input.webp`."""


class Sidecar(_Strict):
    """What a shard holds and where."""

    bytes: int
    sha256: str
    """Of the whole tar."""
    records: tuple[Entry, ...]


@dataclass(frozen=True)
class EncodedRecord:
    """Members of one record, by what follows the key."""

    info: RecordInfo
    members: dict[str, bytes]


def shard_name(view: View, number: int) -> str:
    """`base-000003.tar`"""
    return f"{view}-{number:06d}.tar"


def sidecar_path(shard: Path) -> Path:
    """`base-000003.json` of `base-000003.tar`"""
    return shard.with_suffix(".json")


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
        path = self.root / shard_name(view, number)
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
        content = sidecar.model_dump_json().encode()
        write_atomically(sidecar_path(path), content)
        return _shard_info(path.name, view, sidecar, content)

    def finished(self, view: View, number: int, records: int | None) -> ShardInfo | None:
        """The shard, if an earlier build finished it with that many records; None: with any number."""
        path = self.root / shard_name(view, number)
        if not path.is_file() or not sidecar_path(path).is_file():
            return None
        content = sidecar_path(path).read_bytes()
        try:
            sidecar = Sidecar.model_validate_json(content)
        except ValidationError:  # damaged since: written anew
            return None
        if records not in (None, len(sidecar.records)) or path.stat().st_size != sidecar.bytes:
            return None
        return _shard_info(path.name, view, sidecar, content)


class WebDatasetReader:
    """Reads records of the shards in the folder `root`, each by its offset; safe to share between threads."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._descriptors: dict[str, int] = {}
        self._lock = threading.Lock()
        self._sidecar = lru_cache(maxsize=_SIDECARS_KEPT)(self._load_sidecar)

    def close(self) -> None:
        """Let go of the files; no record can be read any more."""
        with self._lock:
            while self._descriptors:
                os.close(self._descriptors.popitem()[1])

    def read(self, shard: ShardInfo, index: int) -> Record:
        """The record at `index` of `shard`.

        Raises:
            ShardCorrupt: the stored bytes are not those that were written.
        """
        entry = self._sidecar(shard).records[index]
        found: dict[str, Pixels] = {}
        for member, where in entry.members.items():
            name, _, suffix = member.partition(".")
            if name != "json":
                found[name] = codecs.decode(suffix, self._bytes(shard, member, where))
        return Record(entry.info, found["input"], found.get("teacher"), found.get("truth"))  # type: ignore[arg-type]

    def info(self, shard: ShardInfo, index: int) -> RecordInfo:
        """Where the record at `index` of `shard` comes from, without reading its pixels."""
        return self._sidecar(shard).records[index].info

    def stored_bytes(self, shard: ShardInfo, index: int) -> dict[str, int]:
        """What `input`, `teacher` and `truth` of the record at `index` take, less the tar itself; those there are."""
        members = self._sidecar(shard).records[index].members
        return {name.partition(".")[0]: where.length for name, where in members.items() if name != "json"}

    def _bytes(self, shard: ShardInfo, member: str, where: Member) -> bytes:
        content = os.pread(self._descriptor(shard.name), where.length, where.offset)
        computed = hashlib.sha256(content).hexdigest()
        if computed != where.sha256:
            raise ShardCorrupt(
                f"{self._root / shard.name}: {member} at byte {where.offset}: "
                f"sha256 {where.sha256[:12]}… stored, {computed[:12]}… computed"
            )
        return content

    def _descriptor(self, name: str) -> int:
        with self._lock:
            if name not in self._descriptors:
                try:
                    self._descriptors[name] = os.open(self._root / name, os.O_RDONLY)
                except OSError as error:
                    raise CacheError(f"{self._root / name}: shard cannot be opened ({error.strerror})") from error
            return self._descriptors[name]

    def _load_sidecar(self, shard: ShardInfo) -> Sidecar:
        path = sidecar_path(self._root / shard.name)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise CacheError(f"{path}: sidecar cannot be read ({error.strerror})") from error
        computed = hashlib.sha256(content).hexdigest()
        if computed != shard.sidecar_sha256:
            raise ShardCorrupt(f"{path}: sha256 {shard.sidecar_sha256[:12]}… stored, {computed[:12]}… computed")
        try:
            return Sidecar.model_validate_json(content)
        except ValidationError as error:
            raise CacheError(f"{path}: not a sidecar ({error.errors()[0]['msg']})") from error


def whole_shards(root: Path) -> Iterator[ShardInfo]:
    """The shards in `root` that are whole, of a finished cache or not; known by their sidecars."""
    writer = WebDatasetWriter(root, "raw")
    for view in VIEWS:
        for path in sorted(root.glob(f"{view}-*.tar")):
            number = path.stem.removeprefix(f"{view}-")
            if number.isdecimal() and (shard := writer.finished(view, int(number), None)):
                yield shard


def _describe(tar: Path, infos: list[RecordInfo], hashes: dict[str, str]) -> Sidecar:
    """The sidecar of a tar just written; the offsets are the tar's own, read back."""
    members: dict[str, dict[str, Member]] = {info.key: {} for info in infos}
    with tarfile.open(tar) as archive:
        for item in archive:
            key, _, name = item.name.partition(".")
            members[key][name] = Member(offset=item.offset_data, length=item.size, sha256=hashes[item.name])
    with tar.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    entries = tuple(Entry(info=info, members=members[info.key]) for info in infos)
    return Sidecar(bytes=tar.stat().st_size, sha256=sha256, records=entries)


def _shard_info(name: str, view: View, sidecar: Sidecar, content: bytes) -> ShardInfo:
    return ShardInfo(
        name=name,
        view=view,
        records=len(sidecar.records),
        bytes=sidecar.bytes,
        sha256=sidecar.sha256,
        sidecar_sha256=hashlib.sha256(content).hexdigest(),
    )

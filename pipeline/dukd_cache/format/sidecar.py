"""What lies beside a shard: its records, and where the bytes of each array are. The same in both stores."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Annotated, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from dukd_cache.format.manifest import Count, Sha256, ShardInfo, View
from dukd_cache.format.record import RecordInfo
from dukd_cache.places import Place
from dukd_cache.system.errors import CacheError, ShardCorrupt
from dukd_cache.system.files import naming

Bytes = bytes  # the models have a field of that name

_SIDECARS_KEPT = 512
"""65 GB of pixels in shards of the usual size: caches that are too large for the memory are read in any order."""
_RECORD_BYTES = 16_384
"""More than any record takes in a sidecar: its longest part is a path."""
_BETWEEN = 4096
"""Bytes; more than lies between two members of a record in a tar: padding, `<key>.json` and two headers."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Member(_Strict):
    """Where the bytes of one part of a record lie in their file, and what they hash to."""

    offset: Count
    length: Count
    sha256: Sha256


class Entry(_Strict):
    """One record of a shard."""

    info: RecordInfo
    members: dict[Annotated[str, Field(pattern="^[a-z]{1,10}([.][a-z]{1,10})?$")], Member]
    """By `input.webp` and the like in a tar, by `input` and the like in a Zarr store."""

    def to_json(self) -> Bytes:
        """As it stands in a sidecar."""
        return self.model_dump_json().encode()


class _File(_Strict):
    bytes: Count
    sha256: Sha256
    records: tuple[Annotated[Entry, AfterValidator(Entry.to_json)], ...]


@dataclass(frozen=True)
class Sidecar:
    """What a shard holds and where.

    Entries stay JSON: that takes a sixth of the memory that they take as objects; and tens of thousands of objects at
    once set off Python's collector of cycles again and again, which took longer than all the rest.
    """

    bytes: int
    """Of the shard's file, or of its files together. So for `sha256`."""
    sha256: str
    entries: tuple[Bytes, ...]

    @classmethod
    def from_json(cls, content: Bytes) -> "Sidecar":
        """What `to_json` gave, validated.

        Raises:
            ValidationError: it is something else.
        """
        found = _File.model_validate_json(content)
        return cls(found.bytes, found.sha256, cast("tuple[Bytes, ...]", found.records))

    def to_json(self) -> Bytes:
        """The sidecar's file."""
        head = f'{{"bytes":{self.bytes},"sha256":"{self.sha256}","records":['
        return head.encode() + b",".join(self.entries) + b"]}"

    def entry(self, index: int) -> Entry:
        """What it says of one record."""
        return Entry.model_validate_json(self.entries[index])

    def records(self) -> tuple[Entry, ...]:
        """What it says of all."""
        return tuple(map(Entry.model_validate_json, self.entries))

    def shard_info(self, name: str, view: View, content: Bytes) -> ShardInfo:
        """What the manifest says of the shard; `content` is the sidecar's file."""
        return ShardInfo(
            name=name,
            view=view,
            records=len(self.entries),
            bytes=self.bytes,
            sha256=self.sha256,
            sidecar_sha256=hashlib.sha256(content).hexdigest(),
        )


def sidecar_name(shard: str) -> str:
    """`base-000003.json` of `base-000003.tar`, or of `base-000003`."""
    return f"{shard.partition('.')[0]}.json"


def finished_sidecar(place: Place, shard: str, records: int | None) -> tuple[Sidecar, bytes] | None:
    """The sidecar of `shard` and its bytes, if it is there and of that many records; None: of any."""
    try:
        content = place.read(sidecar_name(shard))
        found = Sidecar.from_json(content)
    except (OSError, ValidationError):  # not there, or damaged since: written anew
        return None
    return (found, content) if found.entries and records in (None, len(found.entries)) else None


class Shards:
    """The files of a finished cache's shards; safe to share between threads."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._loaded = lru_cache(maxsize=_SIDECARS_KEPT)(self._load)
        self._loading: defaultdict[str, Lock] = defaultdict(Lock)

    def entry(self, shard: ShardInfo, index: int) -> Entry:
        """What the sidecar of `shard` says of one record.

        Raises:
            ShardCorrupt: the sidecar is not the one that was written.
            CacheError: it cannot be read.
        """
        return self.sidecar(shard).entry(index)

    def sidecar(self, shard: ShardInfo) -> Sidecar:
        """All that it says. Raises what `entry` does."""
        with self._loading[shard.name]:  # threads that read in order all come to a new shard at the same time
            return self._loaded(shard)

    def slices(self, file: str, wanted: dict[str, Member]) -> dict[str, Bytes]:
        """The bytes of members of one file, by name; read at once where they lie together, as those of a record do.

        Raises:
            ShardCorrupt: they are not those that were written.
            CacheError: the file cannot be read.
        """
        start = min(where.offset for where in wanted.values())
        end = max(where.offset + where.length for where in wanted.values())
        if end - start > sum(where.length + _BETWEEN for where in wanted.values()):
            return {name: self.slices(file, {name: where})[name] for name, where in wanted.items()}
        path = self.place.at(file)
        try:
            content = self.place.read_range(file, start, end - start)
        except OSError as error:
            raise CacheError(f"{path}: shard cannot be read ({error.strerror})") from error
        found: dict[str, Bytes] = {}
        for name, where in wanted.items():
            first, last = where.offset - start, where.offset - start + where.length
            if last > len(content):
                raise ShardCorrupt(f"{path}: {name} ends at byte {start + last}, the file at {self.place.size(file)}")
            found[name] = content[first:last]
            computed = hashlib.sha256(found[name]).hexdigest()
            if computed != where.sha256:
                raise ShardCorrupt(
                    f"{path}: {name} at byte {where.offset}: "
                    f"sha256 {where.sha256[:12]}… stored, {computed[:12]}… computed"
                )
        return found

    def _load(self, shard: ShardInfo) -> Sidecar:
        path = self.place.at(sidecar_name(shard.name))
        limit = _RECORD_BYTES * (shard.records + 1)
        try:
            content = self.place.read_range(sidecar_name(shard.name), 0, limit + 1)
        except OSError as error:
            raise CacheError(f"{path}: sidecar cannot be read ({error.strerror})") from error
        if len(content) > limit:
            raise ShardCorrupt(f"{path}: more than {limit} bytes for {shard.records} records")
        computed = hashlib.sha256(content).hexdigest()
        if computed != shard.sidecar_sha256:
            raise ShardCorrupt(f"{path}: sha256 {shard.sidecar_sha256[:12]}… stored, {computed[:12]}… computed")
        try:
            found = Sidecar.from_json(content)
        except ValidationError as error:
            raise CacheError(f"{path}: not a sidecar ({error.errors()[0]['msg']})") from error
        if (len(found.entries), found.bytes, found.sha256) != (shard.records, shard.bytes, shard.sha256):
            raise ShardCorrupt(
                f"{path}: {len(found.entries)} records in {found.bytes} bytes with sha256 {found.sha256[:12]}…, "
                f"the manifest says {shard.records} in {shard.bytes} with {shard.sha256[:12]}…"
            )
        return found


def hash_of_files(paths: Iterable[Path]) -> tuple[int, str]:
    """(bytes, sha256) of files, one after another."""
    total, length = hashlib.sha256(), 0
    for path in paths:
        with naming(path), path.open("rb") as stream:
            while block := stream.read(1 << 20):
                total.update(block)
                length += len(block)
    return length, total.hexdigest()

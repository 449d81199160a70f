"""What a store's files are: one class for each kind. Everything else about shards is in `shards`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from dukd_cache.format.header import Header, ViewInfo
from dukd_cache.format.index import Entry
from dukd_cache.format.manifest import ShardInfo
from dukd_cache.format.record import RecordInfo
from dukd_cache.places import Place


@dataclass(frozen=True)
class Piece:
    """The bytes of one array of a record."""

    file: int
    """Which of the shard's files they go to."""
    offset: int
    """Where they begin in the record's part of that file."""
    content: bytes


@dataclass(frozen=True)
class Packed:
    """A record ready to be written."""

    info: RecordInfo
    parts: list[bytes]
    """What goes to each of the shard's files."""
    pieces: Mapping[str, Piece]
    """By array."""


class Container(Protocol):
    """How the records of a shard lie in its files."""

    def files(self, view: ViewInfo, number: int) -> dict[str, str]:
        """The file of each array of a shard, below the root, in the order in which they are hashed."""

    def packed(self, header: Header, view: ViewInfo, info: RecordInfo, arrays: Mapping[str, bytes]) -> Packed:
        """A record whose arrays are encoded, in the form in which it is written. Called from several threads."""

    def end(self, view: ViewInfo, chunks: Iterable[tuple[int, int]], length: int) -> bytes:
        """What ends a file of `length` bytes whose parts are `chunks`: (offset, length)."""

    def shared_files(self, header: Header) -> dict[str, bytes]:
        """Files of the cache that belong to no shard, by name below the root."""
        del header
        return {}

    def check(self, header: Header, shard: ShardInfo, entries: Iterable[Entry], place: Place) -> None:
        """Compare what the shard's files say of their own parts with the index: other software must read the same.

        Raises:
            ShardCorrupt: they differ.
        """

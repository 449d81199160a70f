"""Where shards lie: one protocol, a module for each kind of store."""

from collections.abc import Iterable
from typing import Protocol, TypeVar

from dukd_cache.format.manifest import ShardInfo, View
from dukd_cache.format.record import Record, RecordInfo

E = TypeVar("E")
"""A record made ready to write."""


class StoreWriter(Protocol[E]):
    """Writes the shards of one cache."""

    def encode(self, record: Record) -> E:
        """Turn pixels into what is written. Called from several threads."""

    def write(self, view: View, number: int, records: Iterable[E]) -> ShardInfo:
        """Write a shard: it is there whole, with its sidecar, when this returns, or not at all."""

    def finished(self, view: View, number: int, records: int | None) -> ShardInfo | None:
        """The shard, if an earlier build finished it with that many records; None: with any number."""


class StoreReader(Protocol):
    """Reads the shards of one cache. Safe to share between threads."""

    def read(self, shard: ShardInfo, index: int) -> Record:
        """The record at `index` of `shard`.

        Raises:
            ShardCorrupt: the stored bytes are not those that were written.
        """

    def info(self, shard: ShardInfo, index: int) -> RecordInfo:
        """Where the record at `index` of `shard` comes from, without reading its pixels."""

    def stored_bytes(self, shard: ShardInfo, index: int) -> dict[str, int]:
        """What `input`, `teacher` and `truth` (those that there are) of the record at `index` take in the store."""

    def files(self, shard: ShardInfo) -> list[str]:
        """Files of `shard` below the root, without the sidecar, in the order in which they are hashed."""

    def check_structure(self, shard: ShardInfo) -> None:
        """Compare what the shard's files say of their own parts with the sidecar. They are there.

        Raises:
            ShardCorrupt: they differ.
        """

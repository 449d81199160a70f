"""Random access to the records of a finished cache, by (view, index)."""

from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate
from typing import Literal

from dukd_cache.format import manifest
from dukd_cache.format.choice import open_reader
from dukd_cache.format.local_copies import open_copying_reader, room_of, shard_cache
from dukd_cache.format.manifest import Manifest, ShardInfo, View
from dukd_cache.format.record import Record, RecordInfo
from dukd_cache.format.stores import StoreReader
from dukd_cache.places import Address, Place
from dukd_cache.places.choice import place_at
from dukd_cache.system.errors import CacheError

Reading = Literal["some", "in order", "in any order"]
"""What of a cache will be read. Where it does not lie on this machine, `some` records are fetched one by one. For those
who read all, shards are copied whole (see `shard_cache`): all of them `in order`, each before its first record is read;
`in any order` as many as can be kept together, so that none is fetched twice, and of the others record by record."""


class Cache:
    """A finished cache at the address `root`, open for `reading`. Safe to share between threads.

    Raises:
        CacheError: there is no finished cache at `root`, or one of another format version.
        PlaceError: the address cannot be reached.
    """

    def __init__(self, root: Address, reading: Reading = "some") -> None:
        self.root = root
        self._reading = reading
        self.place = place_at(root)
        self.manifest = manifest.read(self.place)
        self.digest = manifest.digest(self.manifest)
        self._store = _opened(self.place, self.manifest, reading)
        self._shards: dict[View, list[ShardInfo]] = {}
        for shard in self.manifest.shards:
            self._shards.setdefault(shard.view, []).append(shard)
        self._ends = {view: list(accumulate(s.records for s in shards)) for view, shards in self._shards.items()}

    def __reduce__(self) -> tuple[Callable[..., "Cache"], tuple[Address, Reading, str]]:
        """Another process opens it anew."""
        return _reopened, (self.root, self._reading, self.digest)

    @property
    def views(self) -> tuple[View, ...]:
        """The views that this cache has, in their fixed order."""
        return self.manifest.spec.views

    def count(self, view: View) -> int:
        """Records of `view`; 0 where the cache lacks it."""
        return self._ends[view][-1] if view in self._ends else 0

    def read(self, view: View, index: int) -> Record:
        """Record `index` of `view`, 0 ≤ index < count(view).

        Raises:
            IndexError: there is no such record.
            ShardCorrupt: its bytes are not those that were written.
        """
        return self._store.read(*self._find(view, index))

    def info(self, view: View, index: int) -> RecordInfo:
        """Where record `index` of `view` comes from, without reading its pixels."""
        return self._store.info(*self._find(view, index))

    def stored_bytes(self, view: View, index: int) -> dict[str, int]:
        """Bytes that `input`, `teacher` and `truth` of record `index` of `view` take, without reading them."""
        return self._store.stored_bytes(*self._find(view, index))

    def shard(self, view: View, index: int) -> ShardInfo:
        """The shard that holds record `index` of `view`."""
        return self._find(view, index)[0]

    def _find(self, view: View, index: int) -> tuple[ShardInfo, int]:
        if not 0 <= index < self.count(view):
            raise IndexError(f"{self.root}: view {view} has {self.count(view)} records, asked for {index}")
        number = bisect_right(self._ends[view], index)
        before = self._ends[view][number - 1] if number else 0
        return self._shards[view][number], index - before


def _reopened(root: Address, reading: Reading, digest: str) -> Cache:
    cache = Cache(root, reading)
    if cache.digest != digest:
        raise CacheError(f"{root}: another cache now than when it was opened")
    return cache


def _opened(place: Place, found: Manifest, reading: Reading) -> StoreReader:
    if reading == "some":
        return open_reader(place, found)
    if reading == "in order":
        return open_copying_reader(place, found)
    copies = shard_cache()
    ends = accumulate(map(room_of, found.shards))
    limit = copies.limit if copies else 0
    fitting = {shard.name for shard, end in zip(found.shards, ends, strict=True) if end <= limit}
    return open_copying_reader(place, found, fitting)


def evenly(count: int, wanted: int) -> list[int]:
    """At most `wanted` indices of range(count), evenly apart, each in the middle of its share."""
    wanted = min(count, wanted)
    return [(2 * pick + 1) * count // (2 * wanted) for pick in range(wanted)]

"""Random access to the records of a finished cache, by view and index.

cache = Cache("cache")            # or s3://bucket/cache
cache["base"][3]["truth"]         # u8 [q,q,3]; for record in cache["base"]: …
cache.table("base")["x"]          # columns of all records as arrays
cache.dataset("base")             # tensors, for a training loop of one's own
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Literal, get_args, overload

import numpy as np
import numpy.typing as npt

from dukd_cache.format import manifest
from dukd_cache.format.index import readable
from dukd_cache.format.local_copies import open_copying_reader, room_of, shard_cache
from dukd_cache.format.manifest import Manifest, ShardInfo
from dukd_cache.format.record import Record, RecordInfo
from dukd_cache.format.shards import ShardReader
from dukd_cache.places import Address, Place
from dukd_cache.places.choice import place_at
from dukd_cache.places.folder import Folder
from dukd_cache.system.errors import CacheError, NoSuchView, SettingError, unknown_name

if TYPE_CHECKING:
    from dukd_cache.format.dataset import RecordDataset

Reading = Literal["some", "in order", "in any order"]
"""What of a cache will be read. Where it does not lie on this machine, `some` records are fetched one by one. For those
who read all, shards are copied whole (see `shard_cache`): all of them `in order`, each before its first record is read;
`in any order` as many as can be kept together, so that none is fetched twice, and of the others record by record."""


class Records(Sequence[Record]):
    """The records of one view, read when they are asked for."""

    def __init__(self, cache: "Cache", view: str) -> None:
        self.cache, self.view = cache, view

    def __len__(self) -> int:
        return self.cache.count(self.view)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        return self.read(index + len(self) if index < 0 else index)

    def __repr__(self) -> str:
        return f"<{len(self)} records of {self.view} in {self.cache.root}: {', '.join(self.arrays)}>"

    @property
    def arrays(self) -> tuple[str, ...]:
        """The names of what each record holds."""
        return tuple(self.cache.manifest.view(self.view).arrays)

    def read(self, index: int, names: Collection[str] | None = None) -> Record:
        """Record `index`, 0 ≤ index < len(self), with the arrays of these names; None: all."""
        return self.cache.read(self.view, index, names)


class Cache(Mapping[str, Records]):
    """A finished cache at the address `root`, open for `reading`: its views by name, like a dict. For several threads.

    Raises:
        CacheError: there is no finished cache at `root`, or one of another format version.
        PlaceError: the address cannot be reached.
    """

    __eq__, __hash__ = object.__eq__, object.__hash__  # not by what it holds

    def __init__(self, root: Address, reading: Reading = "some") -> None:
        self.root = root
        self._reading = reading
        self.place = place_at(root)
        self.manifest, self.digest = manifest.opened(self.place)
        self._store = _opened(self.place, self.manifest, reading)
        self._counts = {view.name: self.manifest.total(view) for view in self.manifest.views}

    def __reduce__(self) -> tuple[Callable[..., "Cache"], tuple[Address, Reading, str]]:
        """Another process opens it anew."""
        return _reopened, (self.root, self._reading, self.digest)

    def __getitem__(self, view: str) -> Records:
        """The records of `view`.

        Raises:
            NoSuchView: the cache has no view of that name.
        """
        if view not in self:
            raise NoSuchView(unknown_name("view", view, self.views), self.root)
        return Records(self, view)

    def __iter__(self) -> Iterator[str]:
        return iter(self.views)

    def __len__(self) -> int:
        return len(self.views)

    def __contains__(self, view: object) -> bool:
        return view in self.views

    def __repr__(self) -> str:
        counts = ", ".join(f"{view}: {self.count(view)}" for view in self.views)
        return f"<Cache {self.root}, ×{self.manifest.scale}, {counts}>"

    @property
    def views(self) -> tuple[str, ...]:
        """The views that this cache has, in their fixed order."""
        return self.manifest.view_names

    def count(self, view: str) -> int:
        """Records of `view`; 0 where the cache lacks it."""
        return self._counts.get(view, 0)

    def read(self, view: str, index: int, names: Collection[str] | None = None) -> Record:
        """Record `index` of `view`, 0 ≤ index < count(view), with the arrays of these names; None: all.

        Raises:
            IndexError: there is no such record.
            ShardCorrupt: its bytes are not those that were written.
        """
        return self._store.read(*self._find(view, index), names)

    def info(self, view: str, index: int) -> RecordInfo:
        """Where record `index` of `view` comes from, without reading its pixels."""
        return self._store.info(*self._find(view, index))

    def stored_bytes(self, view: str, index: int) -> dict[str, int]:
        """Bytes that each array of record `index` of `view` takes, without reading it."""
        return self._store.stored_bytes(*self._find(view, index))

    def table(self, view: str) -> dict[str, npt.NDArray[Any]]:
        """The columns of all records of `view`, as arrays [N] for pandas or polars.

        `image` (its name) and `image_sha256`, `crop`, `x`, `y`, `fingerprint.<answer>` in hexadecimal digits, the
        columns that the manifest declares, and `<array>.bytes`, what each array takes in the store.

        Raises:
            CacheError: an index is damaged or cannot be read.
        """
        shards = self.manifest.shards_of(self[view].view)
        return readable(np.concatenate([self._store.rows(shard) for shard in shards]))

    def columns(self, view: str) -> dict[str, npt.NDArray[Any]]:
        """The numbers that the manifest declares, of all records of `view` [N]: a part of `table` that is read sooner.

        Raises:
            CacheError: an index is damaged or cannot be read.
        """
        names = sorted(self.manifest.columns)
        shards = self.manifest.shards_of(self[view].view) if names else ()
        rows = [self._store.rows(shard)[names] for shard in shards]
        return {name: np.concatenate([each[name] for each in rows]) for name in names}

    def dataset(self, view: str, names: Collection[str] | None = None) -> "RecordDataset":
        """The records of `view` as a `torch.utils.data.Dataset` of dicts: `input` and the arrays `names`; None: all.

        Each is float32 [3,H,W] in [0,1]. Nothing is augmented.
        Can be sent to the workers of a `DataLoader`.

        Raises:
            NoSuchView: the cache has no view of that name.
        """
        from dukd_cache.format.dataset import RecordDataset  # waits for torch

        return RecordDataset(self[view], names)

    def webdataset(self, view: str, **options: Any) -> Any:
        """The shards of `view` as a `webdataset.WebDataset`, which is given `options`; `.decode("rgb8")` it, say.

        Raises:
            NoSuchView: the cache has no view of that name.
            CacheError: its store is none of tars.
        """
        import webdataset

        from dukd_cache.format.dataset import url_for_webdataset

        if self.manifest.encoding.store != "webdataset":
            raise CacheError(f"a store of {self.manifest.encoding.store}, not of tars", self.root)
        urls = [url_for_webdataset(self.place.at(shard.name)) for shard in self.manifest.shards_of(self[view].view)]
        return webdataset.WebDataset(urls, **{"shardshuffle": False} | options)

    def zarr(self) -> Any:
        """The whole cache as a `zarr.Group`: `cache.zarr()["base/teacher"][0]`.

        Raises:
            CacheError: its store is not Zarr's.
        """
        import zarr

        if self.manifest.encoding.store != "zarr":
            raise CacheError(f"a store of {self.manifest.encoding.store}, not Zarr's", self.root)
        return zarr.open_group(str(self.place), mode="r")

    def shard(self, view: str, index: int) -> ShardInfo:
        """The shard that holds record `index` of `view`."""
        return self._find(view, index)[0]

    def _find(self, view: str, index: int) -> tuple[ShardInfo, int]:
        if not 0 <= index < self.count(view):
            raise IndexError(f"{self.root}: view {view} has {self.count(view)} records, asked for {index}")
        number, index = divmod(index, self.manifest.view(view).shard_records)
        return self.manifest.shards_of(view, number, number + 1)[0], index


def _reopened(root: Address, reading: Reading, digest: str) -> Cache:
    cache = Cache(root, reading)
    if cache.digest != digest:
        raise CacheError("another cache now than when it was opened", root)
    return cache


def _opened(place: Place, found: Manifest, reading: Reading) -> ShardReader:
    if reading not in get_args(Reading):
        raise SettingError(unknown_name("reading", reading, get_args(Reading)))
    if reading == "some" or isinstance(place, Folder):
        return ShardReader(place, found)
    if reading == "in order":
        return open_copying_reader(place, found)
    copies, shards = shard_cache(), found.shards
    limit = copies.limit if copies else 0
    ends = accumulate(map(room_of, shards))
    fitting = {shard.name for shard, end in zip(shards, ends, strict=True) if end <= limit}
    return open_copying_reader(place, found, fitting)


def evenly(count: int, wanted: int) -> list[int]:
    """At most `wanted` indices of range(count), evenly apart, each in the middle of its share."""
    wanted = min(count, wanted)
    return [(2 * pick + 1) * count // (2 * wanted) for pick in range(wanted)]

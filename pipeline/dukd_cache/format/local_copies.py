"""Copies of shards on this machine, for those who read all of a cache that lies elsewhere; shared by all of them.

    $XDG_CACHE_HOME/dukd/shards/base-000003-<root of its index>/    a shard's files, by their names in the cache
    $XDG_CACHE_HOME/dukd/shards/locks/                                  who fetches waits for others who do

A copy is checked by its hashes before it gets its name, and record by record when it is read, as everything is. What
was used longest ago is removed to make room. All of it can be deleted at any time: it is fetched again.
"""

import fcntl
import os
import re
import shutil
from collections import OrderedDict
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from threading import Lock

from dukd_cache.format.header import Header
from dukd_cache.format.index import index_name
from dukd_cache.format.manifest import ShardInfo
from dukd_cache.format.record import Record
from dukd_cache.format.shards import ShardReader, hash_of_files
from dukd_cache.places import Place
from dukd_cache.places.folder import Folder
from dukd_cache.system.errors import CacheError, SettingError
from dukd_cache.system.files import user_folder
from dukd_cache.system.left_overs import PARTIAL, partial_name, remove_left_overs
from dukd_cache.system.lock import flock

LIMIT = "DUKD_SHARD_CACHE_GB"
"""Environment variable: gigabytes that all copies together may take. 0: no copies, records are read by range."""

DEFAULT_GB = 50.0

_SHARDS_OPEN = 512
"""Of which it is known that there is a copy."""

_INDEX_BYTES = 1024
"""Of a record: several times what it usually is."""

_COPY = re.compile(r"[a-z][a-z0-9_]*-\d{6,}-[0-9a-f]{64}")
"""Name of a copy's folder."""


@dataclass(frozen=True)
class ShardCache:
    """The copies in the folder `root`, of at most `limit` bytes together."""

    root: Path
    limit: int

    def copy_of(self, shard: ShardInfo, files: Collection[str], place: Place) -> Folder | None:
        """The folder with the copy of a shard, fetched if it is not there; None where none can be kept.

        That is a shard larger than the limit, or one that is not what its index says: what is whole of it can still
        be read record by record, where it lies.

        Raises:
            CacheError: there is no room on the disk, or no permission.
            PlaceError: `place` cannot be reached.
        """
        path = self._path(shard)
        try:
            with self._alone(path):
                small = room_of(shard) <= self.limit
                if not path.is_dir() and not (small and self._fetched(path, shard, files, place)):
                    return None
        except FileNotFoundError as error:
            raise CacheError(f"shard cannot be read ({error})", place.at(shard.name)) from error
        except OSError as error:
            raise CacheError(
                f"no copy of {place.at(shard.name)} can be kept here ({error.strerror}); "
                f"{LIMIT} (now {self.limit / 1e9:g}) sets how much is kept, 0 is nothing",
                self.root,
            ) from error
        return Folder(path, str(place))

    def use(self, shard: ShardInfo) -> None:
        """Note that the copy is in use. It may have been removed."""
        with suppress(OSError):
            os.utime(self._path(shard))

    def drop(self, shard: ShardInfo) -> None:
        """Remove the copy."""
        with self._alone(self._path(shard)):
            _remove(self._path(shard))

    def _path(self, shard: ShardInfo) -> Path:
        return self.root / f"{shard.name.partition('.')[0]}-{shard.index_sha256}"

    def _fetched(self, path: Path, shard: ShardInfo, files: Collection[str], place: Place) -> bool:
        """Fetch the shard into `path`; False where it is not what its index says."""
        partial = path.with_name(partial_name())
        self._make_room(room_of(shard))
        try:
            place.fetch([index_name(shard.name), *files], partial)
            if hash_of_files(partial / name for name in files) != (shard.bytes, shard.sha256):
                return False
            try:
                partial.rename(path)
            except OSError:
                if not path.is_dir():  # else another process was faster: where there are no locks
                    raise
            return True
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _make_room(self, wanted: int) -> None:
        """Remove copies, those used longest ago first, until `wanted` bytes fit."""
        remove_left_overs(self.root.iterdir())
        found: list[tuple[float, int, Path]] = []
        for path in self.root.iterdir():
            with suppress(OSError):  # another process removed it
                if path.name.endswith(PARTIAL) or _COPY.fullmatch(path.name):
                    found.append((path.stat().st_mtime, _bytes(path), path))
        room = self.limit - wanted - sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if room < 0 and _COPY.fullmatch(path.name):
                _remove(path)
                room += size

    @contextmanager
    def _alone(self, path: Path) -> Iterator[None]:
        """Be the only one, in all processes and threads, to fetch or drop this copy."""
        locks = self.root / "locks"
        locks.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(locks / sha256(path.name.encode()).hexdigest()[:2], os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        try:
            flock(descriptor, fcntl.LOCK_EX)  # where there are none, a shard may be fetched twice
            yield
        finally:
            os.close(descriptor)


class CopyReader(ShardReader):
    """Reads shards of `place` through copies of this machine, and where there can be none, where they lie."""

    def __init__(self, place: Place, header: Header, copies: ShardCache, chosen: Collection[str] | None) -> None:
        """`chosen`: names of the shards to copy; None: all."""
        super().__init__(place, header)
        self._copies, self._chosen = copies, chosen
        self._here: OrderedDict[ShardInfo, Place] = OrderedDict()
        self._lock = Lock()

    def read(self, shard: ShardInfo, index: int, names: Collection[str] | None = None) -> Record:
        """The record at `index` of `shard`."""
        copy = self._copy(shard)
        try:
            return self.read_from(copy, shard, index, names)
        except CacheError:
            if copy is self._place:
                raise
        return self.read_from(self._renewed(shard, copy), shard, index, names)

    def _copy(self, shard: ShardInfo) -> Place:
        if self._chosen is not None and shard.name not in self._chosen:
            return self._place
        copy = self._here.get(shard) or self._fetched(shard)
        with self._lock:
            self._here[shard] = copy
            self._here.move_to_end(shard)
            if len(self._here) > _SHARDS_OPEN:
                self._here.popitem(last=False)
        self._copies.use(shard)
        return copy

    def _renewed(self, shard: ShardInfo, failed: Place) -> Place:
        """In the place of `failed`, which was damaged or removed."""
        with self._lock:
            copy = self._here.get(shard, failed)
            if copy is failed:
                self._copies.drop(shard)
                copy = self._here[shard] = self._fetched(shard)
            return copy

    def _fetched(self, shard: ShardInfo) -> Place:
        return self._copies.copy_of(shard, self.files(shard), self._place) or self._place


def shard_cache() -> ShardCache | None:
    """That of this user; None where no copies are wanted.

    Raises:
        SettingError: the limit is no number.
    """
    text = os.environ.get(LIMIT, "") or str(DEFAULT_GB)
    try:
        limit = float(text)
    except ValueError:
        limit = -1.0
    if not 0 <= limit < float("inf"):
        raise SettingError("expected a number of gigabytes, 0 for none", f"{LIMIT}={text}")
    return ShardCache(user_folder() / "shards", int(limit * 1e9)) if limit else None


def open_copying_reader(place: Place, header: Header, chosen: Collection[str] | None = None) -> ShardReader:
    """A reader for all of a cache: through copies where it lies elsewhere. `chosen`: shards to copy; None: all.

    Raises:
        SettingError: see `shard_cache`.
    """
    copies = None if isinstance(place, Folder) else shard_cache()
    return ShardReader(place, header) if copies is None else CopyReader(place, header, copies, chosen)


def room_of(shard: ShardInfo) -> int:
    """Bytes that a copy is expected to take, with its index."""
    return shard.bytes + _INDEX_BYTES * shard.records


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _remove(folder: Path) -> None:
    """Under another name first: it is there whole or not at all."""
    gone = folder.with_name(partial_name())
    with suppress(OSError):
        folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)

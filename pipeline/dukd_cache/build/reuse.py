"""Answers that exist already, found by the fingerprint of their record.

A stored answer may serve a coarser dtype, never a finer one. An answer is taken only together with a stored input that
equals, pixel by pixel, the one that is asked about.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from dukd_cache.format.choice import whole_shards
from dukd_cache.format.lifecycle import header_of, sources
from dukd_cache.format.local_copies import open_copying_reader
from dukd_cache.format.manifest import DTYPES, Dtype, Header, ShardInfo, TeacherInfo
from dukd_cache.format.record import U8, Answer, Record
from dukd_cache.format.stores import StoreReader
from dukd_cache.places import Place
from dukd_cache.system.errors import CacheError

_SHARDS_OPEN = 8
"""Streams are sorted by image name, in old caches as in new ones, so a few open shards are enough."""


@dataclass
class Tally:
    """What became of the records of a build."""

    kept: int = 0
    """They lie in shards that were whole already."""
    reused: int = 0
    """Their answers come from shards of this folder's past, or of other caches."""
    asked: int = 0
    """The teacher answered."""


@dataclass(frozen=True)
class Source:
    """A shard whose answers may serve."""

    place: Place
    header: Header
    shard: ShardInfo

    def reader(self) -> StoreReader:
        """Of the place."""
        return open_copying_reader(self.place, self.header)


def all_sources(out: Place, others: Iterable[Place]) -> list[Place]:
    """Places of shards to take answers from: what `out` held before, and the caches `others`, finished or not.

    Raises:
        CacheError: one of `others` is no cache.
    """
    found = sources(out)
    for other in others:
        if header_of(other) is None and not sources(other):
            raise CacheError(f"--reuse {other}: no cache here, finished or not")
        if other.canonical != out.canonical:
            found += [other, *sources(other)]
    return found


def useful_shards(places: Iterable[Place], teacher: TeacherInfo, dtype: Dtype) -> Iterator[Source]:
    """Whole shards of this teacher in this precision, with answers at least as fine as `dtype`."""
    for place in places:
        header = header_of(place)
        if header is None or header.teacher is None:
            continue
        if _asked_alike(header.teacher, teacher) and DTYPES.index(header.encoding.dtype) >= DTYPES.index(dtype):
            for shard in whole_shards(place, header):
                yield Source(place, header, shard)


def _asked_alike(one: TeacherInfo, other: TeacherInfo) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in ("fingerprint", "precision", "window"))


class Answers:
    """All answers in some places that may serve. Takes 16 bytes of memory a record."""

    def __init__(self, places: Iterable[Place], teacher: TeacherInfo, dtype: Dtype) -> None:
        self._dtype = dtype
        self._sources: list[Source] = []
        self._readers: OrderedDict[int, StoreReader] = OrderedDict()
        starts, keys = [0], [np.empty(0, np.uint64)]
        for source in useful_shards(places, teacher, dtype):
            try:
                found = _keys(source)
            except CacheError:  # gone or damaged since: its records are asked for again
                continue
            self._sources.append(source)
            starts.append(starts[-1] + len(found))
            keys.append(found)
        together = np.concatenate(keys)
        self._starts = np.asarray(starts)
        self._places = np.argsort(together, kind="stable")
        self._keys = together[self._places]

    def __len__(self) -> int:
        """Records, also those of equal fingerprints."""
        return len(self._keys)

    def find(self, fingerprint: str, input_pp3: U8) -> Answer | None:
        """The answer [q,q,3] to the record of that fingerprint; None where no readable one is stored."""
        key = np.uint64(int(fingerprint[:16], 16))
        first, last = np.searchsorted(self._keys, key, "left"), np.searchsorted(self._keys, key, "right")
        for place in self._places[first:last]:
            number = int(np.searchsorted(self._starts, place, "right")) - 1
            record = self._read(number, int(place - self._starts[number]))
            if (
                record is not None
                and record.teacher is not None
                and record.info.fingerprint == fingerprint
                and np.array_equal(record.input, input_pp3)
                and bool(np.isfinite(record.teacher).all())
            ):
                return served(record.teacher, self._dtype)
        return None

    def _read(self, number: int, index: int) -> Record | None:
        source = self._sources[number]
        if number not in self._readers:
            if len(self._readers) >= _SHARDS_OPEN:
                self._readers.popitem(last=False)
            self._readers[number] = source.reader()
        self._readers.move_to_end(number)
        try:
            return self._readers[number].read(source.shard, index)
        except (CacheError, OSError, ValueError):  # a damaged record: the teacher is asked again
            return None


def served(answer: Answer, dtype: Dtype) -> Answer:
    """A stored answer as `dtype`: as it is, or floating point in [0,1] rounded to what is coarser."""
    if answer.dtype == dtype:
        return answer
    if dtype != "uint8":
        return answer.astype(dtype)
    rounded: Answer = np.floor(answer.astype(np.float32) * 255 + 0.5).clip(0, 255).astype(np.uint8)
    return rounded


def _keys(source: Source) -> np.ndarray:
    """The first 8 bytes of every fingerprint of a shard, u64 [records]."""
    reader = source.reader()
    try:
        found = (int(reader.info(source.shard, index).fingerprint[:16], 16) for index in range(source.shard.records))
        return np.fromiter(found, np.uint64, source.shard.records)
    except ValueError as error:
        raise CacheError(f"{source.place.at(source.shard.name)}: a fingerprint that is none") from error

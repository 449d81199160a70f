"""Answers that exist already, found by the fingerprint of their record; and, for a plan, how many there are.

A stored answer may serve a coarser dtype, never a finer one. An answer is taken only together with a stored input that
equals, pixel by pixel, the one that is asked about.

A plan compares records by where they are cut (hash of the image file, view and position), without reading a pixel. That
tells the same, except that LR files of the user's own may have changed unseen: then it is the most that can be reused.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dukd_cache.build.standing import Standing, shards_of
from dukd_cache.format.header import Header, ViewInfo
from dukd_cache.format.index import Rows
from dukd_cache.format.lifecycle import header_of, refuse_other_kind, sources
from dukd_cache.format.local_copies import open_copying_reader
from dukd_cache.format.manifest import ShardInfo
from dukd_cache.format.record import DTYPES, Dtype, Pixels, Record
from dukd_cache.format.shards import ShardReader, whole_shards
from dukd_cache.pictures.levels import to_uint8
from dukd_cache.places import Place
from dukd_cache.plan.crops import Plan
from dukd_cache.system.arrays import U64
from dukd_cache.system.errors import CacheError

_SHARDS_OPEN = 8
"""Streams are sorted by image name, in old caches as in new ones, so a few open shards are enough."""
_IMAGES_AT_ONCE = 4096
_ODD = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F))
"""Multipliers that spread x and y over 64 bits."""


@dataclass
class Tally:
    """What became of the records of a build."""

    kept: int = 0
    """They lie in shards that were whole already."""
    reused: int = 0
    """Their answers come from shards of this folder's past, or of other caches."""
    asked: int = 0
    """A teacher answered."""

    @classmethod
    def together(cls, tallies: Iterable["Tally"]) -> "Tally":
        """Of the same records, one for each answer."""
        found = [*tallies]
        return cls(found[0].kept, sum(each.reused for each in found), sum(each.asked for each in found))


@dataclass(frozen=True)
class Source:
    """A shard with answers that may serve."""

    place: Place
    header: Header
    shard: ShardInfo
    name: str
    """Of the answers, there."""

    def reader(self) -> ShardReader:
        """Of the place."""
        return open_copying_reader(self.place, self.header)


def check_reusable(others: Iterable[Place], asked: Header | None = None) -> None:
    """Refuse what answers cannot be taken from, for a cache that is `asked` for where that is known.

    Raises:
        CacheError: one of `others` is no cache, finished or not, or its answers were computed on something else.
    """
    for other in others:
        there = header_of(other)
        if there is None and not sources(other):
            raise CacheError("no cache here, finished or not", f"`reuse={other}`")
        if there is not None and asked is not None:
            refuse_other_kind(other, there, asked)


def all_sources(out: Place, others: Iterable[Place]) -> list[Place]:
    """Places of shards to take answers from: what `out` held before, and the caches `others`, finished or not."""
    return sources(out) + [
        place for other in others if other.canonical != out.canonical for place in (other, *sources(other))
    ]


def useful(places: Iterable[Place], asked: Header) -> Iterator[tuple[Source, Rows]]:
    """Whole shards with answers that may serve those of `asked`, and their indices, each read once.

    Whatever lies where: none that were computed on something else than all of `asked` are to be.
    """
    for place in places:
        there = header_of(place)
        if there is None or asked.computed not in (None, there.computed):
            continue
        names = [name for name in there.answers if _served_by(there, name, asked)]
        for shard, rows in whole_shards(place, there) if names else ():
            for name in names:
                if name in there.view(shard.view).arrays:
                    yield Source(place, there, shard, name), rows


def _served_by(there: Header, name: str, asked: Header) -> list[str]:
    """Which answers of a cache those called `name` of another may be: of the same teacher, asked alike, no finer."""
    return [
        other
        for other, info in asked.answers.items()
        if info.asked == there.answers[name].asked and _as_fine(there.dtype_of(name), asked.dtype_of(other))
    ]


def _as_fine(one: Dtype, other: Dtype) -> bool:
    return DTYPES.index(one) >= DTYPES.index(other)


class Answers:
    """All answers in some places that may serve those of a cache. Takes 16 bytes of memory a record."""

    def __init__(self, places: Iterable[Place], asked: Header) -> None:
        self._asked = asked
        self._sources: list[Source] = []
        self._readers: OrderedDict[int, ShardReader] = OrderedDict()
        starts, keys = [0], [np.empty(0, np.uint64)]
        for source, rows in useful(places, asked):
            self._sources.append(source)
            starts.append(starts[-1] + len(rows))
            keys.append(_first_8(rows, f"fingerprint.{source.name}"))
        together = np.concatenate(keys)
        self._starts = np.asarray(starts)
        self._order = np.argsort(together, kind="stable")
        self._keys = together[self._order]

    def __len__(self) -> int:
        """Records, also those of equal fingerprints."""
        return len(self._keys)

    def find(self, name: str, fingerprint: str, asked_pp3: Pixels) -> Pixels | None:
        """The answer `name` [q,q,3] to what has that fingerprint; None where no readable one is stored."""
        key, dtype = np.uint64(int(fingerprint[:16], 16)), self._asked.dtype_of(name)
        first, last = np.searchsorted(self._keys, key, "left"), np.searchsorted(self._keys, key, "right")
        for position in self._order[first:last]:
            number = int(np.searchsorted(self._starts, position, "right")) - 1
            there = self._sources[number]
            record = self._read(number, int(position - self._starts[number]))
            if (
                record is not None
                and _as_fine(there.header.dtype_of(there.name), dtype)
                and record.info.fingerprints[there.name] == fingerprint
                and np.array_equal(record[there.header.answers[there.name].of], asked_pp3)
                and bool(np.isfinite(record[there.name]).all())
            ):
                return served(record[there.name], dtype)
        return None

    def _read(self, number: int, index: int) -> Record | None:
        source = self._sources[number]
        if number not in self._readers:
            if len(self._readers) >= _SHARDS_OPEN:
                self._readers.popitem(last=False)
            self._readers[number] = source.reader()
        self._readers.move_to_end(number)
        wanted = (source.header.answers[source.name].of, source.name)
        try:
            return self._readers[number].read(source.shard, index, wanted)
        except (CacheError, OSError, ValueError):  # a damaged record: the teacher is asked again
            return None


def served(answer: Pixels, dtype: Dtype) -> Pixels:
    """A stored answer as `dtype`: as it is, or floating point in [0,1] rounded to what is coarser."""
    if answer.dtype == dtype:
        return answer
    return to_uint8(answer) if dtype == "uint8" else answer.astype(dtype)


@dataclass(frozen=True)
class Existing:
    """What is there already of a cache that is to be built."""

    plan: Plan
    header: Header
    known: dict[str, dict[str, U64]]
    """Of each view and answer, where the stored records are cut that may serve, sorted."""
    kept: dict[str, npt.NDArray[np.bool_]]
    """Of each view, for each shard, whether it is whole and stays."""

    def tallies(self, view: ViewInfo) -> dict[str, Tally]:
        """What would become of the records of `view`, by answer; "" in a cache of pairs."""
        known, kept = self.known[view.name], self.kept[view.name]
        found = {name: Tally() for name in self.header.answers or ("",)}
        some = kept.any() or any(map(len, known.values()))
        for first in range(0, len(self.plan.images), _IMAGES_AT_ONCE) if some else ():
            keys_of = self._keys(view, first, first + _IMAGES_AT_ONCE)
            stays = kept[(np.arange(keys_of[False].size) + first * view.crops) // view.shard_records]
            for name, tally in found.items():
                tally.kept += int(stays.sum())
                if len(there := known.get(name, ())):
                    keys = keys_of[_is_drawn(self.header, name)]
                    same = there[np.minimum(np.searchsorted(there, keys), len(there) - 1)] == keys
                    tally.reused += int((same & ~stays).sum())
        for name in self.header.answers:
            found[name].asked = self.header.total(view) - found[name].kept - found[name].reused
        return found

    def _keys(self, view: ViewInfo, first: int, last: int) -> dict[bool, U64]:
        """Of what is drawn for each crop by itself (True), and of what is not."""
        hashes = _first_8(self.plan.columns[first:last].hr.rows, "sha256")
        x, y = np.moveaxis(self.plan.corners(view, first, last).astype(np.uint64), -1, 0)
        return {
            drawn: _mixed(hashes[:, None], x + _apart(np.arange(view.crops), drawn), y).reshape(-1)
            for drawn in (False, True)
        }


def existing(plan: Plan, header: Header, out: Place, others: Sequence[Place]) -> Existing:
    """What `out` and the caches `others` hold of the cache that `header` describes.

    Raises:
        CacheError: one of `others` is no cache.
    """
    check_reusable(others, header)
    places = all_sources(out, others)
    same = (there := header_of(out)) is not None and there.like(header)
    standing = Standing(out, header, None if same else ())
    kept = {
        view.name: np.array(
            [standing.name(each) in standing.whole for each in shards_of(header) if each.view is view], bool
        )
        for view in header.views
    }
    keys = {view.name: {name: [np.empty(0, np.uint64)] for name in header.answers} for view in header.views}
    for source, rows in useful(places if same else [out, *places], header):
        for name in _served_by(source.header, source.name, header) if source.shard.view in keys else ():
            if _asked_alike(source, header, name):
                x, y = rows["x"].astype(np.uint64), rows["y"].astype(np.uint64)
                x += _apart(rows["crop"], _is_drawn(header, name))
                keys[source.shard.view][name].append(_mixed(_first_8(rows, "image_sha256"), x, y))
    known = {
        view: {name: np.unique(np.concatenate(found)) for name, found in of_view.items()}
        for view, of_view in keys.items()
    }
    return Existing(plan, header, known, kept)


def _asked_alike(source: Source, asked: Header, name: str) -> bool:
    """Equal squares of equal images were asked about as equal pixels, for the answers `name`."""
    there = source.header
    one, other = there.view(source.shard.view), asked.view(source.shard.view)
    squares = [(view.source, view.box, view.input_side) for view in (one, other)]
    drawn = _is_drawn(asked, name)
    if there.scale != asked.scale or squares[0] != squares[1] or drawn != _is_drawn(there, source.name):
        return False
    if drawn:
        return there.degradation == asked.degradation and there.seed == asked.seed
    templates = {each.degradation.template for each in (there, asked)}
    return one.source == "hr" or len(templates) == 1


def _is_drawn(header: Header, name: str) -> bool:
    """Whether what was asked for those answers is degraded, each crop by itself."""
    return bool(header.degradation.steps) and name in header.answers and header.answers[name].of == "input"


def _first_8(rows: Rows, column: str) -> U64:
    """The first 8 bytes of each hash of a column, u64 [records]."""
    digests = np.ascontiguousarray(rows[column][:, :8])
    return digests.view(">u8").reshape(-1).astype(np.uint64)


def _apart(crop: npt.NDArray[np.integer[Any]], drawn: bool) -> U64:
    """What tells crops at one place apart: nothing, but where each is degraded by itself."""
    return crop.astype(np.uint64) << np.uint64(32) if drawn else np.zeros_like(crop, np.uint64)


def _mixed(image: U64, x: U64, y: U64) -> U64:
    """One number for a position in an image; another has another one, but for about 1 in 10¹¹ among a million."""
    mixed: U64 = image ^ (x * _ODD[0] + np.uint64(1)) ^ ((y + np.uint64(1)) * _ODD[1])
    return mixed

"""Orders of an epoch: a permutation of all records, or of shards, of which a few at a time are mixed record by record.

Of few records a permutation is a table. Of many its places are computed, each by itself, in no memory: the two halves
of a place are mixed in turns (a Feistel network), which can be undone, so no two places meet. Sources: Black and
Rogaway, Ciphers with arbitrary finite domains, CT-RSA 2002 (halves of any size; what falls outside is sent on until it
falls inside); Steele, Lea and Flood, Fast splittable pseudorandom number generators, OOPSLA 2014 (how bits are mixed).

Shapes: N places.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import isqrt

import numpy as np
import numpy.typing as npt

from dukd_cache.system.arrays import I64, U64

_TABLE = 2**20
"""Records: a table of so many takes 8 MB and 20 ms. Computing a batch of 16 takes 0.1 to 0.5 ms, looking it up 0.01."""
_PARTS = 2**20
"""Of a place: shares of the weights are rounded to these."""
_ROUNDS = 6
"""With 4, the distance of neighbours can be told from chance in a million of them; with 6 it cannot."""
_ORDER, _SHARDS, _WINDOW, _START = 1001, 3001, 4001, 5001
"""Streams of random numbers, beside those of `order`: each is one for every view."""


@dataclass(frozen=True, eq=False)
class Kept:
    """The records of a view that are trained with, where some are left out or come less often.

    An epoch has as many places as there are records. Weighted, a record has as many of them as its share of all weights
    says, rounded up or down: the places are laid out evenly along the sum of the weights, from a start that is drawn
    anew for each epoch (systematic resampling). So the mean over epochs is exact, and equal weights give one each.
    """

    indices: I64
    """[N], rising."""
    weights: npt.NDArray[np.float64] | None = None
    """[N], positive; None: all equal."""

    def __len__(self) -> int:
        return len(self.indices)

    @cached_property
    def ends(self) -> I64:
        """Where each record's part of the sum ends [N], in the 2²⁰th of a place: whole, so that nothing is rounded."""
        sums = np.cumsum(np.ones(len(self)) if self.weights is None else self.weights)
        ends: I64 = np.rint(sums * (len(self) * _PARTS / sums[-1])).astype(np.int64)
        return ends

    def start(self, seed: int, stream: int, epoch: int) -> int:
        """Where the places of an epoch begin, 0 ≤ it < 2²⁰; 0 without weights."""
        return 0 if self.weights is None else int(generator(seed, _START + stream, epoch).integers(_PARTS))

    def of_places(self, places_N: I64, start: int) -> I64:
        """Which of the records these places of an epoch are of, by their number among those kept [N]."""
        return places_N if self.weights is None else np.searchsorted(self.ends, places_N * _PARTS + start, "right")

    def places_before(self, numbers: I64, start: int) -> I64:
        """How many places of an epoch are of records before those of these `numbers`."""
        return numbers if self.weights is None else -((start - np.concatenate([[0], self.ends])[numbers]) // _PARTS)


@dataclass(frozen=True)
class Windows:
    """What is mixed in an epoch that reads shard after shard."""

    per_shard: int
    """Records of a shard; the last one may have fewer."""
    shards: int
    """Shards whose records are mixed."""
    kept: Kept | None = None
    """Of their records; None: all."""
    start: int = 0
    """Of the epoch, where `kept` has weights."""

    def bounds(self, count: int) -> I64:
        """How many of the `count` places of an epoch are of records before each shard, and before the end [S+1]."""
        if self.kept is None:
            return np.minimum(np.arange(-(-count // self.per_shard) + 1) * self.per_shard, count)
        ends = np.arange(self.kept.indices[-1] // self.per_shard + 2) * self.per_shard
        return self.kept.places_before(np.searchsorted(self.kept.indices, ends), self.start)


def of_records(seed: int, stream: int, epoch: int, count: int, places_N: I64) -> I64:
    """Which of `count` records stand at these places of an epoch [N], 0 ≤ place < count: every record at one."""
    return _shuffled(seed, _ORDER + stream, epoch, count, places_N)


def of_shards(seed: int, stream: int, epoch: int, count: int, places_N: I64, windows: Windows) -> I64:
    """The same in an epoch that takes all shards in a random order, window after window."""
    begins, starts = _shards(seed, _SHARDS + stream, epoch, count, windows)
    bounds = np.append(starts[: -1 : windows.shards], count)  # of the windows, in places
    windows_N = np.searchsorted(bounds, places_N, "right") - 1
    mixed_N = np.empty_like(places_N)
    for number in np.unique(windows_N).tolist():
        its_own = windows_N == number
        first, size = int(bounds[number]), int(bounds[number + 1] - bounds[number])
        which = epoch * (len(bounds) - 1) + number
        mixed_N[its_own] = first + _shuffled(seed, _WINDOW + stream, which, size, places_N[its_own] - first)
    at_N = np.searchsorted(starts, mixed_N, "right") - 1
    return begins[at_N] + mixed_N - starts[at_N]


def generator(seed: int, stream: int, counter: int) -> np.random.Generator:
    """Counter-based: the same numbers for the same (seed, stream, counter), whatever was drawn before."""
    return np.random.Generator(np.random.Philox(key=np.array([seed, stream * 2**40 + counter], np.uint64)))


@lru_cache(maxsize=8)
def _shards(seed: int, stream: int, epoch: int, count: int, windows: Windows) -> tuple[I64, I64]:
    """The shards in the order of an epoch: the first record of each [S]; where each begins and the last ends [S+1]."""
    bounds = windows.bounds(count)
    number = len(bounds) - 1
    shards = _shuffled(seed, stream, epoch, number, np.arange(number))
    return bounds[shards], np.concatenate([[0], np.cumsum(np.diff(bounds)[shards])])


def _shuffled(seed: int, stream: int, counter: int, count: int, places_N: I64) -> I64:
    if count <= _TABLE:
        return _table(seed, stream, counter, count)[places_N]
    return computed(_keys(seed, stream, counter), count, places_N)


@lru_cache(maxsize=8)
def _table(seed: int, stream: int, counter: int, count: int) -> I64:
    return generator(seed, stream, counter).permutation(count)


@lru_cache(maxsize=64)
def _keys(seed: int, stream: int, counter: int) -> U64:
    return generator(seed, stream, counter).integers(2**64, size=_ROUNDS, dtype=np.uint64)


def computed(keys: U64, count: int, places_N: I64) -> I64:
    """Where a permutation of 0 … count−1, of which there is one for any `keys`, sends these places."""
    side = isqrt(count - 1) + 1  # the least whose square holds all: 2/side of the places fall outside, or fewer
    found_N = _mixed(keys, side, places_N.astype(np.uint64))
    while (outside := found_N >= count).any():
        found_N[outside] = _mixed(keys, side, found_N[outside])
    return found_N.astype(np.int64)


def _mixed(keys: U64, side: int, places_N: U64) -> U64:
    """A permutation of 0 … side²−1."""
    left_N, right_N = np.divmod(places_N, np.uint64(side))
    for key in keys:
        left_N, right_N = right_N, (left_N + (_scattered(right_N + key) >> np.uint64(1))) % np.uint64(side)
    return left_N * np.uint64(side) + right_N


def _scattered(numbers_N: U64) -> U64:
    """Numbers of 64 bits each of which depends on every bit of one of `numbers_N`."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        numbers_N = (numbers_N ^ numbers_N >> np.uint64(shift)) * np.uint64(factor)
    return numbers_N ^ numbers_N >> np.uint64(31)

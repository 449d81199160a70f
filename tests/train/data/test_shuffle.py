"""Orders of an epoch: every record once; computed ones are as random as tables; a window reads few shards at a time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dukd_train.data import shuffle
from dukd_train.data.order import positions
from dukd_train.data.shuffle import Windows, computed

MANY = shuffle._TABLE + 7
MIXED = Windows(per_shard=50, shards=4)


def keys(seed: int) -> shuffle.U64:
    return np.random.default_rng(seed).integers(2**64, size=shuffle._ROUNDS, dtype=np.uint64)


def epoch_of(count: int, windows: Windows | None, epoch: int = 0, seed: int = 0) -> list[int]:
    """A whole epoch, read in one step."""
    return positions(seed, 0, epoch, count, count, windows).tolist()


def surprise(found: np.ndarray, count: int, bins: int) -> float:
    """How far numbers of 0 … count−1 are from being evenly spread: chi-square in standard deviations from its mean."""
    expected = len(found) * np.diff(-(-np.arange(bins + 1) * count // bins)) / count
    chi_square = ((np.bincount(found * bins // count, minlength=bins) - expected) ** 2 / expected).sum()
    return float((chi_square - (bins - 1)) / np.sqrt(2 * (bins - 1)))


@given(count=st.one_of(st.integers(1, 3000), st.integers(1, 60).map(lambda side: side**2 + 1)), seed=st.integers(0, 99))
@settings(deadline=None)
def test_a_computed_order_has_every_record_once(count: int, seed: int) -> None:
    assert sorted(computed(keys(seed), count, np.arange(count)).tolist()) == list(range(count))


@pytest.mark.parametrize("count", [10**8, 10**12, 2**53])
def test_places_among_very_many_do_not_meet(count: int) -> None:
    found = computed(keys(0), count, np.arange(count - 10_000, count))
    assert len({*found.tolist()}) == 10_000
    assert found.min() >= 0
    assert found.max() < count


@pytest.mark.parametrize("count", [50, 1000])
def test_each_record_comes_at_any_place(count: int) -> None:
    found = np.array([computed(keys(seed), count, np.array([7, 8])) for seed in range(2000)])
    assert abs(surprise(found[:, 0], count, 50)) < 4
    assert abs(surprise((found[:, 1] - found[:, 0]) % count, count, 10)) < 4


@pytest.mark.parametrize("apart", [1, 1000])
def test_neighbours_are_as_far_apart_as_by_chance(apart: int) -> None:
    count = 10**6
    found = computed(keys(1), count, np.arange(count))
    assert abs(surprise((found[apart:] - found[:-apart]) % count, count, 1000)) < 4


def test_an_order_of_many_records_is_computed_and_keeps_no_table() -> None:
    shuffle._table.cache_clear()
    one, other = (positions(0, 0, epoch, MANY, MANY) for epoch in range(2))
    assert np.array_equal(np.sort(one), np.arange(MANY))
    assert (one != other).mean() > 0.99
    assert np.array_equal(positions(0, 0, 1000, 16, MANY), one[16_000:16_016])
    assert shuffle._table.cache_info().currsize == 0


def test_an_order_of_few_records_is_numpys() -> None:
    """Runs that began with it go on with it."""
    random = np.random.Generator(np.random.Philox(key=np.array([5, 1003 * 2**40 + 7], np.uint64)))
    assert positions(5, 2, 7, 100, 100).tolist() == random.permutation(100).tolist()
    assert positions(0, 0, 0, 8, 12).tolist() == GOLDEN


GOLDEN = [5, 3, 2, 4, 0, 9, 7, 8]

counts = st.tuples(st.integers(1, 300), st.integers(1, 40), st.integers(1, 9))


@given(counts, st.integers(1, 50), st.integers(0, 3))
@settings(deadline=None)
def test_every_record_comes_once_an_epoch_in_windows(sizes: tuple[int, int, int], batch: int, seed: int) -> None:
    count, per_shard, shards = sizes
    windows = Windows(per_shard, shards)
    steps = -(-3 * count // batch)
    found = np.concatenate([positions(seed, 0, step, batch, count, windows) for step in range(steps)])[: 3 * count]
    assert np.array_equal(np.sort(found.reshape(3, count)), np.tile(np.arange(count), (3, 1)))
    assert found.tolist() == [record for epoch in range(3) for record in epoch_of(count, windows, epoch, seed)]


@given(counts)
@settings(deadline=None)
def test_so_many_shards_are_read_at_a_time(sizes: tuple[int, int, int]) -> None:
    count, per_shard, shards = sizes
    read = [record // per_shard for record in epoch_of(count, Windows(per_shard, shards))]
    first, last = {shard: read.index(shard) for shard in read}, {shard: place for place, shard in enumerate(read)}
    for place in range(count):
        assert sum(first[shard] <= place <= last[shard] for shard in first) <= shards
    apart = max(last[shard] - first[shard] for shard in first)
    assert apart < shards * per_shard


def test_windows_differ_by_epoch_seed_and_view() -> None:
    orders = {
        positions(seed, stream, epoch, 1000, 1000, MIXED).tobytes()
        for seed in range(3)
        for stream in range(3)
        for epoch in range(3)
    }
    assert len(orders) == 27


def test_shards_and_the_records_in_a_window_come_in_any_order() -> None:
    """Over many epochs, a shard in any window, a record at any place of it."""
    places = np.array([epoch_of(1000, MIXED, epoch).index(123) for epoch in range(1000)])
    assert abs(surprise(places, 1000, 50)) < 4
    assert {*(places // 200)} == set(range(5))


def test_a_window_of_all_shards_mixes_all_records() -> None:
    found = np.array(epoch_of(1000, Windows(50, 20)))
    assert abs(surprise(np.diff(found) % 1000, 1000, 20)) < 4

"""Which records are trained with, and how often, by a column of the cache. A pure function of the cache."""

from collections.abc import Iterable

import numpy as np

from dukd_cache.format.header import Declared
from dukd_cache.format.reader import Cache
from dukd_cache.system.arrays import F64, I64
from dukd_cache.system.errors import SettingError, unknown_name
from dukd_train.data.shuffle import Kept
from dukd_train.settings import Sampling


def kept_in(cache: Cache, views: Iterable[str], sampling: Sampling) -> dict[str, Kept]:
    """The records of each view that `sampling` leaves, and how often they come.

    Raises:
        SettingError: the cache has no such column, no record of these views has a number in it, or nothing is left.
        CacheError: an index is damaged or cannot be read.
    """
    refuse_missing_column(cache, sampling)
    numbers = {view: cache.columns(view)[sampling.by] for view in views}
    if all(np.isnan(of_view).all() for of_view in numbers.values()):
        reason = f"{cache.root} has no number in column {sampling.by} of {' and '.join(numbers)}"
        raise SettingError(reason, "sampling.by", cure="choose another column")
    return {view: _kept(view, of_view, sampling) for view, of_view in numbers.items()}


def _kept(view: str, numbers_N: F64, sampling: Sampling) -> Kept:
    indices = left(numbers_N, sampling)
    if not len(indices):
        raise SettingError(f"leaves nothing of {view}, take less", f"sampling.share {sampling.share:g}")
    return Kept(indices, weights(numbers_N[indices], sampling) if sampling.weight > 1 else None)


def refuse_missing_column(cache: Declared, sampling: Sampling) -> None:
    """Refuse a column that the records of a cache have not: a SettingError."""
    columns = sorted(cache.manifest.columns)
    if not columns:
        cure = f"build it again with `columns=[{sampling.by}]`, which asks no teacher"
        raise SettingError(f"{cache.root} has no columns", "sampling.by", cure=cure)
    if sampling.by not in columns:
        raise SettingError(f"{cache.root}: {unknown_name('column', sampling.by, columns)}", "sampling.by")


def left(numbers_N: F64, sampling: Sampling) -> I64:
    """Indices of the records that stay, rising. Those without a number do; of equal ones the earlier count as lower."""
    known = np.flatnonzero(~np.isnan(numbers_N))
    rising = known[np.argsort(numbers_N[known], kind="stable")]
    count = int(sampling.share * len(known))
    dropped = rising[:count] if sampling.drop == "lowest" else rising[len(rising) - count :]
    return np.setdiff1d(np.arange(len(numbers_N)), dropped)


def weights(numbers_N: F64, sampling: Sampling) -> F64:
    """How often records come, in proportion: from 1 to `weight`, evenly by rank.

    Equal numbers have equal weights; those without a number have the mean. By rank, since it takes no unit: what a dB
    is worth, or a unit of gradient energy, nobody knows beforehand, and one strange record moves no other.
    """
    known = ~np.isnan(numbers_N)
    _, which, counts = np.unique(numbers_N[known], return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts + 1) / 2)[which] / max(known.sum() - 1, 1)  # 0…1; the mean of equal ones
    found = np.full(len(numbers_N), (1 + sampling.weight) / 2)
    found[known] = 1 + (sampling.weight - 1) * (rank if sampling.drop == "lowest" else 1 - rank)
    return found

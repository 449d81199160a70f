"""Which records are trained with: those that a column of the cache does not leave out. A pure function of the cache."""

import numpy as np
import numpy.typing as npt

from dukd_cache.format.manifest import Declared
from dukd_cache.format.reader import Cache
from dukd_cache.system.errors import SettingError, unknown_name
from dukd_train.data.shuffle import I64, Kept
from dukd_train.settings import Sampling


def kept_of(cache: Cache, view: str, sampling: Sampling) -> Kept:
    """The records of `view` that `sampling` leaves.

    Raises:
        SettingError: the cache has no such column, or nothing is left.
        CacheError: an index is damaged or cannot be read.
    """
    refuse_missing_column(cache, sampling)
    kept = Kept(left(cache.columns(view)[sampling.by], sampling))
    if not len(kept):
        raise SettingError(f"leaves nothing of {view}, take less", f"sampling.share {sampling.share:g}")
    return kept


def refuse_missing_column(cache: Declared, sampling: Sampling) -> None:
    """Refuse a column that the records of a cache have not: a SettingError."""
    columns = sorted(cache.manifest.columns)
    if not columns:
        cure = f"build it again with `columns=[{sampling.by}]`, which asks no teacher"
        raise SettingError(f"{cache.root} has no columns", "sampling.by", cure=cure)
    if sampling.by not in columns:
        raise SettingError(f"{cache.root}: {unknown_name('column', sampling.by, columns)}", "sampling.by")


def left(numbers_N: npt.NDArray[np.float64], sampling: Sampling) -> I64:
    """Indices of the records that stay, rising. Those without a number do; of equal ones the earlier count as lower."""
    known = np.flatnonzero(~np.isnan(numbers_N))
    rising = known[np.argsort(numbers_N[known], kind="stable")]
    count = int(sampling.share * len(known))
    dropped = rising[:count] if sampling.drop == "lowest" else rising[len(rising) - count :]
    return np.setdiff1d(np.arange(len(numbers_N)), dropped)

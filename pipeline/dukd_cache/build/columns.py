"""Numbers that a cache can keep of each record, beside position and fingerprints. A new one is a line of `COLUMNS`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dukd_cache.format.record import ColumnType, Pixels


@dataclass(frozen=True)
class Column:
    """One number of a record."""

    kind: ColumnType
    of: Callable[[Mapping[str, Pixels]], float]
    """From the record's arrays; its answers are among them."""


def _difficulty(arrays: Mapping[str, Pixels]) -> float:
    """Mean absolute difference of the input, enlarged by bicubic, to the truth or the first answer; 0…255."""
    import numpy as np  # as all that is heavy here: the words of a command need the names alone

    from dukd_cache.pictures.bicubic import upscale
    from dukd_cache.pictures.levels import levels

    target = next(arrays[name] for name in ("truth", *sorted(arrays)) if name in arrays and name != "input")
    enlarged = upscale(np.asarray(arrays["input"], np.uint8), target.shape[0] // arrays["input"].shape[0])
    return float(np.abs(levels(enlarged) - levels(target)).mean())


COLUMNS: dict[str, Column] = {"difficulty": Column("float64", _difficulty)}
"""By name."""


def columns_of(names: Mapping[str, ColumnType], arrays: Mapping[str, Pixels]) -> dict[str, float]:
    """Those of a record."""
    return {name: COLUMNS[name].of(arrays) for name in sorted(names)}

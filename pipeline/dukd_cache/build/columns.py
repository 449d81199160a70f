"""Numbers that a cache can keep of each record, beside position and fingerprints. A new one is a line of `COLUMNS`.

All are of levels in 0…255, over all pixels and channels. Where a view has no truth, what compares with the truth takes
the answer in its place. What cannot be told is NaN: how good an answer is without a truth, how far a lone one agrees.
Rounded to 1e-4, so that the order in which a library adds does not reach the bytes of a cache.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import nan
from statistics import fmean
from typing import TYPE_CHECKING

from dukd_cache.format.record import NOT_ANSWERS, ColumnType, Pixels, Record

if TYPE_CHECKING:  # heavy: the words of a command need the names of columns alone
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True)
class Column:
    """One number of a record."""

    kind: ColumnType
    of: Callable[[Mapping[str, Pixels]], float]
    """From the record's arrays; its answers are among them."""


def _answer_psnr(arrays: Mapping[str, Pixels]) -> float:
    """dB of the answer to the truth; of several answers their mean. Low where the teacher is bad."""
    from dukd_cache.pictures.levels import levels, psnr

    if "truth" not in arrays or not (answers := _answers(arrays)):
        return nan
    truth = levels(arrays["truth"])
    return fmean(psnr(levels(answer), truth) for answer in answers)


def _bicubic_psnr(arrays: Mapping[str, Pixels]) -> float:
    """dB of the input, enlarged by bicubic, to the truth. Low where there is much to learn."""
    import numpy as np

    from dukd_cache.pictures.bicubic import upscale
    from dukd_cache.pictures.levels import levels, psnr

    target = _target(arrays)
    enlarged = upscale(np.asarray(arrays["input"], np.uint8), target.shape[0] // arrays["input"].shape[0])
    return psnr(levels(enlarged), target)


def _disagreement(arrays: Mapping[str, Pixels]) -> float:
    """Levels: the root of the mean squared distance of several answers to their mean."""
    import numpy as np

    from dukd_cache.pictures.levels import levels

    answers = [levels(answer) for answer in _answers(arrays)]
    return float(np.sqrt(np.var(answers, axis=0).mean())) if len(answers) > 1 else nan


def _gradient_energy(arrays: Mapping[str, Pixels]) -> float:
    """Levels²: the mean squared difference of neighbours in a row and that of neighbours in a column, added."""
    import numpy as np

    target = _target(arrays)
    return sum(float(np.square(np.diff(target, axis=axis)).mean()) for axis in (0, 1))


COLUMNS: dict[str, Column] = {
    "answer_psnr": Column("float64", _answer_psnr),
    "bicubic_psnr": Column("float64", _bicubic_psnr),
    "disagreement": Column("float64", _disagreement),
    "gradient_energy": Column("float64", _gradient_energy),
}
"""By name."""


def with_columns(record: Record, names: Mapping[str, ColumnType]) -> Record:
    """The same record with its numbers of these names: those it came with, and those that are told from its arrays."""
    if not names:
        return record
    told = {name: round(COLUMNS[name].of(record.arrays), 4) for name in sorted(names) if name in COLUMNS}
    numbers = {name: number for name, number in record.info.columns.items() if name in names} | told
    return Record(record.info.model_copy(update={"columns": dict(sorted(numbers.items()))}), record.arrays)


def _answers(arrays: Mapping[str, Pixels]) -> list[Pixels]:
    return [pixels for name, pixels in sorted(arrays.items()) if name not in NOT_ANSWERS]


def _target(arrays: Mapping[str, Pixels]) -> "npt.NDArray[np.float64]":
    """The truth, or the first answer by name, in levels."""
    from dukd_cache.pictures.levels import levels

    return levels(arrays["truth"] if "truth" in arrays else _answers(arrays)[0])

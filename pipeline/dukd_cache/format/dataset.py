"""The records of a view as tensors, for a training loop of one's own."""

from collections.abc import Collection
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from dukd_cache.format.record import Record
from dukd_cache.system.errors import SettingError, unknown_name


class Readable(Protocol):
    """Records by index, as `reader.Records` are."""

    @property
    def arrays(self) -> Collection[str]:
        """The names of what each record holds."""

    def __len__(self) -> int: ...

    def read(self, index: int, names: Collection[str]) -> Record:
        """A record with the arrays of these names."""


class RecordDataset(Dataset[dict[str, Tensor]]):
    """A dict of tensors for each record: `input` and the arrays `names` (None: all), float32 [3,H,W] in [0,1].

    Raises:
        SettingError: the records have no array of such a name.
    """

    def __init__(self, records: Readable, names: Collection[str] | None = None) -> None:
        there = records.arrays
        for name in names or ():
            if name not in there:
                raise SettingError(f"{records}: {unknown_name('array', name, there)}")
        self.records = records
        self.names = tuple(dict.fromkeys(("input", *(there if names is None else names))))

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        record = self.records.read(index, self.names)
        return {name: _tensor(record[name]) for name in self.names}


def _tensor(pixels_HW3: np.ndarray) -> Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(pixels_HW3.transpose(2, 0, 1))).float()
    return tensor.div(255) if pixels_HW3.dtype == np.uint8 else tensor

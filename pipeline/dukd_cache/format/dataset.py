"""The records of a view for a training loop of one's own: as tensors, or by webdataset."""

from collections.abc import Callable, Collection
from typing import Any, Protocol
from urllib.parse import urlparse

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
                raise SettingError(unknown_name("array", name, there), records)
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


class _Url(str):
    """Of an object in a store."""

    def __reduce__(self) -> tuple[Callable[[str], str], tuple[str]]:
        """A worker that was not forked learns how to open it, too."""
        return url_for_webdataset, (str(self),)


def url_for_webdataset(file: str) -> str:
    """`file`, which webdataset can open from now on: what lies elsewhere through fsspec, as a `Place` does."""
    if "://" not in file:
        return file
    from webdataset.gopen import gopen_schemes

    gopen_schemes[urlparse(file).scheme] = _opened
    return _Url(file)


def _opened(url: str, mode: str, _buffer: int) -> Any:
    import fsspec  # type: ignore[import-untyped]

    return fsspec.open(url, mode).open()

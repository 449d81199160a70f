"""The records of a view as tensors, for a training loop of one's own."""

from collections.abc import Collection

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from dukd_cache.format.reader import Cache
from dukd_cache.system.errors import SettingError, unknown_name


class RecordDataset(Dataset[dict[str, Tensor]]):
    """A dict of tensors for each record: `input` and the arrays `names` (None: all), float32 [3,H,W] in [0,1].

    Raises:
        SettingError: the view has no array of such a name.
    """

    def __init__(self, cache: Cache, view: str, names: Collection[str] | None = None) -> None:
        kinds = cache.manifest.view(view).arrays
        for name in names or ():
            if name not in kinds:
                raise SettingError(f"{cache.root}: {unknown_name(f'array of view {view}', name, kinds)}")
        self.cache, self.view = cache, view
        self.names = tuple(dict.fromkeys(("input", *(kinds if names is None else names))))

    def __len__(self) -> int:
        return self.cache.count(self.view)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        record = self.cache.read(self.view, index, self.names)
        return {name: _tensor(record[name]) for name in self.names}


def _tensor(pixels_HW3: np.ndarray) -> Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(pixels_HW3.transpose(2, 0, 1))).float()
    return tensor.div(255) if pixels_HW3.dtype == np.uint8 else tensor

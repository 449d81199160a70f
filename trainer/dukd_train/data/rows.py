"""The records of one view: all of them in memory, or read when they are asked for. Both give the same batches.

Shapes: N records, p cached input side, q = s·p output side; h ≤ p side of what is cut out of an input, s·h of a target;
C = 3 channels, which lie last, as decoded: batches are then `channels_last` without a copy.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dukd_cache.format.manifest import Header
from dukd_cache.format.reader import Cache
from dukd_train.data.order import Picks


def targets_in(header: Header) -> dict[str, list[str]]:
    """What the records of a cache hold for a student's answers to be compared with, by view."""
    return {view.name: [name for name in view.arrays if name != "input"] for view in header.views}


@dataclass(frozen=True)
class Batch:
    """Records of one view: inputs u8 [N,C,h,h], targets u8 or floating point [N,C,s·h,s·h]."""

    input: Tensor
    targets: dict[str, Tensor]

    def map(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        """The same with `change` made to inputs and targets."""
        return Batch(change(self.input), {name: change(target) for name, target in self.targets.items()})


@dataclass(frozen=True)
class ResidentRows:
    """All records in memory: inputs u8 [N,p,p,C], targets u8 or floating point [N,q,q,C]."""

    input: Tensor
    targets: dict[str, Tensor]

    def __len__(self) -> int:
        return len(self.input)

    def gather(self, picks: Picks) -> Batch:
        """The records of `picks`, on the device where they lie."""
        return Batch(self.input, self.targets).map(lambda rows_NHWC: _channels_first(self._picked(rows_NHWC, picks)))

    def _picked(self, rows_NHWC: Tensor, picks: Picks) -> Tensor:
        if picks.corners is None:
            return rows_NHWC.index_select(0, torch.from_numpy(picks.indices).to(rows_NHWC.device))
        factor = rows_NHWC.shape[1] // self.input.shape[1]
        corners = zip(picks.indices.tolist(), (picks.corners * factor).tolist(), strict=True)
        side = picks.side * factor
        return torch.stack([rows_NHWC[index, y : y + side, x : x + side] for index, (y, x) in corners])


@dataclass(frozen=True)
class Pixels:
    """Records of one view as they are decoded: inputs u8 [N,h,h,C], targets u8 or floating point [N,s·h,s·h,C]."""

    input: np.ndarray
    targets: dict[str, np.ndarray]

    def batch(self) -> Batch:
        """The same as tensors, without a copy."""
        return Batch(_tensor(self.input), {name: _tensor(target) for name, target in self.targets.items()})


@dataclass(frozen=True)
class StreamedRows:
    """Records that are read from the cache each time. Can be sent to other processes."""

    cache: Cache
    view: str
    wanted: tuple[str, ...]

    def __len__(self) -> int:
        return self.cache.count(self.view)

    def gather(self, picks: Picks) -> Batch:
        """The records of `picks`, in main memory."""
        return self.read(picks).batch()

    def read(self, picks: Picks) -> Pixels:
        """The records of `picks`, decoded.

        Raises:
            CacheError: what is stored is damaged or cannot be reached.
        """
        factor = self.cache.manifest.scale
        inputs: list[np.ndarray] = []
        targets: dict[str, list[np.ndarray]] = {name: [] for name in self.wanted}
        for number, index in enumerate(picks.indices.tolist()):
            record = self.cache.read(self.view, index, ("input", *self.wanted))
            y, x = (0, 0) if picks.corners is None else picks.corners[number]
            inputs.append(_cut(record.input, y, x, picks.side))
            for name in self.wanted:
                targets[name].append(_cut(record[name], y * factor, x * factor, picks.side * factor))
        return Pixels(np.stack(inputs), {name: np.stack(cut) for name, cut in targets.items()})


Rows = ResidentRows | StreamedRows


def _cut(image_HWC: np.ndarray, y: int, x: int, side: int) -> np.ndarray:
    return image_HWC[y : y + side, x : x + side]


def _tensor(rows_NHWC: np.ndarray) -> Tensor:
    return _channels_first(torch.from_numpy(rows_NHWC))


def _channels_first(rows_NHWC: Tensor) -> Tensor:
    return rows_NHWC.permute(0, 3, 1, 2)

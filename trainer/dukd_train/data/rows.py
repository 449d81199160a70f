"""The records of one view: all of them in memory, or read when they are asked for. Both give the same batches.

Shapes: N records, p cached input side, q = s·p output side; h ≤ p side of what is cut out of an input, s·h of a target;
C = 3 channels, which lie last, as decoded: batches are then `channels_last` without a copy.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dukd_cache.format.header import Header
from dukd_cache.format.reader import Cache
from dukd_cache.format.record import NOT_ANSWERS
from dukd_cache.system.sending import sent
from dukd_train.data.order import Picks


def targets_in(header: Header) -> dict[str, list[str]]:
    """What the records of a cache hold for a student's answers to be compared with, by view."""
    return {view.name: [name for name in view.arrays if name not in ("input", "clean")] for view in header.views}


def answers_among(arrays: Iterable[str]) -> list[str]:
    """The names of `arrays` that are answers of teachers, in order of names."""
    return sorted(name for name in arrays if name not in NOT_ANSWERS)


Batch = dict[str, Tensor]
"""Records of one view, by array: `input` u8 [N,C,h,h], the others u8 or floating point [N,C,s·h,s·h]."""
Pixels = dict[str, np.ndarray]
"""The same as they are decoded: [N,h,h,C], [N,s·h,s·h,C]."""


@dataclass(frozen=True)
class ResidentRows:
    """All records in memory."""

    arrays: dict[str, Tensor]
    """`input` u8 [N,p,p,C], the others u8 or floating point [N,q,q,C]."""

    def __len__(self) -> int:
        return len(self.arrays["input"])

    def gather(self, picks: Picks) -> Batch:
        """The records of `picks`, on the device where they lie."""
        return {name: _channels_first(self._picked(rows_NHWC, picks)) for name, rows_NHWC in self.arrays.items()}

    def _picked(self, rows_NHWC: Tensor, picks: Picks) -> Tensor:
        if picks.corners is None:
            indices = torch.from_numpy(picks.indices)
            return rows_NHWC.index_select(0, sent(indices, rows_NHWC.device))
        factor = rows_NHWC.shape[1] // self.arrays["input"].shape[1]
        corners = zip(picks.indices.tolist(), (picks.corners * factor).tolist(), strict=True)
        side = picks.side * factor
        return torch.stack([rows_NHWC[index, y : y + side, x : x + side] for index, (y, x) in corners])


@dataclass(frozen=True)
class StreamedRows:
    """Records that are read from the cache each time. Can be sent to other processes."""

    cache: Cache
    view: str
    names: tuple[str, ...]
    """Of the arrays that are wanted, `input` among them."""

    def __len__(self) -> int:
        return self.cache.count(self.view)

    def gather(self, picks: Picks) -> Batch:
        """The records of `picks`, in main memory."""
        return as_batch(self.read(picks))

    def read(self, picks: Picks) -> Pixels:
        """The records of `picks`, decoded.

        Raises:
            CacheError: what is stored is damaged or cannot be reached.
        """
        found: dict[str, list[np.ndarray]] = {name: [] for name in self.names}
        for number, index in enumerate(picks.indices.tolist()):
            record = self.cache.read(self.view, index, self.names)
            corner = (0, 0) if picks.corners is None else picks.corners[number]
            for name, cut in found.items():
                factor = len(record[name]) // len(record.input)
                (y, x), side = np.multiply(corner, factor), picks.side * factor
                cut.append(record[name][y : y + side, x : x + side])
        return {name: np.stack(cut) for name, cut in found.items()}


Rows = ResidentRows | StreamedRows


def as_batch(pixels: Pixels) -> Batch:
    """The same as tensors, without a copy."""
    return {name: _channels_first(torch.from_numpy(rows_NHWC)) for name, rows_NHWC in pixels.items()}


def _channels_first(rows_NHWC: Tensor) -> Tensor:
    """The same [N,C,H,W], without a copy."""
    return rows_NHWC.permute(0, 3, 1, 2)

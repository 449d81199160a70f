"""(seed, step) → batch. The whole cache is decoded once and kept as uint8; a step gathers rows.

Nothing here keeps state: resuming at a step needs the step's number only. Where several processes train together, all
is drawn for the batch of all of them, and each takes its share: the batch of a step does not depend on their number.

Shapes: N records, p input side, q = s·p output side, C = 3.
"""

import os
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from dukd_cache.errors import SettingError
from dukd_cache.manifest import View
from dukd_cache.progress import progress
from dukd_cache.reader import Cache
from dukd_cache.record import Record
from dukd_cache.symmetries import apply
from dukd_train.augment import draw
from dukd_train.config import Augment
from dukd_train.losses import Target

_VIEW_STREAM: dict[View, int] = {"base": 0, "zoom_in": 1, "zoom_out": 2}


@dataclass(frozen=True)
class Batch:
    """Records of one view: inputs u8 [N,C,p,p], targets u8 or f16 [N,C,q,q]."""

    input: Tensor
    targets: dict[Target, Tensor]


@dataclass(frozen=True)
class Rows:
    """All records of one view in memory: inputs u8 [N,p,p,C], targets u8 or f16 [N,q,q,C].

    Channels lie last, as decoded: gathered rows are then `channels_last` without a copy.
    """

    input: Tensor
    targets: dict[Target, Tensor]

    def __len__(self) -> int:
        return len(self.input)

    def gather(self, indices: Tensor) -> Batch:
        """The records at `indices` [N]."""
        chosen = indices.to(self.input.device)
        return Batch(
            _channels_first(self.input.index_select(0, chosen)),
            {name: _channels_first(rows.index_select(0, chosen)) for name, rows in self.targets.items()},
        )


def load_rows(cache: Cache, view: View, targets: Collection[Target], device: torch.device) -> Rows:
    """Decode all records of `view`, on all cores, and keep what a method reads of them on `device`."""
    count = cache.count(view)
    first = _wanted(cache.read(view, 0), targets)
    arrays = {name: np.empty((count, *pixels.shape), pixels.dtype) for name, pixels in first.items()}

    def fill(index: int) -> None:
        for name, pixels in _wanted(cache.read(view, index), targets).items():
            arrays[name][index] = pixels

    with progress(f"loading {view}", count, "records") as advance, ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(fill, range(count)):
            advance(1)
    tensors = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
    return Rows(tensors.pop("input"), {name: tensors[name] for name in targets})


@dataclass(frozen=True)
class Batches:
    """The batch of every step, of every view that a method reads.

    Raises:
        SettingError: `batch` records cannot be shared evenly among `world` processes.
    """

    rows: dict[View, Rows]
    scale: int
    batch: int
    """Records of a view in a step, in all processes together."""
    patch: int | None
    """Side of the inputs to cut out of the cached ones; None: the whole of them."""
    augment: Augment
    seed: int
    rank: int = 0
    """Which of the processes that train together this is, 0 ≤ rank < world."""
    world: int = 1
    """How many they are."""

    def __post_init__(self) -> None:
        if self.batch % self.world:
            # Each process takes the mean over its own share, and gradients are the mean of those.
            raise SettingError(f"batch {self.batch}: cannot be shared evenly among {self.world} processes")

    def at(self, step: int) -> dict[View, Batch]:
        """This process's share of the augmented batch of `step`, which is a pure function of (seed, step).

        Rank after rank, the shares are the batch that one process alone would train on.
        """
        return {view: self._of(view, rows, step) for view, rows in self.rows.items()}

    def _of(self, view: View, rows: Rows, step: int) -> Batch:
        mine = slice(self.rank * self.batch // self.world, (self.rank + 1) * self.batch // self.world)
        found = rows.gather(torch.from_numpy(positions(self.seed, view, step, self.batch, len(rows))[mine]))
        rng = _generator(self.seed, 1 + _VIEW_STREAM[view], step)
        if self.patch and self.patch < found.input.shape[-1]:
            free = found.input.shape[-1] - self.patch + 1
            found = _cropped(found, rng.integers(free, size=(self.batch, 2))[mine], self.patch, self.scale)
        chances = self.augment.base if view == "base" else self.augment.zoom
        how = draw(self.batch, chances, rng)[mine]
        return Batch(
            apply(how, found.input),
            {name: apply(how, target) for name, target in found.targets.items()},
        )


def positions(seed: int, view: View, step: int, batch: int, count: int) -> np.ndarray:
    """Which of `count` records `step` reads, int64 [batch]: every epoch is a new permutation of all of them."""
    wanted = np.arange(step * batch, (step + 1) * batch)
    epochs, places = np.divmod(wanted, count)
    return np.array(
        [_permutation(seed, view, int(epoch), count)[place] for epoch, place in zip(epochs, places, strict=True)]
    )


def step_seed(seed: int, step: int) -> int:
    """For what a student draws itself in `step`, like the paths that SwinIR drops: 0 ≤ it < 2⁶³."""
    return int(_generator(seed, 2001, step).integers(2**63))


@lru_cache(maxsize=8)
def _permutation(seed: int, view: View, epoch: int, count: int) -> np.ndarray:
    return _generator(seed, 1001 + _VIEW_STREAM[view], epoch).permutation(count)


def _generator(seed: int, stream: int, counter: int) -> np.random.Generator:
    """Counter-based: the same numbers for the same (seed, stream, counter), whatever was drawn before."""
    return np.random.Generator(np.random.Philox(key=np.array([seed, stream * 2**40 + counter], np.uint64)))


def _cropped(found: Batch, corners_N2: np.ndarray, patch: int, scale: int) -> Batch:
    """Squares of `patch` input pixels, from the given corners (y, x)."""

    def cut(images_NCHH: Tensor, factor: int) -> Tensor:
        side = patch * factor
        return torch.stack(
            [
                image[:, y * factor : y * factor + side, x * factor : x * factor + side]
                for image, (y, x) in zip(images_NCHH, corners_N2.tolist(), strict=True)
            ]
        )

    return replace(
        found,
        input=cut(found.input, 1),
        targets={name: cut(target, scale) for name, target in found.targets.items()},
    )


def _wanted(record: Record, targets: Collection[Target]) -> dict[str, np.ndarray]:
    return {"input": record.input} | {name: getattr(record, name) for name in targets}


def _channels_first(rows_NHWC: Tensor) -> Tensor:
    return rows_NHWC.permute(0, 3, 1, 2)

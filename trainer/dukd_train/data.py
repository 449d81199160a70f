"""(seed, step) → batch: the same from memory and from the disk, for any number of workers and processes."""

from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass

import torch
from torch import Tensor

from dukd_cache.manifest import View
from dukd_cache.prefetch import prefetch
from dukd_cache.symmetries import apply
from dukd_train.augment import draw
from dukd_train.config import Augment
from dukd_train.order import Order
from dukd_train.rows import Batch, Rows, StreamedRows
from dukd_train.workers import read_ahead

_BATCHES_AHEAD = 2
"""Ready on the device."""


@dataclass(frozen=True)
class Batches:
    """The batch of every step, of every view that a method reads."""

    rows: Mapping[View, Rows]
    order: Order
    augment: Augment
    device: torch.device
    """Where batches are wanted, and augmented."""
    workers: int = 0
    """Processes that read ahead what is not in memory; 0: this one does."""

    def at(self, step: int) -> dict[View, Batch]:
        """This process's share of the augmented batch of `step`, which is a pure function of (seed, step).

        Rank after rank, the shares are the batch that one process alone would train on.
        """
        return self._finished(step, self._gathered(step))

    def ahead(self, start: int, stop: int) -> Generator[tuple[int, dict[View, Batch]], None, None]:
        """`at` of every step from `start` to `stop`, with its number, made ready while earlier ones are used."""
        return prefetch(self._in_order(range(start, stop)), _BATCHES_AHEAD)

    def _in_order(self, steps: range) -> Generator[tuple[int, dict[View, Batch]], None, None]:
        streamed = {view: rows for view, rows in self.rows.items() if isinstance(rows, StreamedRows)}
        if self.workers and streamed:
            with closing(read_ahead(streamed, self.order, steps, self.workers)) as found:
                for step, pixels in zip(steps, found, strict=True):
                    yield step, self._finished(step, {view: each.batch() for view, each in pixels.items()})
        else:
            for step in steps:
                yield step, self.at(step)

    def _gathered(self, step: int) -> dict[View, Batch]:
        return {view: rows.gather(self.order.draw(view, step, len(rows))[0]) for view, rows in self.rows.items()}

    def _finished(self, step: int, gathered: dict[View, Batch]) -> dict[View, Batch]:
        """On the device, augmented there."""
        return {view: self._augmented(view, step, found) for view, found in gathered.items()}

    def _augmented(self, view: View, step: int, found: Batch) -> Batch:
        _, rng = self.order.draw(view, step, len(self.rows[view]))
        chances = self.augment.base if view == "base" else self.augment.zoom
        how = draw(self.order.batch, chances, rng)[self.order.mine]
        return found.map(lambda images: apply(how, self._on_device(images)))

    def _on_device(self, images: Tensor) -> Tensor:
        if self.device.type != "cuda" or images.is_cuda:
            return images.to(self.device)
        return images.pin_memory().to(self.device, non_blocking=True)

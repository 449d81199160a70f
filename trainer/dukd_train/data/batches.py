"""(seed, step) → batch: the same from memory and from the disk, for any number of workers and processes."""

from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
import torch

from dukd_cache.pictures.symmetries import apply
from dukd_cache.system.sending import sent
from dukd_cache.system.threads import on_one_core, prefetch
from dukd_train.data.augment import draw
from dukd_train.data.mixing import VIEW, mixed
from dukd_train.data.order import Order
from dukd_train.data.rows import Batch, Pixels, Rows, StreamedRows, as_batch
from dukd_train.data.workers import read_ahead
from dukd_train.settings import Augment, Eco

_BATCHES_AHEAD = 2
"""Ready on the device."""


@dataclass(frozen=True)
class Batches:
    """The batch of every step, of every view that a method reads."""

    rows: Mapping[str, Rows]
    order: Order
    augment: Augment
    device: torch.device
    """Where batches are wanted, and augmented."""
    workers: int = 0
    """Processes that read ahead what is not in memory; 0: this one does."""
    eco: Eco = field(default_factory=Eco)
    """How `base` is mixed with the teacher's answers."""

    def at(self, step: int) -> dict[str, Batch]:
        """This process's share of the augmented batch of `step`, which is a pure function of (seed, step).

        Rank after rank, the shares are the batch that one process alone would train on.
        """
        found: dict[str, Batch] = {}
        for view, rows in self.rows.items():
            picks, rng = self.order.draw(view, step, len(rows))
            found[view] = self._augmented(view, step, rows.gather(picks), rng)
        return found

    def ahead(self, start: int, stop: int) -> Generator[tuple[int, dict[str, Batch]], None, None]:
        """`at` of every step from `start` to `stop`, with its number, made ready while earlier ones are used."""
        return prefetch(on_one_core(self._in_order(range(start, stop))), _BATCHES_AHEAD)

    def _in_order(self, steps: range) -> Generator[tuple[int, dict[str, Batch]], None, None]:
        streamed = {view: rows for view, rows in self.rows.items() if isinstance(rows, StreamedRows)}
        if self.workers and streamed:
            with closing(read_ahead(streamed, self.order, steps, self.workers)) as found:
                for step, pixels in zip(steps, found, strict=True):
                    yield step, {view: self._received(view, step, each) for view, each in pixels.items()}
        else:
            for step in steps:
                yield step, self.at(step)

    def _received(self, view: str, step: int, pixels: Pixels) -> Batch:
        _, rng = self.order.draw(view, step, len(self.rows[view]))
        return self._augmented(view, step, as_batch(pixels), rng)

    def _augmented(self, view: str, step: int, found: Batch, rng: np.random.Generator) -> Batch:
        """On the device, augmented and mixed there."""
        how = draw(self.order.batch, self.augment.of(view), rng)[self.order.mine]
        augmented = {name: apply(how, sent(images, self.device)) for name, images in found.items()}
        return mixed(augmented, self.eco, step, self.order.cache.scale) if view == VIEW else augmented

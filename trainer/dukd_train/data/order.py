"""(seed, step) → which records a step reads, and which square of each. Pure functions, the same in every process.

Nothing here keeps state: resuming at a step needs the step's number only. Where several processes train together, all
is drawn for the batch of all of them, and each takes its share: the batch of a step does not depend on their number.

Shapes: N records.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from dukd_cache.format.header import Header
from dukd_cache.system.errors import SettingError
from dukd_train.data import shuffle
from dukd_train.data.shuffle import Kept, Windows, generator


@dataclass(frozen=True)
class Picks:
    """What a process reads of one view in one step."""

    indices: npt.NDArray[np.int64]
    """Of records, [N]."""
    corners: npt.NDArray[np.int64] | None
    """[N,2]: (y, x) of the left upper corner of each square, in pixels of the cached input; None: the whole of it."""
    side: int
    """Of the squares, in pixels of the input."""


@dataclass(frozen=True)
class Order:
    """Draws the batches of a run.

    Raises:
        SettingError: `batch` records cannot be shared evenly among `world` processes.
    """

    cache: Header
    """Which views there are."""
    batch: int
    """Records of a view in a step, in all processes together."""
    patch: int | None
    """Side of the inputs of `base` and `zoom_in` to cut out of the cached ones; None: the whole of them."""
    seed: int
    rank: int = 0
    """Which of the processes that train together this is, 0 ≤ rank < world."""
    world: int = 1
    """How many they are."""
    window: int | None = None
    """Shards whose records are mixed, of an epoch that reads shard after shard; None: one that mixes all records."""
    kept: Mapping[str, Kept] = field(default_factory=dict)
    """What is read of views of which records are left out."""

    def __post_init__(self) -> None:
        if self.batch % self.world:
            # Each process takes the mean over its own share, and gradients are the mean of those.
            raise SettingError(f"cannot be shared evenly among {self.world} processes", f"batch {self.batch}")

    @property
    def mine(self) -> slice:
        """This process's share of a batch: rank after rank, the shares are the whole."""
        share = self.batch // self.world
        return slice(self.rank * share, (self.rank + 1) * share)

    def side(self, view: str) -> int:
        """Side of the inputs of `view` in training, in pixels.

        A smaller `patch` takes the same part of every view's input, rounded down. The authors make `zoom_out` from the
        LR side of the training patch: its input has the side patch // s, and so it has here.

        Raises:
            SettingError: no pixel would be left.
        """
        cached = self.cache.view(view).input_side
        side = cached * self.patch // self.cache.patch if self.patch else cached
        if side == 0:
            least = -(-self.cache.patch // cached)
            raise SettingError(f"leaves nothing of the inputs of {view}, take at least {least}", f"patch {self.patch}")
        return side

    def check_patch(self, views: Iterable[str]) -> None:
        """Refuse a `patch` that leaves nothing of the inputs of one of `views`: a SettingError, see `side`."""
        for view in views:
            self.side(view)

    def draw(self, view: str, step: int, count: int) -> tuple[Picks, np.random.Generator]:
        """What this process reads of the `count` records of `view` in `step`; the generator of what else is drawn.

        From the generator, too, draw for `batch` records, and take `mine`.
        """
        info, kept = self.cache.view(view), self.kept.get(view)
        windows = Windows(info.shard_records, self.window, kept) if self.window else None
        count = len(kept) if kept else count
        chosen = positions(self.seed, info.stream, step, self.batch, count, windows, kept)[self.mine]
        chosen = kept.indices[chosen] if kept else chosen
        rng = generator(self.seed, 1 + info.stream, step)
        side, cached = self.side(view), info.input_side
        corners = rng.integers(cached - side + 1, size=(self.batch, 2))[self.mine] if side < cached else None
        return Picks(chosen, corners, side), rng


def positions(
    seed: int,
    stream: int,
    step: int,
    batch: int,
    count: int,
    windows: Windows | None = None,
    kept: Kept | None = None,
) -> npt.NDArray[np.int64]:
    """Which of `count` records that are kept `step` reads, int64 [batch]: every epoch is a new order of all of them.

    Args:
        windows: an order of shards, some mixed at a time; None: of records.
        kept: the records, where they may have weights: then some come more than once in an epoch, and some not.
    """
    epochs, places = np.divmod(np.arange(step * batch, (step + 1) * batch), count)
    found = np.empty_like(places)
    for epoch in np.unique(epochs).tolist():
        which = epochs == epoch
        order = (seed, stream, epoch, count, places[which])
        start = kept.start(seed, stream, epoch) if kept else 0
        its_own = shuffle.of_shards(*order, replace(windows, start=start)) if windows else shuffle.of_records(*order)
        found[which] = kept.of_places(its_own, start) if kept else its_own
    return found


def step_seed(seed: int, step: int) -> int:
    """For what a student draws itself in `step`, like the paths that SwinIR drops: 0 ≤ it < 2⁶³."""
    return int(generator(seed, 2001, step).integers(2**63))

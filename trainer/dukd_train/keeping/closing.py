"""What is said of a run that is finished: its scores and its weights."""

from collections.abc import Iterator
from pathlib import Path

from dukd_train.keeping.best import BEST
from dukd_train.keeping.run_folder import WEIGHTS
from dukd_train.keeping.validation import best_before, made, scores_of
from dukd_train.scoring.scores import decibels
from dukd_train.settings import TrainConfig


def closing(out: Path, config: TrainConfig, steps: int, scale: int) -> Iterator[str]:
    """Aligned lines about the finished run of `steps` steps in `out`."""
    hows = made(config.validation, scale)
    for name, (best, when) in best_before(out, config.validation, scale, steps + 1).items():
        last = scores_of(out, name, "psnr_y", hows[name]).get(steps)
        former = f" (best {decibels(best)} at {when:,})" if when < steps else ""
        yield f"scores    {name} {'exact' if last is None else decibels(last)}{former}"
    kept = f"; of the best validation: {BEST}" if (out / BEST).is_file() else ""
    yield f"weights   {out / WEIGHTS}{kept}"

"""The course of a run for TensorBoard: `tensorboard --logdir runs`."""

from collections.abc import Mapping
from contextlib import ExitStack

from dukd_cache.settings.model import dump
from dukd_cache.system.errors import SettingError
from dukd_train.scoring.scores import Score
from dukd_train.watching.observers import Observer, Row, Start
from dukd_train.watching.tracked import row_values, score_values

FOLDER = "tensorboard"
"""In the run folder."""

_FLUSH_SECONDS = 10


class TensorBoard(Observer):
    """Losses, rate, speed and scores as scalars, and the settings as text.

    Raises:
        SettingError: TensorBoard is not installed.
    """

    def __init__(self) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise SettingError(f"pip install tensorboard ({error})", "logging.tensorboard") from error
        self._open = SummaryWriter
        self._ended = ExitStack()

    def started(self, start: Start) -> None:
        # What earlier sittings wrote of this step and later ones is hidden: it will be told again.
        folder = str(start.folder / FOLDER)
        self._writer = self._open(folder, purge_step=start.losses_from, flush_secs=_FLUSH_SECONDS)
        self._ended.callback(self._writer.close)
        self._writer.add_text("settings", f"    {dump(start.config)}".replace("\n", "\n    "), start.step)

    def logged(self, row: Row) -> None:
        for name, value in row_values(row).items():
            self._writer.add_scalar(name, value, row.step)

    def scored(self, step: int, scores: Mapping[str, Score]) -> None:
        for name, value in score_values(scores).items():
            self._writer.add_scalar(name, value, step)

    def ended(self, step: int) -> None:  # noqa: ARG002
        self._ended.close()

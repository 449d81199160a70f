"""The course of a run for TensorBoard: `tensorboard --logdir runs`."""

from collections.abc import Mapping

from dukd_cache.settings.model import dump
from dukd_cache.system.errors import SettingError
from dukd_cache.system.extras import needs
from dukd_train.watching.observers import Start
from dukd_train.watching.tracked import Tracker

FOLDER = "tensorboard"
"""In the run folder."""

_FLUSH_SECONDS = 10


class TensorBoard(Tracker):
    """Losses, rate, speed and scores as scalars, and the settings as text.

    Raises:
        SettingError: TensorBoard is not installed.
    """

    def __init__(self) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise SettingError(f"{needs('tensorboard')} ({error})", "logging.tensorboard") from error
        super().__init__()
        self._open = SummaryWriter

    def started(self, start: Start) -> None:
        # What earlier sittings wrote of this step and later ones is hidden: it will be told again.
        folder = str(start.folder / FOLDER)
        self._writer = self._open(folder, purge_step=start.losses_from, flush_secs=_FLUSH_SECONDS)
        self.closing.callback(self._writer.close)
        self._writer.add_text("settings", f"    {dump(start.config)}".replace("\n", "\n    "), start.step)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

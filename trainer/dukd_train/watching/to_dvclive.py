"""The course of a run for DVC (`dvc exp show`, `dvc plots`): DVCLive's files in the run folder's `dvclive`."""

import os
from collections.abc import Mapping
from pathlib import Path

from dukd_cache.system.errors import SettingError
from dukd_cache.system.extras import needs
from dukd_cache.system.files import write_atomically
from dukd_train.watching.observers import Start
from dukd_train.watching.tracked import Tracker

FOLDER = "dvclive"
"""In the run folder."""

_IN_A_PIPELINE = "DVC_ROOT"
"""Set by DVC for the commands of its stages; their `dvc.yaml` says itself what is a metric."""

_DVC_YAML = b"params: [params.yaml]\nmetrics: [metrics.json]\nplots:\n- plots/metrics: {x: step}\n"
"""Where DVC finds them outside of a pipeline; DVCLive's own grows by a copy of itself with every row."""


class DvcLive(Tracker):
    """Losses, rate, speed and scores as metrics, and the settings as parameters.

    Raises:
        SettingError: DVCLive is not installed.
    """

    def __init__(self) -> None:
        try:
            from dvclive.live import Live
        except ImportError as error:
            raise SettingError(f"{needs('dvclive')} ({error})", "logging.dvclive") from error
        super().__init__()
        self._open = Live

    def started(self, start: Start) -> None:
        folder = start.folder / FOLDER
        _make_own(folder)
        forget(folder, start.losses_from)
        self._live = self._open(str(folder), resume=start.step > 0, save_dvc_exp=False, dvcyaml=None)
        self.closing.callback(self._live.end)
        if not os.environ.get(_IN_A_PIPELINE):
            write_atomically(folder / "dvc.yaml", _DVC_YAML)
        self._live.log_params(start.config.model_dump(mode="json"))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._live.step = step
        for name, value in values.items():
            self._live.log_metric(name, value)
        self._live.sync()  # type: ignore[no-untyped-call]


def _make_own(folder: Path) -> None:
    """Let go of bytes that others hold, too: DVC may check out links to its cache, and DVCLive writes in place."""
    for path in folder.rglob("*"):
        if path.is_file() and (path.is_symlink() or path.stat().st_nlink > 1):
            write_atomically(path, path.read_bytes())


def forget(folder: Path, step: int) -> None:
    """Drop what was written of `step` and of later ones: it will be told again."""
    for path in folder.glob("plots/metrics/**/*.tsv"):
        heading, *rows = path.read_text(encoding="utf-8").splitlines(keepends=True)
        at = heading.rstrip().split("\t").index("step")
        kept = [row for row in rows if int(row.split("\t")[at]) < step]
        write_atomically(path, "".join([heading, *kept]).encode())

"""`validation.csv`: scores of the averaged student on named sets, while it is trained."""

from collections.abc import Mapping
from pathlib import Path

import torch

from dukd_cache.errors import SettingError
from dukd_cache.images import LrFolder
from dukd_cache.networks import Network
from dukd_train.journal import append_row, columns_of, keep_rows_before
from dukd_train.observers import Observer, Start
from dukd_train.scoring.evaluate import ImagePair, network_mean, pair_images
from dukd_train.scoring.inference import Inference, prepared
from dukd_train.scoring.scores import MetricName, Score, scorer
from dukd_train.settings.config import Validation

VALIDATION = "validation.csv"

_SHOWN: MetricName = "psnr_y"
"""By displays and curves."""


class Validator:
    """Scores a network on the sets of a config: the same scores for the same weights, whenever it is asked.

    Raises:
        ImageError: a set holds no images.
        SettingError: a metric is not to be had, or psnr_y is not among them.
    """

    def __init__(self, validation: Validation, scale: int, device: torch.device) -> None:
        if _SHOWN not in validation.metrics:
            raise SettingError(f"setting validation.metrics: expected {_SHOWN} among them, as curves show it")
        self._how = Inference(validation.tile, validation.tile_overlap, validation.self_ensemble)
        self._pairs: dict[str, list[ImagePair]] = {
            name: pair_images(images.hr, scale, LrFolder(images.lr) if images.lr else None)
            for name, images in validation.sets.items()
        }
        self._score = scorer(validation.metrics, device)

    def score(self, network: Network) -> dict[str, Score]:
        """The mean score of each set; `network` is asked where its parameters are, and left in eval mode."""
        asked = prepared(network, self._how)
        return {name: network_mean(asked, pairs, self._score) for name, pairs in self._pairs.items()}


class ValidationFile(Observer):
    """Writes `validation.csv`: step, set, and a column for each metric that is, or was, computed."""

    def __init__(self, run: Path) -> None:
        self._path = run / VALIDATION
        self._columns: tuple[str, ...] = ()

    def started(self, start: Start) -> None:
        """Drop the rows that will be told again."""
        columns = ("step", "set", *start.config.validation.metrics)
        self._columns = tuple(dict.fromkeys((*columns_of(self._path), *columns)))
        keep_rows_before(self._path, self._columns, start.step)

    def scored(self, step: int, scores: Mapping[str, Score]) -> None:
        """Add a row for each set."""
        for name, mean in scores.items():
            row: dict[str, object] = {"step": step, "set": name}
            append_row(self._path, self._columns, row | {metric: written(metric, mean[metric]) for metric in mean})


def written(metric: str, value: float) -> str:
    """A score as the file holds it, and as it is compared with others: 0.0001 dB, or five digits."""
    return f"{value:.4f}" if metric in ("psnr_y", "psnr") else f"{value:.5f}"

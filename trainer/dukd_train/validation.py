"""`validation.csv`: scores of the averaged student on named sets, while it is trained."""

from collections.abc import Mapping
from pathlib import Path

from dukd_cache.images import LrFolder
from dukd_cache.networks import Network
from dukd_train.config import ImageSet
from dukd_train.evaluate import ImagePair, evaluate, pair_images
from dukd_train.journal import append_row, keep_rows_before
from dukd_train.observers import Observer, Start
from dukd_train.scores import Score

VALIDATION = "validation.csv"
COLUMNS = ("step", "set", "psnr_y", "ssim_y")


class Validator:
    """Scores a network on the sets of a config.

    Raises:
        ImageError: a set holds no images.
    """

    def __init__(self, sets: dict[str, ImageSet], scale: int) -> None:
        self._pairs: dict[str, list[ImagePair]] = {
            name: pair_images(images.hr, scale, LrFolder(images.lr) if images.lr else None)
            for name, images in sets.items()
        }

    def score(self, network: Network) -> dict[str, Score]:
        """The mean score of each set."""
        return {name: evaluate(network, pairs).means.network for name, pairs in self._pairs.items()}


class ValidationFile(Observer):
    """Writes `validation.csv`."""

    def __init__(self, run: Path) -> None:
        self._path = run / VALIDATION

    def started(self, start: Start) -> None:
        """Drop the rows that will be told again."""
        keep_rows_before(self._path, COLUMNS, start.step)

    def scored(self, step: int, scores: Mapping[str, Score]) -> None:
        """Add a row for each set."""
        for name, mean in scores.items():
            row = {"step": step, "set": name, "psnr_y": f"{mean['psnr_y']:.4f}", "ssim_y": f"{mean['ssim_y']:.5f}"}
            append_row(self._path, COLUMNS, row)

"""`validation.csv`: scores of the averaged student on named sets, while it is trained."""

from pathlib import Path

from dukd_cache.images import LrFolder
from dukd_cache.networks import Network
from dukd_train.config import ImageSet
from dukd_train.evaluate import ImagePair, evaluate, pair_images
from dukd_train.journal import append_row, keep_rows_until

VALIDATION = "validation.csv"
COLUMNS = ("step", "set", "psnr_y", "ssim_y")


class Validator:
    """Scores a network on the sets of a config.

    Raises:
        ImageError: a set holds no images.
    """

    def __init__(self, run: Path, sets: dict[str, ImageSet], scale: int) -> None:
        self._path = run / VALIDATION
        self._pairs: dict[str, list[ImagePair]] = {
            name: pair_images(images.hr, scale, LrFolder(images.lr) if images.lr else None)
            for name, images in sets.items()
        }

    def keep_until(self, step: int) -> None:
        """Drop rows that a run resumed at `step` will write again."""
        keep_rows_until(self._path, COLUMNS, step)

    def score(self, network: Network, step: int) -> dict[str, float]:
        """Add a row for each set; return PSNR-Y in dB by set."""
        found: dict[str, float] = {}
        for name, pairs in self._pairs.items():
            mean = evaluate(network, pairs).means.network
            row = {"step": step, "set": name, "psnr_y": f"{mean.psnr_y:.4f}", "ssim_y": f"{mean.ssim_y:.5f}"}
            append_row(self._path, COLUMNS, row)
            found[name] = mean.psnr_y
        return found

"""A weights file on a folder of images → scores and their table."""

from pathlib import Path

from dukd_cache import networks
from dukd_cache.devices import choose_device
from dukd_cache.errors import WeightsError
from dukd_cache.images import LrFolder
from dukd_cache.progress import progress
from dukd_train.evaluate import Evaluation, ImageScore, evaluate, pair_images


def score_weights(weights: Path, hr: Path, lr: LrFolder | None, scale: int | None, device: str) -> Evaluation:
    """Score the network in `weights` on the images below `hr`.

    Raises:
        WeightsError: the file holds no SR network, or one of another scale than `scale`.
        ImageError: an image cannot be used.
    """
    network = networks.load(weights).to(choose_device(device))
    if scale not in (None, network.scale):
        raise WeightsError(f"{weights}: expected a network of scale {scale}, found one of scale {network.scale}")
    pairs = pair_images(hr, network.scale, lr)
    with progress("scoring", len(pairs), "images") as advance:
        return evaluate(network, pairs, lambda _scored: advance(1))


def table(scores: Evaluation) -> str:
    """Image by image and the mean, the network beside bicubic."""
    width = max(len(image.name) for image in (*scores.images, scores.means))
    heading = f"{'image':{width}}   PSNR-Y   SSIM-Y    bicubic PSNR-Y   SSIM-Y"
    return "\n".join([heading, *(_row(image, width) for image in (*scores.images, scores.means))])


def _row(image: ImageScore, width: int) -> str:
    network, bicubic = image.network, image.bicubic
    return (
        f"{image.name:{width}}  {network.psnr_y:7.3f}  {network.ssim_y:7.4f}    "
        f"{bicubic.psnr_y:14.3f}  {bicubic.ssim_y:7.4f}"
    )

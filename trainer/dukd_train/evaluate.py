"""A network on image pairs → scores, as the benchmarks define them: whole images, 8 bits, luma.

Legend of tensor names: N images (here always 1), C=3, H and W the LR image's sides.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Protocol

import torch
from torch import Tensor, nn

from dukd_cache.degrade import upscale
from dukd_cache.errors import ImageError
from dukd_cache.images import LrFolder, Scene, find_images, read_scene, refuse_shared_lr
from dukd_train.metrics import U8, psnr_y, ssim_y


class SuperResolver(Protocol):
    """What is evaluated. A `dukd_cache.networks.Network` is one; so is any function with a `scale`."""

    @property
    def scale(self) -> int: ...

    def __call__(self, image_NCHW: Tensor, /) -> Tensor:
        """RGB in [0,1], float32 [N,C,H,W] → [N,C,scale·H,scale·W]."""
        ...


@dataclass(frozen=True)
class Score:
    """How near a picture, or the mean of many, comes to the truth."""

    psnr_y: float
    """dB."""
    ssim_y: float


@dataclass(frozen=True)
class ImageScore:
    """The scores of a network and of the bicubic enlargement on one image."""

    name: str
    network: Score
    bicubic: Score


@dataclass(frozen=True)
class Evaluation:
    """The scores of a network on a set of images."""

    images: tuple[ImageScore, ...]

    @property
    def means(self) -> ImageScore:
        """The means over the images."""
        network, bicubic = (image.network for image in self.images), (image.bicubic for image in self.images)
        return ImageScore("mean", mean_score([*network]), mean_score([*bicubic]))

    def to_json(self) -> str:
        """`{"mean": {"network": {"psnr_y": …, "ssim_y": …}, "bicubic": …}, "images": {name: …}}`.

        An infinite PSNR becomes null.
        """
        images = {image.name: _plain(image) for image in self.images}
        return json.dumps({"mean": _plain(self.means), "images": images}, indent=2, ensure_ascii=False) + "\n"


@dataclass(frozen=True)
class ImagePair:
    """An HR image and the LR image that goes with it, on disk."""

    name: str
    """Path of the HR file below its folder, without its suffix."""
    hr: Path
    lr: Path | None
    """The LR file, or none where the LR image is made by `dukd_cache.degrade.downscale`."""
    scale: int

    def read(self) -> Scene:
        """The pixels of both.

        Raises:
            ImageError: a file cannot be decoded, or the LR image is not HR ÷ scale.
        """
        return read_scene(self.hr, self.lr, self.scale)


def pair_images(hr: Path, scale: int, lr: LrFolder | None = None) -> list[ImagePair]:
    """All images below `hr`, each with its LR file where an LR folder is given. Pixels are not read yet.

    Raises:
        ImageError: `hr` holds no image, an LR file is missing, or would serve two images.
        SettingError: the LR folder's template names something else than stem and scale.
    """
    pairs = [
        ImagePair(
            name=path.relative_to(hr).with_suffix("").as_posix(),
            hr=path,
            lr=lr.find(path.relative_to(hr), scale) if lr else None,
            scale=scale,
        )
        for path in find_images(hr)
    ]
    refuse_shared_lr((pair.hr.relative_to(hr).as_posix(), pair.lr) for pair in pairs)
    return pairs


def super_resolve(network: SuperResolver, lr: U8) -> U8:
    """The network's answer to one LR image u8 [H,W,3], clamped and rounded: u8 [scale·H,scale·W,3].

    Runs on the device of the network's parameters, without gradients.
    """
    lr_1CHW = torch.tensor(lr, device=_device_of(network)).permute(2, 0, 1)[None].float() / 255.0
    with torch.no_grad():
        answer_1Cqq = network(lr_1CHW)
    levels_HWC = answer_1Cqq[0].permute(1, 2, 0).float().clamp(0.0, 1.0).mul(255.0).round()
    answer: U8 = levels_HWC.to(torch.uint8).cpu().numpy()
    return answer


def score(image: U8, truth: U8, scale: int) -> Score:
    """How near `image` comes to `truth`, both u8 [H,W,3], without the `scale` pixels next to the border.

    Raises:
        ImageError: the sizes differ, or are too small for SSIM's window.
    """
    return Score(psnr_y(image, truth, scale), ssim_y(image, truth, scale))


def evaluate(
    network: SuperResolver,
    pairs: Sequence[ImagePair],
    on_image: Callable[[ImageScore], None] = lambda _scored: None,
) -> Evaluation:
    """Score a network on image pairs, one image at a time.

    Args:
        network: enlarges by the scale of the pairs.
        pairs: see `pair_images`; pixels are read when their turn comes.
        on_image: told of each image when it is scored.

    Raises:
        ImageError: there is no pair, or an image of one cannot be used.
    """
    if not pairs:
        raise ImageError("no images to evaluate on")
    images: list[ImageScore] = []
    for pair in pairs:
        scene = pair.read()
        try:
            answer = score(super_resolve(network, scene.lr), scene.hr, pair.scale)
            bicubic = score(upscale(scene.lr, pair.scale), scene.hr, pair.scale)
        except ImageError as error:
            raise ImageError(f"{pair.hr}: {error}") from error
        images.append(ImageScore(pair.name, answer, bicubic))
        on_image(images[-1])
    return Evaluation(tuple(images))


def mean_score(scores: Sequence[Score]) -> Score:
    """The mean of each score: PSNRs are averaged in dB, as in all published tables."""
    return Score(fmean(each.psnr_y for each in scores), fmean(each.ssim_y for each in scores))


def plain_score(score: Score) -> dict[str, float | None]:
    """For JSON, which knows no infinity: null in its place."""
    return {metric: value if math.isfinite(value) else None for metric, value in asdict(score).items()}


def _plain(scored: ImageScore) -> dict[str, dict[str, float | None]]:
    return {"network": plain_score(scored.network), "bicubic": plain_score(scored.bicubic)}


def _device_of(network: SuperResolver) -> torch.device:
    module = network if isinstance(network, nn.Module) else getattr(network, "module", None)
    parameters = module.parameters() if isinstance(module, nn.Module) else iter(())
    return next((parameter.device for parameter in parameters), torch.device("cpu"))

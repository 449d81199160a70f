"""A network on image pairs → scores, as the benchmarks define them: whole images, 8 bits."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dukd_cache.degrade import upscale
from dukd_cache.errors import ImageError
from dukd_cache.images import LrFolder, Scene, find_images, read_scene, refuse_shared_lr
from dukd_train.scoring.inference import super_resolve
from dukd_train.scoring.scores import Score, Scorer, mean_score, plain_score, usual_score
from dukd_train.scoring.super_resolver import SuperResolver


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
        return ImageScore("mean", mean_score(network), mean_score(bicubic))

    def to_json(self) -> dict[str, Any]:
        """`{"mean": {"network": {"psnr_y": …, "ssim_y": …}, "bicubic": …}, "images": {name: …}}`, JSON-able.

        An infinite PSNR becomes null.
        """
        return {"mean": _plain(self.means), "images": {image.name: _plain(image) for image in self.images}}


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


def evaluate(
    network: SuperResolver,
    pairs: Sequence[ImagePair],
    score: Scorer = usual_score,
    on_image: Callable[[ImageScore], None] = lambda _scored: None,
) -> Evaluation:
    """Score a network on image pairs, one image at a time.

    Args:
        network: enlarges by the scale of the pairs.
        pairs: see `pair_images`; pixels are read when their turn comes. The border left out is their scale.
        score: how; PSNR-Y and SSIM-Y by default.
        on_image: told of each image when it is scored.

    Raises:
        ImageError: there is no pair, or an image of one cannot be used.
    """
    images: list[ImageScore] = []
    for pair, scene in _read(pairs):
        with _named(pair):
            answer = score(super_resolve(network, scene.lr), scene.hr, pair.scale)
            bicubic = score(upscale(scene.lr, pair.scale), scene.hr, pair.scale)
        images.append(ImageScore(pair.name, answer, bicubic))
        on_image(images[-1])
    return Evaluation(tuple(images))


def network_mean(network: SuperResolver, pairs: Sequence[ImagePair], score: Scorer = usual_score) -> Score:
    """The network's means in `evaluate`, without the time that scoring the bicubic enlargement takes.

    Raises:
        ImageError: as `evaluate`.
    """
    scores: list[Score] = []
    for pair, scene in _read(pairs):
        with _named(pair):
            scores.append(score(super_resolve(network, scene.lr), scene.hr, pair.scale))
    return mean_score(scores)


def _read(pairs: Sequence[ImagePair]) -> Iterator[tuple[ImagePair, Scene]]:
    if not pairs:
        raise ImageError("no images to evaluate on")
    for pair in pairs:
        yield pair, pair.read()


@contextmanager
def _named(pair: ImagePair) -> Iterator[None]:
    """An `ImageError` in the block says of which image it is."""
    try:
        yield
    except ImageError as error:
        raise ImageError(f"{pair.hr}: {error}") from error


def _plain(scored: ImageScore) -> dict[str, dict[str, float | None]]:
    return {"network": plain_score(scored.network), "bicubic": plain_score(scored.bicubic)}

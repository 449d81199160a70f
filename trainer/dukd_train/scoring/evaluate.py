"""A network on images → scores, as the benchmarks define them: whole images, 8 bits."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dukd_cache.pictures.bicubic import crop_to_scale, upscale
from dukd_cache.pictures.finding import ImageFiles, find
from dukd_cache.pictures.sources import LrFolder, read_rgb, read_scene, refuse_shared_lr
from dukd_cache.system.arrays import U8
from dukd_cache.system.errors import ImageError, SettingError, printable
from dukd_cache.system.terminal import progress
from dukd_cache.system.threads import in_threads
from dukd_train.scoring.inference import super_resolve
from dukd_train.scoring.scores import Score, Scorer, common_means, left_out, plain_score, usual_score
from dukd_train.scoring.skipped import Skipped, image_errors, skipping
from dukd_train.scoring.super_resolver import SuperResolver

_LARGE_ENOUGH = 64
"""Side of an image, less its border, that every metric can look at."""


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
    """None where all were skipped: then there are no means."""
    skipped: Skipped = field(default_factory=dict)
    """Why an image was not scored, by its name."""

    @property
    def means(self) -> ImageScore:
        """The means over the images, but for those of `left_out`; NaN where none remains."""
        return ImageScore("mean", *common_means(self._everyone))

    @property
    def left_out(self) -> dict[str, tuple[str, ...]]:
        """By metric, the images that the network or bicubic answers exactly: no mean has them."""
        return left_out(self._everyone, [image.name for image in self.images]) if self.images else {}

    def to_json(self) -> dict[str, Any]:
        """`{"mean": {"network": {"psnr_y": …, "ssim_y": …}, "bicubic": …}, "images": {name: …}, …}`, JSON-able.

        `left_out` and `skipped` are as here. An infinite PSNR becomes null.
        """
        return {
            "mean": _plain(self.means) if self.images else None,
            "left_out": {metric: [*names] for metric, names in self.left_out.items()},
            "images": {image.name: _plain(image) for image in self.images},
            "skipped": {name: str(error) for name, error in self.skipped.items()},
        }

    @property
    def _everyone(self) -> tuple[list[Score], list[Score]]:
        return [image.network for image in self.images], [image.bicubic for image in self.images]


@dataclass(frozen=True)
class Pixels:
    """An image as it is scored: `lr` u8 [h,w,3] and, where there is one, `hr` u8 [s·h,s·w,3]."""

    lr: U8
    hr: U8 | None


@dataclass(frozen=True)
class ImagePair:
    """An HR image and the LR image that goes with it, on disk; or an LR image alone."""

    name: str
    """Path of the file below its folder, without its suffix where no other image has the same."""
    hr: Path | None
    """The HR file, or none where there is an LR image only."""
    lr: Path | None
    """The LR file, or none where the LR image is made by `dukd_cache.pictures.bicubic.downscale`."""
    scale: int

    @property
    def file(self) -> Path:
        """What an error names: the HR file, or the only one."""
        file = self.hr or self.lr
        assert file is not None
        return file

    def read(self) -> Pixels:
        """The pixels of both.

        Raises:
            ImageError: a file cannot be decoded, or the LR image is not HR ÷ scale.
        """
        if self.hr is None:
            return Pixels(read_rgb(self.file), None)
        scene = read_scene(self.hr, self.lr, self.scale)
        return Pixels(scene.lr, scene.hr)

    def read_truth(self) -> U8:
        """The pixels of `read().hr`, or of the only file.

        What is wrong with the pair is told, but no LR image is made, which takes long.

        Raises:
            ImageError: as `read`.
        """
        if self.lr:
            pixels = self.read()
            return pixels.lr if pixels.hr is None else pixels.hr
        hr = read_rgb(self.file)
        with image_errors(self.file):
            return crop_to_scale(hr, self.scale)


def pair_images(
    hr: Path | None, scale: int, lr: LrFolder | None = None, skipped: Skipped | None = None
) -> list[ImagePair]:
    """All images of the folder or list `hr`, each with its LR file if there is an LR folder. Pixels are not read yet.

    Args:
        hr: None: there are no HR images, but all those in the LR folder, whatever they are called.
        skipped: gets the images without an LR file, which are left out; without it they are an error.

    Raises:
        ImageError: there is no image, an LR file is missing, or would serve two images.
        SettingError: there is no such LR folder, or no folder at all.
    """
    found = images_of(hr, lr)
    files = [path.relative_to(found.root) for path in found.paths]
    stems = [file.with_suffix("") for file in files]
    shared = Counter(stems)
    names = [
        printable((file if shared[stem] > 1 else stem).as_posix()) for file, stem in zip(files, stems, strict=True)
    ]
    if hr is None:
        return [ImagePair(name, None, path, scale) for name, path in zip(names, found.paths, strict=True)]
    pairs: dict[str, ImagePair] = {}
    for name, file, path in zip(names, files, found.paths, strict=True):
        with skipping(name, skipped):
            pairs[file.as_posix()] = ImagePair(name, path, lr.find(file, scale) if lr else None, scale)
    refuse_shared_lr((name, pair.lr) for name, pair in pairs.items())
    return [*pairs.values()]


def images_of(hr: Path | None, lr: LrFolder | None) -> ImageFiles:
    """The files that `pair_images` pairs: those of HR images, else of LR images. Raises what it does."""
    if hr is not None:
        return find(hr, besides=[lr.root] if lr else [])
    if lr is None:
        raise SettingError("`hr` is missing: a folder of HR images, or one of LR images")
    return find(lr.root)


def check_pairs(pairs: Sequence[ImagePair], score: Scorer = usual_score) -> None:
    """Read every image once, so that what would end `evaluate` after hours of training is told before them.

    Raises:
        ImageError: there is no pair, an image of one cannot be used, or is too small for a metric.
    """
    if not pairs:
        raise ImageError("no images to evaluate on")
    with progress("checking the images to score on", len(pairs), "images") as advance:
        for pair, corner in zip(pairs, in_threads(_corner, pairs), strict=True):
            with image_errors(pair.file):
                score(corner, corner if pair.hr else None, pair.scale)
            advance(1)


def _corner(pair: ImagePair) -> U8:
    """As much of a readable truth as tells whether it is large enough for every metric."""
    side = _LARGE_ENOUGH + 2 * pair.scale
    return pair.read_truth()[:side, :side].copy()


def evaluate(
    network: SuperResolver,
    pairs: Sequence[ImagePair],
    score: Scorer = usual_score,
    on_image: Callable[[str], None] = lambda _name: None,
    *,
    skip: bool = False,
    bicubic: dict[str, Score] | None = None,
) -> Evaluation:
    """Score a network on image pairs, one image at a time.

    Args:
        network: enlarges by the scale of the pairs.
        pairs: see `pair_images`; pixels are read when their turn comes. The border left out is their scale.
        score: how; PSNR-Y and SSIM-Y by default.
        on_image: told of each image when it is scored or skipped.
        skip: go on without images that cannot be used; else they are an error.
        bicubic: its scores that are known, by name of the pair; learns those of the other images.

    Raises:
        ImageError: there is no pair, or an image of one cannot be used; not with `skip`.
    """
    if not skip and not pairs:
        raise ImageError("no images to evaluate on")
    known = {} if bicubic is None else bicubic
    images: list[ImageScore] = []
    skipped: Skipped = {}
    for pair in pairs:
        with skipping(pair.name, skipped if skip else None), image_errors(pair.file, pair.lr):
            scene = pair.read()
            answer = score(super_resolve(network, scene.lr), scene.hr, pair.scale)
            if pair.name not in known:
                known[pair.name] = score(upscale(scene.lr, pair.scale), scene.hr, pair.scale)
            images.append(ImageScore(pair.name, answer, known[pair.name]))
        on_image(pair.name)
    return Evaluation(tuple(images), skipped)


def _plain(scored: ImageScore) -> dict[str, dict[str, float | None]]:
    return {"network": plain_score(scored.network), "bicubic": plain_score(scored.bicubic)}

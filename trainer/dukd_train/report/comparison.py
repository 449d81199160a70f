"""Several networks on the same images: everyone's score on every image, and the crops at which students differ most."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import median

from dukd_cache.pictures.bicubic import upscale
from dukd_cache.system.arrays import U8
from dukd_cache.system.terminal import progress
from dukd_train.report.crops import SIDE, ComparedCrop, most_different_crop
from dukd_train.scoring.evaluate import ImagePair
from dukd_train.scoring.inference import super_resolve
from dukd_train.scoring.scores import Score, Scorer, common_means, left_out
from dukd_train.scoring.skipped import Skipped, conclude, image_errors, skipping
from dukd_train.scoring.super_resolver import SuperResolver

BICUBIC, TEACHER = "bicubic", "teacher"
"""Contenders beside the runs; no run gets one of these names."""


@dataclass(frozen=True)
class Comparison:
    """What everyone made of every image."""

    metrics: tuple[str, ...]
    images: Mapping[str, tuple[str, ...]]
    """Names of the images of each set."""
    scores: Mapping[str, Mapping[str, tuple[Score, ...]]]
    """By contender and set: a score for each of `images`."""
    crops: tuple[ComparedCrop, ...]
    """Those at which the shown students differ most come first."""

    skipped: Skipped = field(default_factory=dict)
    """Images that could not be used, called set/name: they are none of `images`."""
    milliseconds: Mapping[str, float] = field(default_factory=dict)
    """That each network took for a megapixel of output, from pixels to pixels: the median over the images."""

    @cached_property
    def means(self) -> Mapping[str, Mapping[str, Score]]:
        """By set and contender, over the same images for all: those of `left_out` are missing."""
        return {name: dict(zip(self.scores, common_means(self._everyone(name)), strict=True)) for name in self.images}

    @cached_property
    def left_out(self) -> Mapping[str, Mapping[str, tuple[str, ...]]]:
        """By set and metric, the images that anyone answers exactly; sets and metrics without one are missing."""
        found = {name: left_out(self._everyone(name), images) for name, images in self.images.items()}
        return {name: images for name, images in found.items() if images}

    def mean(self, name: str, set_name: str) -> Score:
        """The mean over the images of a set; see `means`."""
        return self.means[set_name][name]

    def _everyone(self, set_name: str) -> list[tuple[Score, ...]]:
        return [of_sets[set_name] for of_sets in self.scores.values()]


def compare_networks(
    contenders: Mapping[str, SuperResolver],
    shown: Sequence[str],
    pairs: Mapping[str, Sequence[ImagePair]],
    scorer: Scorer,
    pictures: int,
    side: int = SIDE,
) -> Comparison:
    """Score every network, and bicubic, on every image; whole answers are kept for one image at a time.

    An image that cannot be used is skipped for everyone.

    Args:
        contenders: students and perhaps the teacher, by name.
        shown: the students among them that the crops are to tell apart.
        pairs: the images of each set.
        scorer: how to score them.
        pictures: at most so many crops are kept, of different images.
        side: of a crop, in pixels.

    Raises:
        ImageError: no image can be used, though there are some.
    """
    scores: dict[str, dict[str, list[Score]]] = {
        name: {set_name: [] for set_name in pairs} for name in (BICUBIC, *contenders)
    }
    images: dict[str, list[str]] = {set_name: [] for set_name in pairs}
    crops: list[ComparedCrop] = []
    skipped: Skipped = {}
    times: dict[str, list[float]] = {name: [] for name in contenders}
    if not pairs:
        return Comparison(tuple(scorer.measures), {}, {name: {} for name in scores}, ())
    with progress("comparing", sum(map(len, pairs.values())), "images") as advance:
        for set_name, set_pairs in pairs.items():
            for pair in set_pairs:
                picture = f"{set_name}/{pair.name}"
                with skipping(picture, skipped), image_errors(pair.file, pair.lr):
                    answers, truth = _answers(contenders, pair, times)
                    of_image = {name: scorer(answer, truth, pair.scale) for name, answer in answers.items()}
                    visible = {name: answers[name] for name in (BICUBIC, *shown, TEACHER) if name in answers}
                    crops.append(most_different_crop(picture, visible, shown, truth, pair.scale, side))
                    crops = sorted(crops, key=lambda crop: -crop.difference)[:pictures]
                    images[set_name].append(pair.name)
                    for name, found in of_image.items():
                        scores[name][set_name].append(found)
                advance(1)
    if not any(images.values()):
        conclude(skipped.values(), len(skipped), "compared")
    return Comparison(
        metrics=tuple(scorer.measures),
        images={set_name: tuple(names) for set_name, names in images.items() if names},
        scores={name: {at: tuple(found) for at, found in of.items() if found} for name, of in scores.items()},
        crops=tuple(crops),
        skipped=skipped,
        milliseconds={name: median(found) for name, found in times.items()},
    )


def _answers(
    contenders: Mapping[str, SuperResolver], pair: ImagePair, times: Mapping[str, list[float]]
) -> tuple[dict[str, U8], U8 | None]:
    """What everyone makes of an LR image, by name, and the truth if there is one; adds to `times`."""
    scene = pair.read()
    answers = {BICUBIC: upscale(scene.lr, pair.scale)}
    for name, network in contenders.items():
        since = time.perf_counter()
        answers[name] = answer = super_resolve(network, scene.lr)
        times[name].append((time.perf_counter() - since) * 1e9 / (answer.shape[0] * answer.shape[1]))
    return answers, scene.hr

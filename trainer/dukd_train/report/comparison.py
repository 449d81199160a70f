"""Several networks on the same images: everyone's score on every image, and the crops at which students differ most."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dukd_cache.degrade import upscale
from dukd_cache.errors import ImageError
from dukd_cache.networks import Network
from dukd_cache.progress import progress
from dukd_train.report.crops import Crop, most_different_crop
from dukd_train.scoring.evaluate import ImagePair
from dukd_train.scoring.inference import super_resolve
from dukd_train.scoring.metrics import U8
from dukd_train.scoring.scores import Score, Scorer, mean_score

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
    crops: tuple[Crop, ...]
    """Those at which the shown students differ most come first."""

    def mean(self, name: str, set_name: str) -> Score:
        """The mean over the images of a set."""
        return mean_score(self.scores[name][set_name])


def compare_networks(
    contenders: Mapping[str, Network],
    shown: Sequence[str],
    pairs: Mapping[str, Sequence[ImagePair]],
    scorer: Scorer,
    pictures: int,
) -> Comparison:
    """Score every network, and bicubic, on every image; whole answers are kept for one image at a time.

    Args:
        contenders: students and perhaps the teacher, by name.
        shown: the students among them that the crops are to tell apart.
        pairs: the images of each set.
        scorer: how to score them.
        pictures: at most so many crops are kept, of different images.

    Raises:
        ImageError: an image cannot be used.
    """
    scores: dict[str, dict[str, list[Score]]] = {
        name: {set_name: [] for set_name in pairs} for name in (BICUBIC, *contenders)
    }
    crops: list[Crop] = []
    with progress("comparing", sum(map(len, pairs.values())), "images") as advance:
        for set_name, set_pairs in pairs.items():
            for pair in set_pairs:
                answers, truth = _answers(contenders, pair)
                for name, found in _scores(scorer, answers, truth, pair).items():
                    scores[name][set_name].append(found)
                visible = {name: answers[name] for name in (BICUBIC, *shown, TEACHER) if name in answers}
                crops.append(most_different_crop(f"{set_name}/{pair.name}", visible, shown, truth, pair.scale))
                crops = sorted(crops, key=lambda crop: -crop.difference)[:pictures]
                advance(1)
    return Comparison(
        metrics=tuple(scorer.measures),
        images={set_name: tuple(pair.name for pair in set_pairs) for set_name, set_pairs in pairs.items()},
        scores={name: {at: tuple(found) for at, found in of.items()} for name, of in scores.items()},
        crops=tuple(crops),
    )


def _answers(contenders: Mapping[str, Network], pair: ImagePair) -> tuple[dict[str, U8], U8]:
    """What everyone makes of an LR image, by name, and the truth."""
    scene = pair.read()
    answers = {name: super_resolve(network, scene.lr) for name, network in contenders.items()}
    return {BICUBIC: upscale(scene.lr, pair.scale)} | answers, scene.hr


def _scores(scorer: Scorer, answers: Mapping[str, U8], truth: U8, pair: ImagePair) -> dict[str, Score]:
    try:
        return {name: scorer(answer, truth, pair.scale) for name, answer in answers.items()}
    except ImageError as error:
        raise ImageError(f"{pair.hr}: {error}") from error

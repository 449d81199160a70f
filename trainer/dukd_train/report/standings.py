"""Where each group of runs stands: its scores over the seeds, its gains over the baselines, image by image too."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from dukd_cache.system.errors import SettingError, unknown_name
from dukd_train.report.comparison import BICUBIC, Comparison
from dukd_train.report.groups import BASELINES, Group, baseline, of_another_cache
from dukd_train.report.spreads import Spread
from dukd_train.scoring.scores import Score

GAIN_DIGITS = 3
"""After the point of a gain in dB, which is smaller than what it is a difference of. What is 0 in them is a tie."""

Spreads = Mapping[str, Spread]
"""Metric → its score, or a difference of scores, over the seeds. PSNR in dB."""


@dataclass(frozen=True)
class Standing:
    """A group's scores, and what it gains, by set."""

    group: Group
    scores: Mapping[str, Spreads]
    """Of means over the set."""
    gains: Mapping[str, Mapping[str, Spreads]]
    """By baseline method and set: differences to the run of the same seed. A baseline that is not there is missing."""
    baselines: Mapping[str, Group] = field(default_factory=dict)
    """By method: whom the gains are over."""

    @property
    def elsewhere(self) -> dict[str, str]:
        """By method, the name of a baseline that was trained from another cache: perhaps of other images."""
        return {method: each.name for method, each in self.baselines.items() if of_another_cache(self.group, each)}

    def paired(self, method: str, set_name: str) -> float:
        """Mean PSNR-Y in dB of the seeds that the gains over `method` are of."""
        other, values = self.baselines.get(method, self.group), self.scores[set_name]["psnr_y"].values
        return fmean(value for seed, value in zip(self.group.seeds, values, strict=True) if seed in other.seeds)

    @property
    def pairs(self) -> list[int]:
        """How many seeds the gains are of: one number where it is the same for all baselines."""
        spreads = [of_set["psnr_y"] for gains in self.gains.values() for of_set in gains.values()]
        return [*dict.fromkeys(len(spread.values) for spread in spreads)]


@dataclass(frozen=True)
class ImageDifferences:
    """PSNR-Y in dB of a group, the mean over its seeds, less that of the baseline, for each image of a set."""

    group: str
    values: tuple[float, ...]
    """NaN for an image that the means leave out, as someone answers it exactly."""

    @property
    def wins(self) -> int:
        """Images at which the group is better, by more than tables show as 0."""
        return sum(value > 0 for value in self._told_apart)

    @property
    def ties(self) -> int:
        """Images at which it is neither better nor worse."""
        return sum(value == 0 for value in self._told_apart)

    @property
    def compared(self) -> int:
        """Images that are not left out."""
        return len(self._told_apart)

    @property
    def _told_apart(self) -> list[float]:
        return [round(value, GAIN_DIGITS) for value in self.values if not math.isnan(value)]


def standings(groups: Sequence[Group], comparison: Comparison) -> list[Standing]:
    """In the order of the groups."""
    found = []
    for group in groups:
        others = {method: other for method in BASELINES if (other := baseline(group, groups, method))}
        gains = {method: gain for method, other in others.items() if (gain := _gains(group, other, comparison))}
        scores = {name: _over_seeds(group, comparison, name) for name in comparison.images}
        found.append(Standing(group, scores, gains, {method: others[method] for method in gains}))
    return found


def best_groups(standings: Sequence[Standing], set_name: str) -> list[Standing]:
    """Those of the highest mean PSNR-Y: several where gains show no difference, none where there is no mean."""
    means = {standing.group.name: standing.scores[set_name]["psnr_y"].mean for standing in standings}
    highest = max((mean for mean in means.values() if not math.isnan(mean)), default=math.nan)
    return [standing for standing in standings if round(highest - means[standing.group.name], GAIN_DIGITS) == 0]


def choose_baseline(name: str | None, groups: Sequence[Group], contenders: Sequence[str]) -> str:
    """A group or a contender to hold everyone against: `name`, else scratch, else kd, else the first group.

    With one group alone it is bicubic.

    Raises:
        SettingError: there is nothing of that name.
    """
    valid = [*(group.name for group in groups), *contenders]
    if name is not None:
        if name not in valid:
            raise SettingError(unknown_name("run or group", name, dict.fromkeys(valid)), "`baseline`")
        return name
    if len(groups) == 1:
        return BICUBIC
    return next((group.name for method in BASELINES for group in groups if group.method == method), groups[0].name)


def image_differences(
    groups: Sequence[Group], against: str, comparison: Comparison
) -> dict[str, list[ImageDifferences]]:
    """By set: every group but the baseline itself."""
    return {
        name: [
            ImageDifferences(
                group.name,
                tuple(
                    math.nan if image in comparison.left_out.get(name, {}).get("psnr_y", ()) else ours - theirs
                    for image, ours, theirs in zip(
                        images,
                        image_means(group.name, groups, comparison, name),
                        image_means(against, groups, comparison, name),
                        strict=True,
                    )
                ),
            )
            for group in groups
            if group.name != against
        ]
        for name, images in comparison.images.items()
    }


def image_means(name: str, groups: Sequence[Group], comparison: Comparison, set_name: str) -> list[float]:
    """PSNR-Y in dB on each image of a set: of a group, the mean over its seeds, or of a single contender."""
    runs = next((group.runs for group in groups if group.name == name), ())
    of_all = [comparison.scores[contender][set_name] for contender in ([run.name for run in runs] or [name])]
    return [fmean(score["psnr_y"] for score in of_image) for of_image in zip(*of_all, strict=True)]


def _by_seed(group: Group, comparison: Comparison, set_name: str) -> dict[int, Score]:
    return {run.config.seed: comparison.mean(run.name, set_name) for run in group.runs}


def _over_seeds(group: Group, comparison: Comparison, set_name: str) -> Spreads:
    scores = _by_seed(group, comparison, set_name).values()
    return {metric: Spread(tuple(score[metric] for score in scores)) for metric in comparison.metrics}


def _gains(group: Group, other: Group, comparison: Comparison) -> dict[str, Spreads]:
    """By set; empty where the two share no seed."""
    seeds = [seed for seed in group.seeds if seed in other.seeds]
    gains: dict[str, Spreads] = {}
    for name in comparison.images if seeds else ():
        ours, theirs = _by_seed(group, comparison, name), _by_seed(other, comparison, name)
        gains[name] = {
            metric: Spread(tuple(ours[seed][metric] - theirs[seed][metric] for seed in seeds))
            for metric in comparison.metrics
        }
    return gains

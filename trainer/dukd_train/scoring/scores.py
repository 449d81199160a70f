"""Scores by the name of their metric, and what computes them.

| name | what | reported |
|---|---|---|
| `psnr_y`, `ssim_y` | of luma, as super-resolution tables have them | by default |
| `psnr`, `ssim` | of RGB | on request |
| `lpips`, `dists` | learned distances, smaller is better: `dukd_train.scoring.perceptual` | on request |
| `niqe` | how natural a picture is, without a truth; smaller is better: `dukd_train.scoring.niqe` | on request |

A picture that equals the truth has an infinite PSNR, with which no mean can be had, and one that is too small or too
flat has no NIQE. So a mean leaves out such an image of anyone whom it is compared with, and it leaves it out for
everyone: see `common_means`.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Literal, get_args

from dukd_cache.system.arrays import U8
from dukd_cache.system.errors import SettingError, unknown_name
from dukd_train.scoring import metrics

if TYPE_CHECKING:  # settings name metrics, and are to load at once
    import torch

MetricName = Literal["psnr_y", "ssim_y", "psnr", "ssim", "lpips", "dists", "niqe"]

Score = Mapping[str, float]
"""Metric → value: how near a picture, or the mean of many, comes to the truth. PSNR in dB; NaN where there is none."""

Measure = Callable[[U8, U8, int], float]
"""(image, truth, border) → score; both images u8 [H,W,3], `border` pixels along each side left out.

Those of `BLIND` look at the whole image and at nothing else, and may be NaN.
"""

USUAL: tuple[MetricName, ...] = ("psnr_y", "ssim_y")
"""What tables of super-resolution report."""

ENDLESS: frozenset[str] = frozenset({"psnr_y", "psnr"})
"""Infinite for a picture that equals the truth."""

SMALLER_IS_BETTER: frozenset[str] = frozenset({"lpips", "dists", "niqe"})

BLIND: frozenset[str] = frozenset({"niqe"})
"""Those that need no truth."""

MISSING = "–"
"""In tables: no number can be had."""

LABELS: Mapping[str, str] = {
    "psnr_y": "PSNR-Y",
    "ssim_y": "SSIM-Y",
    "psnr": "PSNR-RGB",
    "ssim": "SSIM-RGB",
    "lpips": "LPIPS",
    "dists": "DISTS",
    "niqe": "NIQE",
}
"""Headings of tables."""

_NAMED = 5
"""Images that a note names."""

_MEASURES: Mapping[str, Measure] = {
    "psnr_y": metrics.psnr_y,
    "ssim_y": metrics.ssim_y,
    "psnr": metrics.psnr,
    "ssim": metrics.ssim,
}


@dataclass(frozen=True)
class Scorer:
    """Scores one picture by several metrics."""

    measures: Mapping[str, Measure]
    """By name, in the order of the columns."""

    def __call__(self, image: U8, truth: U8 | None, border: int) -> Score:
        """How near `image` comes to `truth`, both u8 [H,W,3], without the `border` pixels along each side.

        Args:
            truth: where there is none, only the scores of `BLIND` are.

        Raises:
            ImageError: the sizes differ, or are too small for a metric.
        """
        names, compared = possible(self.measures, truth is not None), image if truth is None else truth
        return {name: self.measures[name](image, compared, border) for name in names}


def scorer(names: Sequence[MetricName] = USUAL, device: "torch.device | None" = None) -> Scorer:
    """What computes the metrics `names`; the learned ones on `device` (the CPU by default).

    Raises:
        SettingError: there is no such metric, or one needs a library or a file that is not there.
    """
    measures: dict[str, Measure] = {}
    for name in names:
        if name not in LABELS:
            raise SettingError(unknown_name("metric", name, LABELS))
        if name == "lpips" or name == "dists":
            from dukd_train.scoring import perceptual

            measures[name] = perceptual.load(name, device or "cpu")
        elif name == "niqe":
            from dukd_train.scoring import niqe

            measures[name] = niqe.load()
        else:
            measures[name] = _MEASURES[name]
    return Scorer(measures)


def possible(metrics: Iterable[str], truth: bool) -> list[str]:
    """Those of `metrics` that can be had, with a truth or without."""
    return [metric for metric in metrics if truth or metric in BLIND]


def refuse_blind(metrics: Iterable[str], subject: object, setting: str = "metrics") -> None:
    """For a set without HR images, which is called `subject`; `setting` is where the metrics come from.

    Raises:
        SettingError: all of `metrics` need them.
    """
    if not possible(metrics, truth=False):
        raise SettingError(
            f"has no HR images, and without them no {' or '.join(metrics)}", subject, f"add niqe to `{setting}`"
        )


usual_score = scorer()
"""PSNR-Y and SSIM-Y."""


def metric_names(text: str) -> tuple[MetricName, ...]:
    """`psnr_y,lpips` → its parts.

    Raises:
        SettingError: a part is no metric, or comes twice.
    """
    known: Mapping[str, MetricName] = {name: name for name in get_args(MetricName)}
    parts = [part.strip() for part in text.split(",")]
    for part in parts:
        if part not in known:
            raise SettingError(unknown_name("`metrics`", part, known))
        if parts.count(part) > 1:
            raise SettingError(f"{part} is given twice", "`metrics`")
    return tuple(known[part] for part in parts)


def is_better(metric: str, value: float, than: float) -> bool:
    """Whether `value` of `metric` is nearer to the truth. A number is better than none (NaN)."""
    if math.isnan(than):
        return not math.isnan(value)
    return value < than if metric in SMALLER_IS_BETTER else value > than


def best_of(metric: str, values: Iterable[float]) -> float:
    """The first that no other is better than; NaN where there is no number."""
    best = math.nan
    for value in values:
        if is_better(metric, value, best):
            best = value
    return best


def shown(metric: str, value: float, digits: int | None = None) -> str:
    """A score as tables print it: with three digits of a dB, four of others; `exact` for an infinite PSNR."""
    if math.isnan(value):
        return MISSING
    usual = 3 if metric in ENDLESS else 4
    return "exact" if math.isinf(value) else f"{value:.{usual if digits is None else digits}f}"


def decibels(psnr: float) -> str:
    """`29.94 dB`, `exact` or `–`."""
    text = shown("psnr_y", psnr, 2)
    return f"{text} dB" if math.isfinite(psnr) else text


def common_means(everyone: Sequence[Sequence[Score]]) -> list[Score]:
    """Everyone's mean of each score over the same images: those at which everyone's is finite; NaN if there is none.

    PSNRs are averaged in dB, as in all published tables.

    Args:
        everyone: of each network the scores of the images, in one order; at least one image, all of the same metrics.
    """
    metrics = list(everyone[0][0])
    counted = {metric: _counted(everyone, metric) for metric in metrics}
    return [
        {metric: fmean([scores[at][metric] for at in counted[metric]] or [math.nan]) for metric in metrics}
        for scores in everyone
    ]


def left_out(everyone: Sequence[Sequence[Score]], names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Of each metric the images `names` that `common_means` leaves out; {} where it leaves out none."""
    found = {
        metric: tuple(name for at, name in enumerate(names) if at not in _counted(everyone, metric))
        for metric in everyone[0][0]
    }
    return {metric: images for metric, images in found.items() if images}


def left_out_note(images: Mapping[str, Sequence[str]]) -> str:
    """`PSNR-Y means leave out 1 image that is answered exactly: flat`; empty where none is left out."""
    notes = []
    for why, blind in (("answered exactly", False), ("too small or too flat", True)):
        of_metrics = {LABELS[metric]: names for metric, names in images.items() if (metric in BLIND) is blind}
        if names := [*dict.fromkeys(name for of_metric in of_metrics.values() for name in of_metric)]:
            few = ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
            which = "1 image that is" if len(names) == 1 else f"{len(names)} images that are"
            notes.append(f"{'/'.join(of_metrics)} means leave out {which} {why}: {few}")
    return "; ".join(notes)


def plain_score(score: Score) -> dict[str, float | None]:
    """For JSON, which knows neither infinity nor NaN: null in their place."""
    return {metric: value if math.isfinite(value) else None for metric, value in score.items()}


def _counted(everyone: Sequence[Sequence[Score]], metric: str) -> list[int]:
    """Numbers of the images at which everyone's score is finite."""
    return [at for at in range(len(everyone[0])) if all(math.isfinite(scores[at][metric]) for scores in everyone)]

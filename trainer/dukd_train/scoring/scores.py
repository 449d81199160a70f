"""Scores by the name of their metric, and what computes them.

| name | what | reported |
|---|---|---|
| `psnr_y`, `ssim_y` | of luma, as super-resolution tables have them | by default |
| `psnr`, `ssim` | of RGB | on request |
| `lpips`, `dists` | learned distances, smaller is better: `dukd_train.scoring.perceptual` | on request |
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal, get_args

import torch

from dukd_cache.errors import SettingError, unknown_name
from dukd_train.scoring import metrics
from dukd_train.scoring.metrics import U8

MetricName = Literal["psnr_y", "ssim_y", "psnr", "ssim", "lpips", "dists"]

Score = Mapping[str, float]
"""Metric → value: how near a picture, or the mean of many, comes to the truth. PSNR in dB."""

Measure = Callable[[U8, U8, int], float]
"""(image, truth, border) → score; both images u8 [H,W,3], `border` pixels along each side left out."""

USUAL: tuple[MetricName, ...] = ("psnr_y", "ssim_y")
"""What tables of super-resolution report."""

SMALLER_IS_BETTER: frozenset[str] = frozenset({"lpips", "dists"})

LABELS: Mapping[str, str] = {
    "psnr_y": "PSNR-Y",
    "ssim_y": "SSIM-Y",
    "psnr": "PSNR-RGB",
    "ssim": "SSIM-RGB",
    "lpips": "LPIPS",
    "dists": "DISTS",
}
"""Headings of tables."""

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

    def __call__(self, image: U8, truth: U8, border: int) -> Score:
        """How near `image` comes to `truth`, both u8 [H,W,3], without the `border` pixels along each side.

        Raises:
            ImageError: the sizes differ, or are too small for a metric.
        """
        return {name: measure(image, truth, border) for name, measure in self.measures.items()}


def scorer(names: Sequence[MetricName] = USUAL, device: torch.device | None = None) -> Scorer:
    """What computes the metrics `names`; the learned ones on `device` (the CPU by default).

    Raises:
        SettingError: a learned metric needs a library or a weights file that is not there.
    """
    measures: dict[str, Measure] = {}
    for name in names:
        if name == "lpips" or name == "dists":
            from dukd_train.scoring import perceptual

            measures[name] = perceptual.load(name, device or torch.device("cpu"))
        else:
            measures[name] = _MEASURES[name]
    return Scorer(measures)


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
            raise SettingError(unknown_name("metric", part, known))
        if parts.count(part) > 1:
            raise SettingError(f"metric {part} is given twice")
    return tuple(known[part] for part in parts)


def is_better(metric: str, value: float, than: float) -> bool:
    """Whether `value` of `metric` is nearer to the truth."""
    return value < than if metric in SMALLER_IS_BETTER else value > than


def shown(metric: str, value: float) -> str:
    """A score as tables print it: hundredths and thousandths of a dB, or four digits."""
    return f"{value:.3f}" if metric in ("psnr_y", "psnr") else f"{value:.4f}"


def mean_score(scores: Iterable[Score]) -> Score:
    """The mean of each score: PSNRs are averaged in dB, as in all published tables."""
    listed = list(scores)
    return {metric: fmean(score[metric] for score in listed) for metric in listed[0]}


def plain_score(score: Score) -> dict[str, float | None]:
    """For JSON, which knows no infinity: null in its place."""
    return {metric: value if math.isfinite(value) else None for metric, value in score.items()}

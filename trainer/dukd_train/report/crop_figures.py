"""Crops as the page shows them: everyone's answer as a picture with its name and score."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np

from dukd_cache.system.arrays import F64
from dukd_cache.system.pages import png_uri
from dukd_train.report.comparison import BICUBIC, TEACHER, Comparison
from dukd_train.report.crops import ComparedCrop
from dukd_train.report.groups import Group
from dukd_train.scoring.metrics import luma, psnr_y
from dukd_train.scoring.scores import LABELS, shown

_LEAST_ERROR, _ALMOST_ALL = 8.0, 0.995
"""The brightest colour of an error map: so many levels at least, and of almost all errors of everyone the greatest."""


@dataclass(frozen=True)
class SeenCrop:
    """A crop as one contender sees it."""

    name: str
    note: str
    image: str
    """A `data:` address."""
    psnr_y: float | None
    """dB, of the crop; none of the truth, nor without one."""
    best: bool
    """No other student comes nearer to the truth."""
    error: str = ""
    """Where it errs, brighter for more, as a `data:` address; empty without a truth, and of the truth."""


@dataclass(frozen=True)
class CropFigure:
    """A square of a picture, and everyone's answer."""

    crop: ComparedCrop
    context: str
    tiles: list[SeenCrop]
    brightest: float
    """Levels of luma, of 255, from which on errors are shown alike."""


def crop_figure(crop: ComparedCrop, groups: Sequence[Group], photographs: Comparison | None = None) -> CropFigure:
    """`crop` with a picture of each answer; with what else `photographs` says of the whole picture."""
    owners = {run.name: (group, run) for group in groups for run in group.runs}
    psnrs = {name: psnr_y(answer, crop.truth, 0) for name, answer in crop.answers.items() if crop.truth is not None}
    students = [psnr for name, psnr in psnrs.items() if name not in (BICUBIC, TEACHER)]
    best = max(students) if len({*students}) > 1 else None  # of equals none is the best
    errors = {
        name: np.abs(luma(answer) - luma(crop.truth)) for name, answer in crop.answers.items() if crop.truth is not None
    }
    brightest = max([_LEAST_ERROR, *(float(np.quantile(error, _ALMOST_ALL)) for error in errors.values())])
    tiles = []
    for name, answer in crop.answers.items():
        group, run = owners.get(name, (None, None))
        several = group is not None and run is not None and len(group.runs) > 1 and len(groups) > 1
        label, note = (group.name, f"seed {run.config.seed}") if group and run and several else (name, "")
        psnr = psnrs.get(name)
        notes = [note, *(_scores_on(crop.picture, name, photographs) if photographs else ())]
        best_one = name in owners and psnr is not None and psnr == best
        error = _error_map(errors[name] / brightest) if name in errors else ""
        tiles.append(SeenCrop(label, ", ".join(filter(None, notes)), png_uri(answer), psnr, best_one, error))
    if crop.truth is not None:
        tiles.append(SeenCrop("truth", "", png_uri(crop.truth), None, False))
    return CropFigure(crop, png_uri(crop.context), tiles, brightest)


def _scores_on(picture: str, contender: str, photographs: Comparison) -> list[str]:
    """`NIQE 4.53`, of the whole picture."""
    set_name = next(name for name in photographs.images if picture.startswith(f"{name}/"))
    at = photographs.images[set_name].index(picture.removeprefix(f"{set_name}/"))
    scores = photographs.scores[contender][set_name][at]
    return [f"{LABELS[metric]} {shown(metric, value, 2)}" for metric, value in scores.items()]


def _error_map(shares_HW: F64) -> str:
    """Errors as shares of the brightest."""
    return png_uri((mpl.colormaps["inferno"](shares_HW)[..., :3] * 255).round().astype(np.uint8))

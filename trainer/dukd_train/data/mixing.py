"""ECO: in early steps the student sees pairs that the teacher made, which agree with each other; later the real ones.

With α rising with the step, a record's input x becomes lerp(↓T(x), x, α) and its truth y becomes lerp(T(x), y, α);
T(x) is the cached answer, or the mean of all, and ↓ the benchmarks' bicubic. Source: Lee and Heo, Noise-free
Optimization in Early Training Steps for Image Super-Resolution, AAAI 2024, arXiv 2312.17526 (Empirical
Centroid-oriented Optimization).
"""

from collections.abc import Collection

import torch
from torch import Tensor

from dukd_cache.format.header import Declared
from dukd_cache.pictures.bicubic import downscale_batch
from dukd_cache.system.errors import SettingError, unknown_name
from dukd_train.data.rows import Batch, answers_among
from dukd_train.objective import MEAN, TEACHER
from dukd_train.settings import Eco

VIEW = "base"
"""Whose records are mixed."""


def eco_of(eco: Eco, cache: Declared, views: Collection[str], target: str | None = None) -> Eco:
    """The same with the answer that it means: `teacher` is that of `target`, or the cache's only one.

    Where the target is mixed of all answers, it is their mean.

    Args:
        views: those that the loss reads.
        target: what the loss takes for `teacher`, where a cache has several answers.

    Raises:
        SettingError: the cache has no such answer, or nothing would be changed.
    """
    answers = sorted(cache.manifest.answers)
    if not eco.steps:
        return eco
    if VIEW not in views:
        raise SettingError(f"no term of the loss reads {VIEW}, whose records it mixes", "eco")
    if not answers:
        raise SettingError(f"{cache.root} holds pairs without a teacher", "eco")
    if eco.answer == TEACHER and (target or len(answers) == 1):
        meant = answers[0] if len(answers) == 1 else target if target in answers else MEAN
        eco = eco.model_copy(update={"answer": meant})
    if eco.answer not in (*answers, MEAN):
        raise SettingError(f"{cache.root}: {unknown_name('answer', eco.answer, (*answers, MEAN))}", "eco.answer")
    return eco


def read_by(eco: Eco, cache: Declared) -> list[str]:
    """The arrays that it reads of the records that it mixes."""
    return answers_among(cache.manifest.view(VIEW).arrays) if eco.answer == MEAN else [eco.answer]


def mixed(found: Batch, eco: Eco, step: int, scale: int) -> Batch:
    """Records of one view as they are trained with in `step`: a pure function of them and of the step.

    The input is then float32 in 0…255, the truth float32 in [0,1]; all is as it was without ECO, and where α is 1.
    """
    part = eco.at(step) if eco.steps else 1.0
    if part == 1:
        return found
    levels = _levels(found, eco.answer)
    small = downscale_batch(levels, scale).float()
    of_truth = {"truth": torch.lerp(levels / 255, _unit(found["truth"]), part)} if "truth" in found else {}
    return found | {"input": torch.lerp(small, found["input"].float(), part)} | of_truth


def _levels(found: Batch, answer: str) -> Tensor:
    """Of an answer, or of the mean of all: float32 in 0…255."""
    names = answers_among(found) if answer == MEAN else [answer]
    answers = [
        found[name].float() if found[name].dtype == torch.uint8 else found[name].float().clamp(0, 1) * 255
        for name in names
    ]
    return torch.stack(answers).mean(0) if len(answers) > 1 else answers[0]


def _unit(pixels: Tensor) -> Tensor:
    """In [0,1]."""
    return pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels.float()

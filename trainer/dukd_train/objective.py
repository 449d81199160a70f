"""The loss of DUKD, part by part (arXiv 2309.14162, equations 1 to 6). Pure functions.

L = λ_rec·|S(x)−y| + λ_kd·|S(x)−T(x)|                               base
  + λ_zoom_in·|S(F(x))−F(T(x))|                                     zoom_in
  + λ_zoom_out_rec·|S(F(x))−F(y)| + λ_zoom_out_kd·|S(F(x))−F(T(x))|   zoom_out
"""

from typing import Literal

from torch import Tensor

from dukd_cache.format.manifest import View
from dukd_train.settings import Loss, Method

Part = Literal["rec", "kd", "zoom_in", "zoom_out_rec", "zoom_out_kd"]
Target = Literal["truth", "teacher"]

PARTS: dict[Part, tuple[View, Target]] = {
    "rec": ("base", "truth"),
    "kd": ("base", "teacher"),
    "zoom_in": ("zoom_in", "teacher"),
    "zoom_out_rec": ("zoom_out", "truth"),
    "zoom_out_kd": ("zoom_out", "teacher"),
}
"""Which view a part reads, and what it compares the student with."""

_OF_METHOD: dict[Method, tuple[Part, ...]] = {
    "scratch": ("rec",),
    "kd": ("rec", "kd"),
    "dukd": ("rec", "kd", "zoom_in", "zoom_out_rec", "zoom_out_kd"),
}


def weights_of(method: Method, loss: Loss) -> dict[Part, float]:
    """The parts that `method` has, with their weights; parts of weight 0 are left out."""
    weights = {part: float(getattr(loss, part)) for part in _OF_METHOD[method]}
    return {part: weight for part, weight in weights.items() if weight > 0}


def l1(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of a student's output and a cached target: u8 in 0…255, or float in [0,1]."""
    if target.dtype.is_floating_point:
        return (output.float() - target.float()).abs().mean()
    return (output.float() - target.float().div(255)).abs().mean()

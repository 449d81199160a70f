"""A student's geometric self-ensemble: the mean of its answers to an image's eight flips and turns, turned back."""

from dataclasses import dataclass

from torch import Tensor

from dukd_cache.networks.self_ensemble import mean_answer
from dukd_train.scoring.super_resolver import SuperResolver

SYMMETRIES = 8
"""Of the square."""


@dataclass(frozen=True)
class SelfEnsemble:
    """A network asked eight times. Of tiles each is turned by itself, so that one is held and not the whole image."""

    network: SuperResolver

    @property
    def scale(self) -> int:
        return self.network.scale

    def __call__(self, image_NCHW: Tensor) -> Tensor:
        """[N,C,H,W] in [0,1] → [N,C,scale·H,scale·W], not rounded in between."""
        return mean_answer(SYMMETRIES, self.network, image_NCHW)

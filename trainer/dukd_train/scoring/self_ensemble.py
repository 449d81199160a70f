"""Geometric self-ensemble: the mean of a network's answers to an image's eight flips and turns, turned back.

Source: Timofte et al., "Seven ways to improve example-based single image super resolution", CVPR 2016; the EDSR+ of
Lim et al., CVPR workshops 2017, section 3.4.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from dukd_cache.pictures.symmetries import apply, elements, repeated, undo
from dukd_train.scoring.super_resolver import SuperResolver

SYMMETRIES = tuple(element for element in elements().values() if not element.invert)
"""The eight symmetries of the square."""


@dataclass(frozen=True)
class SelfEnsemble:
    """A network asked eight times. Of tiles each is turned by itself, so that one is held and not the whole image."""

    network: SuperResolver

    @property
    def scale(self) -> int:
        return self.network.scale

    def __call__(self, image_NCHW: Tensor) -> Tensor:
        """[N,C,H,W] in [0,1] → [N,C,scale·H,scale·W], not rounded in between."""
        total_NCHW = torch.zeros(())
        for element in SYMMETRIES:
            how = repeated(element, len(image_NCHW))
            total_NCHW = total_NCHW + undo(how, self.network(apply(how, image_NCHW)))
        return total_NCHW / len(SYMMETRIES)

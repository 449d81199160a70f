"""view × crop → (input, truth) pixels: the data upcycling of DUKD (arXiv 2309.14162, section 3)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dukd_cache.format.manifest import CropSpec
from dukd_cache.pictures.bicubic import downscale
from dukd_cache.pictures.sources import Scene
from dukd_cache.plan.crops import Crop, box_side

U8 = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Cut:
    """What a crop asks the teacher, and the truth where one exists: `truth`'s side is `input`'s × scale."""

    crop: Crop
    input: U8
    truth: U8 | None


def cut(crop: Crop, spec: CropSpec, scene: Scene) -> Cut:
    """Take `crop` out of its scene.

    base       input is a patch of LR, truth the HR patch that it shows
    zoom_in    input is a patch of HR: nothing sharper exists, so there is no truth
    zoom_out   truth is a patch of LR, input the same patch made smaller once more
    """
    side = box_side(spec, crop.view)
    if crop.view == "zoom_in":
        return Cut(crop, _square(scene.hr, crop.x, crop.y, side), None)
    patch = _square(scene.lr, crop.x, crop.y, side)
    if crop.view == "zoom_out":
        return Cut(crop, downscale(patch, spec.scale), patch)
    s = spec.scale
    return Cut(crop, patch, _square(scene.hr, crop.x * s, crop.y * s, side * s))


def _square(image: U8, x: int, y: int, side: int) -> U8:
    return np.ascontiguousarray(image[y : y + side, x : x + side])

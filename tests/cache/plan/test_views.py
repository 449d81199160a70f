"""Pixels of the views, cut from scenes whose every pixel tells where it lies."""

from pathlib import Path

import numpy as np
import pytest
from tests.cache.samples import photo

from dukd_cache.format.manifest import CropSpec, View
from dukd_cache.pictures.bicubic import downscale
from dukd_cache.pictures.sources import Scene, SourceImage
from dukd_cache.plan.crops import Crop, Plan
from dukd_cache.plan.views import U8, cut

SCALES = (2, 3, 4)


def marked(width: int, height: int, mark: int) -> U8:
    """Pixel (x, y) is (x, y, mark)."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x, y, np.full_like(x, mark)], axis=-1).astype(np.uint8)


def scene_of(scale: int) -> Scene:
    return Scene(marked(40 * scale, 30 * scale, 1), marked(40, 30, 2))


def crop_at(view: View, x: int, y: int) -> Crop:
    return Crop(view, SourceImage("x.png", Path("x.png"), "0" * 64, 160, 120, None), 0, x, y)


def spec_of(scale: int, patch: int, zoom_out_patch: int) -> CropSpec:
    return CropSpec.model_validate(
        {"scale": scale, "patch": patch, "zoom_out_patch": zoom_out_patch}
        | {"base": 1, "zoom_in": 1, "zoom_out": 1, "seed": 0}
    )


@pytest.mark.parametrize("scale", SCALES)
def test_base_is_a_patch_of_lr_and_the_hr_patch_it_shows(scale: int) -> None:
    piece = cut(crop_at("base", 5, 7), spec_of(scale, 6, 2), scene_of(scale))
    assert piece.input.shape == (6, 6, 3)
    assert piece.input[0, 0].tolist() == [5, 7, 2]
    assert piece.input[-1, -1].tolist() == [10, 12, 2]
    assert piece.truth is not None
    assert piece.truth.shape == (6 * scale, 6 * scale, 3)
    assert piece.truth[0, 0].tolist() == [5 * scale, 7 * scale, 1]
    assert piece.truth[-1, -1].tolist() == [11 * scale - 1, 13 * scale - 1, 1]


@pytest.mark.parametrize("scale", SCALES)
def test_zoom_in_is_a_patch_of_hr_without_truth(scale: int) -> None:
    piece = cut(crop_at("zoom_in", 9, 4), spec_of(scale, 6, 2), scene_of(scale))
    assert piece.truth is None
    assert piece.input.shape == (6, 6, 3)
    assert piece.input[0, 0].tolist() == [9, 4, 1]
    assert piece.input[-1, -1].tolist() == [14, 9, 1]


@pytest.mark.parametrize("scale", SCALES)
def test_zoom_out_is_a_patch_of_lr_made_smaller_once_more(scale: int) -> None:
    lr = photo(40, 30)
    scene = Scene(photo(40 * scale, 30 * scale, seed=1), lr)
    piece = cut(crop_at("zoom_out", 3, 8), spec_of(scale, 6, 4), scene)
    side = 4 * scale
    assert piece.truth is not None
    assert np.array_equal(piece.truth, lr[8 : 8 + side, 3 : 3 + side])
    assert piece.input.shape == (4, 4, 3)
    assert np.array_equal(piece.input, downscale(lr[8 : 8 + side, 3 : 3 + side], scale))


@pytest.mark.parametrize("scale", SCALES)
def test_last_places_of_a_plan_still_give_whole_patches(scale: int) -> None:
    """Images whose sides do not divide by the scale, cut at every place that a plan can choose."""
    spec = spec_of(scale, 9, 10 // scale).model_copy(update={"base": 200, "zoom_in": 200, "zoom_out": 200})
    width, height = 11 * scale + scale - 1, 10 * scale + 1
    scene = Scene(photo(11 * scale, 10 * scale), photo(11, 10))
    plan = Plan((SourceImage("x.png", Path("x.png"), "0" * 64, width, height, None),), spec)
    for view in spec.views:
        p, q = spec.input_side(view), spec.output_side(view)
        for crop in plan.crops(view, 0, plan.total(view)):
            piece = cut(crop, spec, scene)
            assert piece.crop is crop
            assert piece.input.shape == (p, p, 3)
            assert piece.truth is None or piece.truth.shape == (q, q, 3)

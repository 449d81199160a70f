"""Pixels of the views, cut from scenes whose every pixel tells where it lies."""

from pathlib import Path

import numpy as np
import pytest
from tests.cache.samples import crop_spec, photo

from dukd_cache.format.header import AnswerInfo, ViewInfo
from dukd_cache.pictures.bicubic import downscale
from dukd_cache.pictures.sources import Scene, SourceImage
from dukd_cache.plan.crops import Crop, CropSpec, Plan, cut
from dukd_cache.plan.views import VIEWS, Square
from dukd_cache.system.arrays import U8

SCALES = (2, 3, 4)


def marked(width: int, height: int, mark: int) -> U8:
    """Pixel (x, y) is (x, y, mark)."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x, y, np.full_like(x, mark)], axis=-1).astype(np.uint8)


def scene_of(scale: int) -> Scene:
    return Scene(marked(40 * scale, 30 * scale, 1), marked(40, 30, 2))


def crop_at(view: ViewInfo, x: int, y: int) -> Crop:
    return Crop(view, SourceImage("x.png", Path("x.png"), "0" * 64, 160, 120, None), 0, x, y)


def spec_of(scale: int, patch: int, zoom_out_patch: int, count: int = 1) -> CropSpec:
    return crop_spec(scale, patch, zoom_out_patch, base=count, zoom_in=count, zoom_out=count)


@pytest.mark.parametrize("scale", SCALES)
def test_base_is_a_patch_of_lr_and_the_hr_patch_it_shows(scale: int) -> None:
    spec = spec_of(scale, 6, 2)
    piece = cut(crop_at(spec.view("base"), 5, 7), spec, scene_of(scale))
    assert piece.input.shape == (6, 6, 3)
    assert piece.input[0, 0].tolist() == [5, 7, 2]
    assert piece.input[-1, -1].tolist() == [10, 12, 2]
    assert piece.arrays["truth"].shape == (6 * scale, 6 * scale, 3)
    assert piece.arrays["truth"][0, 0].tolist() == [5 * scale, 7 * scale, 1]
    assert piece.arrays["truth"][-1, -1].tolist() == [11 * scale - 1, 13 * scale - 1, 1]


@pytest.mark.parametrize("scale", SCALES)
def test_zoom_in_is_a_patch_of_hr_without_truth(scale: int) -> None:
    spec = spec_of(scale, 6, 2)
    piece = cut(crop_at(spec.view("zoom_in"), 9, 4), spec, scene_of(scale))
    assert "truth" not in piece.arrays
    assert piece.input.shape == (6, 6, 3)
    assert piece.input[0, 0].tolist() == [9, 4, 1]
    assert piece.input[-1, -1].tolist() == [14, 9, 1]


@pytest.mark.parametrize("scale", SCALES)
def test_zoom_out_is_a_patch_of_lr_made_smaller_once_more(scale: int) -> None:
    lr = photo(40, 30)
    scene = Scene(photo(40 * scale, 30 * scale, seed=1), lr)
    spec = spec_of(scale, 6, 4)
    piece = cut(crop_at(spec.view("zoom_out"), 3, 8), spec, scene)
    side = 4 * scale
    assert np.array_equal(piece.arrays["truth"], lr[8 : 8 + side, 3 : 3 + side])
    assert piece.input.shape == (4, 4, 3)
    assert np.array_equal(piece.input, downscale(lr[8 : 8 + side, 3 : 3 + side], scale))


@pytest.mark.parametrize("length", [1, 2, 3, 7, 30])
@pytest.mark.parametrize("by", [1, 2, 5, 17])
def test_beyond_the_edge_a_picture_is_mirrored_as_numpy_does(length: int, by: int) -> None:
    lr = photo(max(length, 4), length)
    side = min(lr.shape[:2])
    square = Square(Scene(lr, lr), 0, 0, side, 2).grown(by)
    assert (square.x, square.y, square.side) == (-by, -by, side + 2 * by)
    whole = np.pad(lr, ((by, by), (by, by), (0, 0)), mode="reflect")
    assert np.array_equal(square.of(lr), whole[: side + 2 * by, : side + 2 * by])


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", VIEWS)
def test_a_teacher_may_see_more(scale: int, name: str) -> None:
    """In pixels of the view's own input; what is stored stays as it is."""
    context = 3
    scene = Scene(photo(60 * scale, 60 * scale, seed=1), photo(60, 60))
    spec = spec_of(scale, 6, 8)
    crop = crop_at(spec.view(name), 17, 21)
    infos = [
        AnswerInfo(file="", architecture="", settings={}, fingerprint="", precision="fp32", window=1, context=pixels)
        for pixels in (0, context)
    ]
    plain, piece = cut(crop, spec, scene), cut(crop, spec, scene, infos)
    assert piece.arrays.keys() == plain.arrays.keys()
    assert all(np.array_equal(piece.arrays[array], plain.arrays[array]) for array in plain.arrays)
    assert piece.question(infos[0]) is piece.input
    by = context * (scale if name == "zoom_out" else 1)
    assert VIEWS[name].margin(context, scale) == by
    large = VIEWS[name].clean(Square(scene, 17 - by, 21 - by, crop.view.box + 2 * by, scale))
    assert np.array_equal(piece.question(infos[1]), large)
    if name != "zoom_out":
        assert np.array_equal(piece.question(infos[1])[context:-context, context:-context], piece.input)
    else:  # which bicubic makes of the square alone, its edges mirrored
        inner = piece.question(infos[1])[context + 2 : -context - 2, context + 2 : -context - 2]
        assert np.array_equal(inner, piece.input[2:-2, 2:-2])


@pytest.mark.parametrize("scale", SCALES)
def test_last_places_of_a_plan_still_give_whole_patches(scale: int) -> None:
    """Images whose sides do not divide by the scale, cut at every place that a plan can choose."""
    spec = spec_of(scale, 9, 10 // scale, 200)
    width, height = 11 * scale + scale - 1, 10 * scale + 1
    scene = Scene(photo(11 * scale, 10 * scale), photo(11, 10))
    plan = Plan((SourceImage("x.png", Path("x.png"), "0" * 64, width, height, None),), spec)
    for view in spec.views:
        p, q = view.input_side, view.input_side * scale
        for crop in plan.crops(view, 0, plan.total(view)):
            piece = cut(crop, spec, scene)
            assert piece.crop is crop
            assert piece.input.shape == (p, p, 3)
            assert "truth" not in piece.arrays or piece.arrays["truth"].shape == (q, q, 3)

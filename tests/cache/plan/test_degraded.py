"""Degraded crops: what they depend on, and that they are parts of a degraded picture."""

from pathlib import Path

import numpy as np
import pytest
from tests.cache.samples import crop_spec, photo

from dukd_cache.commands.config import CacheConfig
from dukd_cache.format.header import AnswerInfo
from dukd_cache.pictures.bicubic import downscale, upscale
from dukd_cache.pictures.degradation.presets import preset
from dukd_cache.pictures.sources import Scene, SourceImage
from dukd_cache.plan.crops import Crop, CropSpec, Cut, cut
from dukd_cache.plan.degraded import recipe_of
from dukd_cache.settings.model import validated

HR = photo(160, 128)
SCENE = Scene(HR, downscale(HR, 2))
IMAGE = SourceImage("x.png", Path("x.png"), "0" * 64, 160, 128, None)
REAL = CropSpec(2, 12, 5, crop_spec(2, 12, zoom_in=0, zoom_out=0).views, preset("real"))
BLUR = validated(CacheConfig, {"hr": "x", "degradation": [{"blur": {"side": 9, "sigma": [1, 3]}}]}).degradation


def info_of(context: int, of: str = "input") -> AnswerInfo:
    return AnswerInfo(
        file="", architecture="", settings={}, fingerprint="", precision="fp32", window=1, context=context, of=of
    )


def cut_at(spec: CropSpec, x: int, y: int, index: int = 0, context: int = 0, view: str = "base") -> Cut:
    return cut(Crop(spec.view(view), IMAGE, index, x, y), spec, SCENE, [info_of(context)])


@pytest.mark.parametrize(("x", "y"), [(0, 0), (68, 52), (30, 0), (31, 25)])
def test_a_crop_is_a_part_of_the_degraded_picture_also_at_its_borders(x: int, y: int) -> None:
    spec = CropSpec(2, 12, 5, REAL.views, BLUR)
    found = cut_at(spec, x, y, context=3)
    whole = recipe_of(BLUR, f"5/base/{IMAGE.sha256}/0").applied(HR, 2)
    difference = found.input.astype(int) - whole[y : y + 12, x : x + 12]
    assert np.abs(difference).max() <= 1
    assert (difference == 0).mean() > 0.98
    assert np.array_equal(found.arrays["truth"], HR[2 * y : 2 * y + 24, 2 * x : 2 * x + 24])


def test_a_crop_depends_on_seed_image_and_index_alone() -> None:
    one = cut_at(REAL, 10, 20)
    cut_at(REAL, 3, 3, index=1)
    again, other = cut_at(REAL, 10, 20), cut_at(REAL, 10, 20, index=1)
    assert np.array_equal(one.input, again.input)
    assert one.drawn == again.drawn
    assert one.drawn != other.drawn
    moved = cut_at(CropSpec(2, 12, 6, REAL.views, REAL.degradation), 10, 20)
    assert one.drawn != moved.drawn


def test_the_teacher_sees_the_input_in_its_degraded_surroundings() -> None:
    for index in range(4):
        found = cut_at(REAL, 10, 20, index, context=5)
        (question,) = found.grown.values()
        assert question.shape == (22, 22, 3)
        assert np.array_equal(question[5:-5, 5:-5], found.input)


def test_zoom_out_is_a_clean_patch_of_lr_made_smaller_by_what_is_drawn() -> None:
    spec = CropSpec(2, 12, 5, crop_spec(2, 12).views, BLUR)
    found = cut_at(spec, 21, 13, context=3, view="zoom_out")
    assert np.array_equal(found.arrays["truth"], SCENE.lr[13:25, 21:33])
    recipe = recipe_of(BLUR, f"5/zoom_out/{IMAGE.sha256}/0")
    whole = recipe.applied(SCENE.lr[1:-1, 1:-1], 2)  # so that its pixels lie where the input's do
    difference = found.input.astype(int) - whole[6:12, 10:16]
    assert np.abs(difference).max() <= 1
    assert not np.array_equal(found.input, downscale(SCENE.lr[13:25, 21:33], 2))


def test_zoom_in_is_hr_degraded_as_if_it_were_that_much_larger() -> None:
    spec = CropSpec(2, 12, 5, crop_spec(2, 12).views, BLUR)
    found = cut_at(spec, 61, 40, context=3, view="zoom_in")
    assert "truth" not in found.arrays
    recipe = recipe_of(BLUR, f"5/zoom_in/{IMAGE.sha256}/0")
    difference = found.input.astype(int) - recipe.applied(upscale(HR, 2), 2)[40:52, 61:73]
    assert np.abs(difference).max() <= 1
    nothing = validated(CacheConfig, {"hr": "x", "degradation": [{"shrink": {"methods": ["area"]}}]}).degradation
    plain = cut_at(CropSpec(2, 12, 5, spec.views, nothing), 61, 40, view="zoom_in")
    assert np.abs(plain.input.astype(int) - HR[40:52, 61:73]).mean() < 4


@pytest.mark.parametrize("view", ["base", "zoom_in", "zoom_out"])
def test_the_clean_input_is_that_of_a_cache_without_degradation(view: str) -> None:
    both = crop_spec(2, 12, of=("input", "clean"))
    crop = Crop(both.view(view), IMAGE, 0, 21, 13)
    found = cut(crop, CropSpec(2, 12, 5, both.views, BLUR), SCENE, [info_of(3), info_of(3, "clean")])
    plain = cut(Crop(crop_spec(2, 12).view(view), IMAGE, 0, 21, 13), crop_spec(2, 12), SCENE, [info_of(3)])
    assert np.array_equal(found.arrays["clean"], plain.input)
    assert np.array_equal(found.question(info_of(3, "clean")), plain.question(info_of(3)))
    assert not np.array_equal(found.input, plain.input)
    assert {"clean", *plain.arrays} == {*found.arrays}

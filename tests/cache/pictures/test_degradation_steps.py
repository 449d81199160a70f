"""What is drawn: the published ranges, mistakes in one line, margins that are wide enough."""

import math
from typing import Any

import numpy as np
import pytest
from tests.cache.samples import photo

from dukd_cache.commands.config import CacheConfig
from dukd_cache.pictures.degradation.presets import PRESETS, preset
from dukd_cache.pictures.degradation.recipe import Recipe, columns_of, drawn_from, with_shrink
from dukd_cache.pictures.degradation.steps import KERNELS, NUMBERS, Step
from dukd_cache.pictures.degradation.words import in_words
from dukd_cache.settings.model import dump, validated
from dukd_cache.system.errors import SettingError

U8 = np.ndarray


def steps_of(*given: Any) -> tuple[Step, ...]:
    return validated(CacheConfig, {"hr": "x", "degradation": list(given)}).degradation


def recipe(steps: tuple[Step, ...], seed: int) -> Recipe:
    rows = np.random.default_rng(seed).random((len(steps), NUMBERS)).tolist()
    return drawn_from(steps, rows, lambda number: np.random.default_rng((seed, number)))


@pytest.fixture(scope="module")
def real() -> dict[str, np.ndarray]:
    """Columns of 4000 draws."""
    found = [recipe(preset("real"), seed).columns for seed in range(4000)]
    return {name: np.array([each[name] for each in found]) for name in found[0]}


@pytest.mark.parametrize(
    ("column", "low", "high"),
    [
        ("blur1_side", 7, 21),
        ("blur1_sigma_x", 0.2, 3),
        ("blur1_sigma_y", 0.2, 3),
        ("blur2_side", 7, 21),
        ("blur2_sigma_x", 0.2, 1.5),
        ("resize1_factor", 0.15, 1.5),
        ("resize2_factor", 0.3, 1.2),
        ("jpeg1_quality", 30, 95),
        ("jpeg2_quality", 30, 95),
        ("jpeg1_x", 0, 15),
        ("blur3_side", 7, 21),
        ("blur3_shape", math.pi / 3, math.pi),
    ],
)
def test_real_draws_from_the_published_ranges(
    real: dict[str, np.ndarray], column: str, low: float, high: float
) -> None:
    """options/train_realesrgan_x4plus.yml. What is not done, or has no such value, is 0."""
    drawn = real[column][real[column] > 0] if low else real[column]
    assert low <= drawn.min() < low + 0.05 * (high - low)
    assert high - 0.05 * (high - low) < drawn.max() <= high


def test_real_does_things_as_often_as_published(real: dict[str, np.ndarray]) -> None:
    def share(found: np.ndarray) -> float:
        return float(found.mean())

    kernels = [0.405, 0.225, 0.108, 0.027, 0.108, 0.027, 0.1]
    for number, (name, expected) in enumerate(zip(KERNELS, kernels, strict=True), 1):
        assert share(real["blur1_kernel"] == number) == pytest.approx(expected, abs=0.025), name
    expected = {
        "blur2 done": (real["blur2_kernel"] > 0, 0.8),
        "blur3 done": (real["blur3_kernel"] > 0, 0.8),
        "up": (real["resize1_factor"] > 1, 0.2),
        "kept": (real["resize1_factor"] == 1, 0.1),
        "up again": (real["resize2_factor"] > 1, 0.3),
        "kept again": (real["resize2_factor"] == 1, 0.3),
        "gaussian": (real["noise1_kind"] == 1, 0.5),
        "grey": (real["noise2_grey"] == 1, 0.4),
        "late": (real["jpeg2_late"] == 1, 0.5),
        "area": (real["shrink1_method"] == 1, 1 / 3),
    }
    for name, (found, often) in expected.items():
        assert share(found) == pytest.approx(often, abs=0.03), name
    for kind, low, high, again in ((1, 1, 30, 25), (2, 0.05, 3, 2.5)):
        for column, most in (("noise1", high), ("noise2", again)):
            drawn = real[f"{column}_strength"][real[f"{column}_kind"] == kind]
            assert low <= drawn.min() < drawn.max() <= most
            assert drawn.mean() == pytest.approx((low + most) / 2, rel=0.05)
    shapes = real["blur1_shape"][real["blur1_kernel"] == 3]
    assert 0.5 <= shapes.min() < shapes.max() <= 4
    assert share(shapes < 1) == pytest.approx(0.5, abs=0.1)
    assert set(real) == set(columns_of(preset("real")))


@pytest.mark.parametrize(
    ("given", "low", "high"),
    [
        ({"up": 0, "factor": 0.5}, 0.5, 0.5),
        ({"up": 0, "keep": 0, "factor": [0.3, 0.6]}, 0.3, 0.6),
        ({"down": 0, "factor": [1.2, 1.5]}, 1.2, 1.5),
        ({"up": 0, "factor": [0.5, 2]}, 0.5, 1),
        ({"down": 0, "factor": [0.5, 2]}, 1, 2),
        ({"factor": [0.5, 2]}, 0.5, 2),
    ],
)
def test_a_factor_is_one_of_those_asked_for(given: dict[str, Any], low: float, high: float) -> None:
    steps = with_shrink(steps_of({"resize": given}))
    found = np.array([recipe(steps, seed).columns["resize1_factor"] for seed in range(300)])
    found = found[found != 1]
    assert low <= found.min() <= found.max() <= high
    assert found.max() - found.min() == pytest.approx(high - low, rel=0.1)


@pytest.mark.parametrize("factor", [0.5, 1.5])
def test_what_is_resized_after_it_was_lr_becomes_lr_again(factor: float) -> None:
    resize = {"resize": {"up": int(factor > 1), "down": int(factor < 1), "keep": 0, "factor": factor, "of": "lr"}}
    steps = with_shrink(steps_of("shrink", resize, {"jpeg": {"late": 1}}))
    assert [step.kind for step in steps] == ["shrink", "resize", "jpeg", "shrink"]
    assert recipe(steps, 0).applied(photo(48, 32), 2).shape == (16, 24, 3)
    assert with_shrink(preset("real")) == preset("real")


def test_a_late_compression_comes_last() -> None:
    for seed in range(20):
        found = recipe(preset("real"), seed)
        order = [each.label for each in found.drawn]
        if found.columns["jpeg2_late"]:
            assert order[-3:] == ["shrink1", "blur3", "jpeg2"]
        else:
            assert order[-3:] == ["jpeg2", "shrink1", "blur3"]


def test_a_changed_range_changes_this_value_alone() -> None:
    steps = preset("real")
    noise = steps[2].noise
    assert noise is not None
    other = (*steps[:2], Step(noise=noise.model_copy(update={"sigma": (5.0, 6.0)})), *steps[3:])
    for seed in range(20):
        one, two = recipe(steps, seed).columns, recipe(other, seed).columns
        changed = {name for name in one if not np.array_equal(one[name], two[name], equal_nan=True)}
        assert changed == ({"noise1_strength"} if one["noise1_kind"] == 1 else set())


def test_what_was_not_compressed_is_not_of_the_lowest_quality() -> None:
    """A training that leaves out the lowest keeps it."""
    sinc = {"blur": {"probability": 0.5, "kernels": {"sinc": 1}}}
    steps = with_shrink(steps_of({"jpeg": {"probability": 0.5, "late": 0.5}}, sinc))
    hr = photo(32, 32)
    for seed in range(20):
        found = recipe(steps, seed)
        drawn = found.columns
        assert math.isnan(drawn["jpeg1_quality"]) or drawn["jpeg1_quality"] >= 30
        assert math.isnan(drawn["blur1_shape"]) == (drawn["blur1_kernel"] == 0)
        assert ("jpeg" in in_words(steps, drawn)) == (not math.isnan(drawn["jpeg1_quality"]))
        assert found.applied(hr, 2).shape == (16, 16, 3)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("seed", range(4))
def test_a_part_of_a_picture_becomes_what_it_is_in_the_whole(scale: int, seed: int) -> None:
    """Without noise and compression, which have no such thing."""
    steps = with_shrink(steps_of({"blur": {"sigma": [1, 3], "kernels": {"anisotropic": 1, "plateau": 1, "sinc": 1}}}))
    found = recipe(steps, seed)
    margin = found.margin(scale)
    hr = photo((2 * margin + 30) * scale, (2 * margin + 24) * scale)
    whole = found.applied(hr, scale)
    inner = found.applied(hr[5 * scale : (5 + 2 * margin + 8) * scale, 3 * scale : (3 + 2 * margin + 9) * scale], scale)
    kept, expected = inner[margin:-margin, margin:-margin], whole[5 + margin : 13 + margin, 3 + margin : 12 + margin]
    assert kept.shape == expected.shape == (8, 9, 3)
    assert np.abs(kept.astype(int) - expected).max() <= 1  # a Fourier transform of another length rounds otherwise
    assert (kept == expected).mean() > 0.98


@pytest.mark.parametrize("name", ["light", "real"])
def test_presets_give_lr_and_do_what_they_say(name: Any) -> None:
    hr = photo(96, 64)
    for seed in range(6):
        found = recipe(preset(name), seed)
        lr = found.applied(hr, 4)
        assert lr.shape == (16, 24, 3)
        assert lr.dtype == np.uint8
        assert np.array_equal(lr, found.applied(hr, 4))
        assert (
            np.corrcoef(lr.mean(axis=2).ravel(), hr.reshape(16, 4, 24, 4, 3).mean(axis=(1, 3, 4)).ravel())[0, 1] > 0.5
        )


def test_presets_and_lists_are_written_and_read_again() -> None:
    for given in (*PRESETS, ["shrink", {"jpeg": [40, 50]}, {"noise": None}, {"blur": {"sigma": 2}}]):
        config = validated(CacheConfig, {"hr": "x", "degradation": given})
        import yaml

        assert validated(CacheConfig, yaml.safe_load(dump(config))) == config
    assert config.degradation[3].blur.sigma == (2, 2)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("rael", "unknown degradation 'rael': did you mean 'real'?"),
        ([{"blurr": {}}], "unknown setting 'degradation[0].blurr': did you mean 'degradation[0].blur'?"),
        ([{"blur": {"sigma": [3, 1]}}], "degradation[0].blur.sigma: expected the lower bound first, got [3.0, 1.0]"),
        ([{"blur": {"side": [6, 8]}}], "degradation[0].blur.side: expected odd numbers, got [6, 8]"),
        ([{"blur": {"sigma": [0, 1]}}], "expected a number above 0 and at most 32, got 0"),
        ([{"blur": {"kernels": {"izotropic": 1}}}], "izotropic"),
        ([{"jpeg": [30, 101]}], "expected a whole number from 1 to 100, got 101"),
        ([{"resize": {"factor": [0.5, 0.9]}}], "holds none for up"),
        ([{"blur": {"kernels": {"sinc": 0}}}], "one of the kernels must be above 0"),
        ([{"noise": {"gaussian": 0, "poisson": 0}}], "one of gaussian and poisson must be above 0"),
        ([{"blur": {}, "noise": {}}], "got blur and noise"),
        ([{}], "got none"),
        (["blur"] * 33, "degradation"),
        (7, "degradation"),
    ],
)
def test_mistakes_are_one_line(given: Any, says: str) -> None:
    with pytest.raises(SettingError) as told:
        validated(CacheConfig, {"hr": "x", "degradation": given})
    assert says in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"lr": "l"}, "`lr` names LR images that are made: leave it out, or `degradation`"),
    ],
)
def test_what_excludes_a_degradation(more: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingError, match=says.split(":")[0]):
        validated(CacheConfig, {"hr": "x", "degradation": "light", **more})
    assert validated(CacheConfig, {"hr": "x", "degradation": "bicubic", **more}).degradation == ()


def test_what_was_done_is_told_in_its_order() -> None:
    steps = steps_of(
        {"blur": {"sigma": 2, "kernels": {"anisotropic": 1}}},
        {"blur": {"kernels": {"sinc": 1}, "cutoff": [2, 2]}},
        {"blur": {"probability": 0}},
        {"resize": {"up": 0, "down": 1, "keep": 0, "factor": 0.5, "methods": ["area"]}},
        {"resize": {"up": 0, "down": 0, "keep": 1}},
        {"jpeg": {"quality": 70, "late": 1}},
        {"noise": {"gaussian": 1, "poisson": 0, "sigma": 12, "grey": 1}},
        {"shrink": {"methods": ["bicubic"]}},
        {"webp": 50},
    )
    found = "blur 2.0, sinc 0.64π, ×0.50 area, grey gaussian noise 12, to LR bicubic, webp 50, jpeg 70"
    assert in_words(steps, recipe(steps, 1).columns) == found
    for seed in range(9):
        columns = recipe(preset("real"), seed).columns
        assert ("sinc" in in_words(preset("real"), columns)) == any(columns[f"blur{n}_kernel"] == 7 for n in (1, 2, 3))

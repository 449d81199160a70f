"""Which metrics there are, and what becomes of their values."""

import math

import numpy as np
import pytest

from dukd_cache.system.errors import SettingError
from dukd_train.scoring import metrics
from dukd_train.scoring.scores import (
    common_means,
    decibels,
    is_better,
    left_out,
    left_out_note,
    metric_names,
    plain_score,
    refuse_blind,
    scorer,
    shown,
    usual_score,
)


def pair() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    truth = random.integers(0, 256, (32, 40, 3), dtype=np.uint8)
    return np.clip(truth + random.normal(0, 9, truth.shape), 0, 255).astype(np.uint8), truth


def test_each_name_stands_for_its_metric() -> None:
    image, truth = pair()
    names = metric_names("ssim, psnr,psnr_y,ssim_y")
    assert names == ("ssim", "psnr", "psnr_y", "ssim_y")
    assert list(scorer(names)(image, truth, 3).items()) == [
        ("ssim", metrics.ssim(image, truth, 3)),
        ("psnr", metrics.psnr(image, truth, 3)),
        ("psnr_y", metrics.psnr_y(image, truth, 3)),
        ("ssim_y", metrics.ssim_y(image, truth, 3)),
    ]
    assert list(usual_score(image, truth, 3)) == ["psnr_y", "ssim_y"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("psnr_x", "unknown `metrics` 'psnr_x': did you mean 'psnr_y'?"),
        ("", "unknown `metrics` ''"),
        ("psnr,", "unknown `metrics` ''"),
        ("psnr,ssim,psnr", "`metrics`: psnr is given twice"),
    ],
)
def test_other_names_are_refused(text: str, message: str) -> None:
    with pytest.raises(SettingError) as caught:
        metric_names(text)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("metric", "better"), [("psnr_y", True), ("ssim", True), ("lpips", False), ("dists", False), ("niqe", False)]
)
def test_more_is_better_but_for_distances(metric: str, better: bool) -> None:
    assert is_better(metric, 0.9, than=0.8) is better
    assert is_better(metric, 0.8, than=0.9) is not better
    assert not is_better(metric, 0.8, than=0.8)


def test_means_and_plain_values() -> None:
    means = common_means([[{"psnr_y": 20.0, "lpips": 0.5}, {"psnr_y": 40.0, "lpips": 0.25}]])
    assert means == [{"psnr_y": 30.0, "lpips": 0.375}]
    assert plain_score({"psnr_y": math.inf, "ssim_y": 1.0}) == {"psnr_y": None, "ssim_y": 1.0}
    assert plain_score({"psnr_y": math.nan}) == {"psnr_y": None}
    assert [decibels(value) for value in (30.126, math.inf, math.nan)] == ["30.13 dB", "exact", "–"]
    assert (shown("psnr", 31.23456), shown("ssim_y", 0.987654)) == ("31.235", "0.9877")


def test_means_of_everyone_are_over_the_same_images() -> None:
    ours = [{"psnr_y": value, "ssim_y": ssim} for value, ssim in ((math.inf, 1.0), (30.0, 0.8), (32.0, 0.9))]
    theirs = [{"psnr_y": value, "ssim_y": ssim} for value, ssim in ((60.0, 0.7), (31.0, 0.8), (33.0, 0.9))]
    first, second = common_means([ours, theirs])
    assert (first["psnr_y"], second["psnr_y"]) == (31.0, 32.0), "the first image would make ours infinite"
    assert (first["ssim_y"], second["ssim_y"]) == pytest.approx((0.9, 0.8)), "it has an SSIM"
    assert left_out([ours, theirs], ["black", "a", "b"]) == {"psnr_y": ("black",)}
    assert left_out([theirs], ["black", "a", "b"]) == {}
    assert left_out_note({"psnr_y": ("black",)}) == "PSNR-Y means leave out 1 image that is answered exactly: black"
    assert left_out_note({}) == ""


def test_images_without_a_niqe_are_in_no_mean_of_it() -> None:
    ours = [{"psnr_y": 30.0, "niqe": math.nan}, {"psnr_y": math.inf, "niqe": 4.0}, {"psnr_y": 32.0, "niqe": 6.0}]
    theirs = [{"psnr_y": 30.0, "niqe": 9.0}, {"psnr_y": 31.0, "niqe": 5.0}, {"psnr_y": 32.0, "niqe": 7.0}]
    assert common_means([ours, theirs]) == [{"psnr_y": 31.0, "niqe": 5.0}, {"psnr_y": 31.0, "niqe": 6.0}]
    left = left_out([ours, theirs], ["tiny", "flat", "a"])
    assert left == {"psnr_y": ("flat",), "niqe": ("tiny",)}
    assert left_out_note(left) == (
        "PSNR-Y means leave out 1 image that is answered exactly: flat; "
        "NIQE means leave out 1 image that is too small or too flat: tiny"
    )


def test_without_a_truth_there_is_what_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dukd_train.scoring.niqe.load", lambda: lambda image, _truth, _border: float(len(image)))
    image, truth = pair()
    score = scorer(("psnr_y", "niqe"))
    assert score(image, truth, 2) == {"psnr_y": metrics.psnr_y(image, truth, 2), "niqe": 32}
    assert score(image, None, 2) == {"niqe": 32}
    refuse_blind(("psnr_y", "niqe"), "set photos")
    with pytest.raises(SettingError, match=r"^set photos: has no HR images, .* no psnr_y or lpips; add niqe"):
        refuse_blind(("psnr_y", "lpips"), "set photos")


def test_where_every_image_is_answered_exactly_there_is_no_mean() -> None:
    (mean,) = common_means([[{"psnr_y": math.inf, "ssim_y": 1.0}]])
    assert math.isnan(mean["psnr_y"])
    assert mean["ssim_y"] == 1.0
    assert is_better("psnr_y", 20.0, than=mean["psnr_y"])
    assert not is_better("psnr_y", mean["psnr_y"], than=20.0)
    assert not is_better("psnr_y", mean["psnr_y"], than=mean["psnr_y"])

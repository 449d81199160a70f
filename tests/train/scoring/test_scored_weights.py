"""`eval`: one set or several, as tables and as JSON."""

import json
from pathlib import Path

import pytest

from dukd_cache.errors import SettingError, WeightsError
from dukd_train.scoring.evaluate import Evaluation, pair_images
from dukd_train.scoring.metrics import psnr
from dukd_train.scoring.scored_weights import score_weights, scores_json, tables


@pytest.fixture(scope="module")
def one(teacher_file: Path, hr_folder: Path) -> dict[str, Evaluation]:
    return score_weights(teacher_file, {"All": hr_folder}, {}, None, "cpu")


def test_one_set_is_its_means_and_images(one: dict[str, Evaluation]) -> None:
    content = json.loads(scores_json(one))
    assert content == one["All"].to_json()
    assert list(content) == ["mean", "images"]


def test_several_sets_are_told_apart(teacher_file: Path, hr_folder: Path, one: dict[str, Evaluation]) -> None:
    two = score_weights(teacher_file, {"A": hr_folder, "B": hr_folder}, {}, 2, "cpu")
    assert two == {"A": one["All"], "B": one["All"]}
    assert json.loads(scores_json(two)) == {"sets": {"A": one["All"].to_json(), "B": one["All"].to_json()}}
    assert tables(two) == f"A\n{tables(one)}\n\nB\n{tables(one)}"


def test_columns_are_the_metrics_asked_for(teacher_file: Path, hr_folder: Path, one: dict[str, Evaluation]) -> None:
    found = score_weights(teacher_file, {"All": hr_folder}, {}, None, "cpu", ["ssim", "psnr", "psnr_y"])
    lines = tables(found).splitlines()
    assert lines[0].split() == ["image", "SSIM-RGB", "PSNR-RGB", "PSNR-Y", "bicubic", "SSIM-RGB", "PSNR-RGB", "PSNR-Y"]
    means = found["All"].means
    assert lines[-1].split() == ["mean", *(f"{s[m]:.{d}f}" for s in (means.network, means.bicubic) for m, d in DIGITS)]
    assert len({len(line) for line in lines}) == 1
    assert means.network["psnr_y"] == one["All"].means.network["psnr_y"]
    assert found["All"].images[0].bicubic["psnr"] == pytest.approx(_rgb_of_bicubic(hr_folder))


DIGITS = (("ssim", 4), ("psnr", 3), ("psnr_y", 3))


def _rgb_of_bicubic(hr_folder: Path) -> float:
    from dukd_cache.degrade import upscale

    scene = pair_images(hr_folder, 2)[0].read()
    return psnr(upscale(scene.lr, 2), scene.hr, 2)


def test_another_scale_or_device_is_refused(teacher_file: Path, hr_folder: Path) -> None:
    with pytest.raises(WeightsError, match="expected a network of scale 3, found one of scale 2"):
        score_weights(teacher_file, {"All": hr_folder}, {}, 3, "cpu")
    with pytest.raises(SettingError, match="device 'gpu'"):
        score_weights(teacher_file, {"All": hr_folder}, {}, None, "gpu")

"""NIQE: its filters and fits against other code, and the score against published ones where the model is at hand."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage, stats
from tests.train.natural import fitted, picture, torch_home

from dukd_cache.pictures.sources import read_rgb
from dukd_cache.system.arrays import F64
from dukd_cache.system.errors import SettingError
from dukd_train.scoring import niqe
from dukd_train.scoring.niqe import FEATURES, MODEL, Niqe, features
from dukd_train.scoring.perceptual import weights_folder


@pytest.fixture
def model() -> Niqe:
    return fitted()


def test_normalised_pixels_are_scipys() -> None:
    plane = picture()[..., 0].astype(float)
    weights = np.outer(niqe._GAUSSIAN, niqe._GAUSSIAN)
    mean = ndimage.convolve(plane, weights, mode="nearest")
    deviation = np.sqrt(ndimage.convolve(plane**2, weights, mode="nearest") - mean**2)
    np.testing.assert_allclose(niqe._normalised(plane), (plane - mean) / (deviation + 1), atol=1e-7)


def test_half_the_size_is_the_benchmarks_bicubic() -> None:
    from dukd_cache.pictures.bicubic import downscale

    image = picture(height=192, width=288)
    half = niqe._filtered(image[..., 0].astype(float), niqe._HALVING, step=2, mode="symmetric").clip(0, 255)
    assert np.abs(half - downscale(image, 2)[..., 0]).max() < 1.2, "which rounds twice"
    assert np.abs(half - downscale(image, 2)[..., 0]).mean() < 0.5


@pytest.mark.parametrize("shape", [0.7, 1.0, 2.0, 3.5])
def test_shapes_and_widths_are_those_of_the_density(shape: float) -> None:
    side: F64 = stats.gennorm.ppf(np.linspace(0.5, 1, 100_001)[1:-1], shape)  # evenly over the right half
    values = np.concatenate([-1.5 * side, *2 * [3 * side]])  # as many fall on a side as the density is wide there
    alpha, left, right = niqe._fitted(np.stack([values, 3 * values])[:, None])
    np.testing.assert_allclose(alpha, shape, rtol=0.01)
    np.testing.assert_allclose(left, [1.5, 4.5], rtol=0.01)
    np.testing.assert_allclose(right, [3, 9], rtol=0.01)


def test_blocks_begin_at_the_top_left_and_are_whole() -> None:
    plane = picture()[..., 0].astype(float)
    found = features(plane)
    assert found.shape == (2 * 3, FEATURES)
    np.testing.assert_array_equal(found, features(plane[:192, :288]))
    assert features(plane[:95]).shape == (0, FEATURES)


def test_what_is_done_to_a_picture_makes_it_worse(model: Niqe) -> None:
    image = picture(99)
    blurred = ndimage.gaussian_filter(image, (1.2, 1.2, 0))
    noisy = np.clip(image + np.random.default_rng(0).normal(0, 20, image.shape), 0, 255).astype(np.uint8)
    assert 2 * model(image) < min(model(blurred), model(noisy))
    assert model(image, np.zeros_like(image), 4) == model(image), "whole images, and no truth"


def test_flat_parts_do_not_depend_on_rounding(model: Niqe) -> None:
    image = picture()
    image[100:, 100:] = 77
    halved = niqe._GAUSSIAN * (1 + 1e-15)
    found = model(image)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(niqe, "_GAUSSIAN", halved)
        assert model(image) == pytest.approx(found, abs=1e-9)


def test_small_and_flat_pictures_have_no_score(model: Niqe) -> None:
    assert math.isnan(model(picture()[:191, :191])), "one block"
    assert math.isnan(model(np.full((200, 300, 3), 90, np.uint8)))
    assert math.isnan(model(picture()[:40]))
    assert not math.isnan(model(picture()[:96, :192]))


def test_a_missing_model_is_named_with_its_place(tmp_path: Path) -> None:
    with torch_home(tmp_path, model=False) as hub, pytest.raises(SettingError) as caught:
        niqe.load()
    line = str(caught.value)
    assert line.startswith(f"metric niqe: {MODEL} is missing and cannot be downloaded (no network here)")
    assert str(hub) in line
    assert "\n" not in line


def test_another_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with torch_home(tmp_path, model=True):
        assert niqe.load()(picture()) == fitted()(picture())
        monkeypatch.setattr(niqe, "SHA256", "0" * 64)
        with pytest.raises(SettingError, match=rf"{MODEL}: expected BasicSR's {MODEL}, found another file"):
            niqe.load()


@pytest.fixture
def authors(data_dir: Path) -> Niqe:
    """The authors' model, in torch's hub folder or with the data."""
    with pytest.MonkeyPatch.context() as patch:
        for home in (os.environ.get("TORCH_HOME", "~/.cache/torch"), str(data_dir / "torch")):
            patch.setenv("TORCH_HOME", os.path.expanduser(home))
            if (weights_folder() / MODEL).is_file():
                return niqe.load()
    pytest.skip(f"no {MODEL}")


def test_scores_are_the_published_ones(authors: Niqe, data_dir: Path) -> None:
    """Of MATLAB (BasicSR's documentation, for this part of the baboon), and of BasicSR's own code (measured)."""
    baboon = read_rgb(data_dir / "Set14" / "HR" / "001.png")[:480, :492]
    assert authors(baboon) == pytest.approx(5.72957338, abs=5e-6)
    for name, expected in (("baby", 3.26549), ("butterfly", 5.15490), ("woman", 4.38900), ("bird", 4.36208)):
        with Image.open(data_dir / "Set5" / "HR" / f"{name}.png") as image:
            assert authors(np.asarray(image.convert("RGB"))) == pytest.approx(expected, abs=1e-3)

"""`validation.csv`: the averaged student's scores on the sets of a config."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dukd_cache import networks
from dukd_cache.degrade import downscale
from dukd_cache.errors import ImageError
from dukd_cache.images import LrFolder
from dukd_cache.networks import Network
from dukd_train.config import ImageSet, TrainConfig
from dukd_train.evaluate import evaluate, pair_images
from dukd_train.observers import Start
from dukd_train.validation import VALIDATION, ValidationFile, Validator


@pytest.fixture(scope="module")
def network() -> Network:
    """A tiny random student."""
    torch.manual_seed(1)
    return networks.build("EDSR", 2, {"channels": 4, "blocks": 1})


def begun(run: Path, step: int) -> ValidationFile:
    """The file of a training that goes on after `step` steps."""
    file = ValidationFile(run)
    file.started(Start(TrainConfig(cache=run), run, step, 100))
    return file


def rows(run: Path) -> list[dict[str, str]]:
    with (run / VALIDATION).open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_row_for_each_set(tmp_path: Path, hr_folder: Path, network: Network) -> None:
    one = tmp_path / "one"
    one.mkdir()
    first = next(iter(sorted(hr_folder.iterdir())))
    (one / first.name).write_bytes(first.read_bytes())
    file = begun(tmp_path, 0)
    assert (tmp_path / VALIDATION).read_text().splitlines() == ["step,set,psnr_y,ssim_y"]
    found = Validator({"All": ImageSet(hr=hr_folder), "One": ImageSet(hr=one)}, 2).score(network)
    file.scored(5, found)
    expected = {
        name: evaluate(network, pair_images(hr, 2)).means.network for name, hr in (("All", hr_folder), ("One", one))
    }
    assert found == expected
    assert rows(tmp_path) == [
        {"step": "5", "set": name, "psnr_y": f"{mean['psnr_y']:.4f}", "ssim_y": f"{mean['ssim_y']:.5f}"}
        for name, mean in expected.items()
    ]
    assert expected["All"] != expected["One"]


def test_rows_that_will_be_told_again_are_dropped(tmp_path: Path) -> None:
    file = begun(tmp_path, 0)
    for step in (5, 10, 15):
        file.scored(step, {"A": {"psnr_y": 30.0, "ssim_y": 0.9}, "B": {"psnr_y": 31.0, "ssim_y": 0.8}})
    begun(tmp_path, 10)
    assert [(row["step"], row["set"]) for row in rows(tmp_path)] == [("5", "A"), ("5", "B")]


def test_lr_images_are_taken_where_they_are_given(tmp_path: Path, hr_folder: Path, network: Network) -> None:
    lr_folder = tmp_path / "lr"
    lr_folder.mkdir()
    for path in hr_folder.iterdir():
        with Image.open(path) as hr:
            dark = downscale(np_of(hr), 2) // 2
        Image.fromarray(dark).save(lr_folder / f"{path.stem}x2.png")
    sets = {"given": ImageSet(hr=hr_folder, lr=lr_folder), "made": ImageSet(hr=hr_folder)}
    found = Validator(sets, 2).score(network)
    assert found["given"] == evaluate(network, pair_images(hr_folder, 2, LrFolder(lr_folder))).means.network
    assert found["given"] != found["made"]


def np_of(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB"))


def test_no_sets_is_no_rows(tmp_path: Path, network: Network) -> None:
    assert Validator({}, 2).score(network) == {}
    begun(tmp_path, 0).scored(1, {})
    assert rows(tmp_path) == []


def test_a_set_without_images_is_told_before_training(tmp_path: Path, hr_folder: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for folder in (empty, tmp_path / "nowhere"):
        with pytest.raises(ImageError, match=str(folder)):
            Validator({"A": ImageSet(hr=folder)}, 2)
    with pytest.raises(ImageError, match="no LR image"):
        Validator({"A": ImageSet(hr=hr_folder, lr=empty)}, 2)

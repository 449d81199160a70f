"""`validation.csv`: the averaged student's scores on the sets of a config."""

import csv
import os
import shutil
from collections.abc import Mapping
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.train.natural import photographs, torch_home

from dukd_cache import networks
from dukd_cache.networks import Network
from dukd_cache.pictures.bicubic import downscale
from dukd_cache.pictures.sources import LrFolder
from dukd_cache.system.errors import ImageError, SettingError
from dukd_train.keeping.best import criterion
from dukd_train.keeping.late_scores import missing
from dukd_train.keeping.validation import VALIDATION, ValidationFile, Validator, best_before, made
from dukd_train.scoring.evaluate import ImagePair, evaluate, pair_images
from dukd_train.scoring.inference import Inference, prepared
from dukd_train.scoring.scores import USUAL, MetricName
from dukd_train.settings import ImageSet, TrainConfig, Validation
from dukd_train.watching.observers import Start
from dukd_train.watching.tracked import Tracker


@pytest.fixture(scope="module")
def network() -> Network:
    """A tiny random student."""
    torch.manual_seed(1)
    return networks.build("EDSR", 2, {"channels": 4, "blocks": 1})


def begun(run: Path, step: int, network: Network, metrics: tuple[MetricName, ...] = USUAL) -> ValidationFile:
    """The file of a training that goes on after `step` steps."""
    file = ValidationFile(run)
    config = TrainConfig(cache=run, validation=Validation(metrics=metrics))
    file.started(Start(config, run, step, 100, network))
    return file


def validator(sets: dict[str, ImageSet], **others: Any) -> Validator:
    return Validator(Validation(sets=sets, **others), 2, torch.device("cpu"))


def rows(run: Path) -> list[dict[str, str]]:
    with (run / VALIDATION).open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_row_for_each_set(tmp_path: Path, hr_folder: Path, network: Network) -> None:
    one = tmp_path / "one"
    one.mkdir()
    first = next(iter(sorted(hr_folder.iterdir())))
    (one / first.name).write_bytes(first.read_bytes())
    file = begun(tmp_path, 0, network)
    assert (tmp_path / VALIDATION).read_text().splitlines() == ["step,set,psnr_y,ssim_y,made"]
    found = validator({"All": ImageSet(hr=hr_folder), "One": ImageSet(hr=one)}).score(network)
    file.scored(5, found)
    expected = {
        name: evaluate(network, pair_images(hr, 2)).means.network for name, hr in (("All", hr_folder), ("One", one))
    }
    assert found == expected
    assert rows(tmp_path) == [
        {"step": "5", "set": name, "psnr_y": f"{mean['psnr_y']:.4f}", "ssim_y": f"{mean['ssim_y']:.5f}", "made": ""}
        for name, mean in expected.items()
    ]
    assert expected["All"] != expected["One"]


def test_rows_that_will_be_told_again_are_dropped(tmp_path: Path, network: Network) -> None:
    file = begun(tmp_path, 0, network)
    for step in (5, 10, 15):
        file.scored(step, {"A": {"psnr_y": 30.0, "ssim_y": 0.9}, "B": {"psnr_y": 31.0, "ssim_y": 0.8}})
    begun(tmp_path, 10, network)
    assert [(row["step"], row["set"]) for row in rows(tmp_path)] == [("5", "A"), ("5", "B")]


def test_lr_images_are_taken_where_they_are_given(tmp_path: Path, hr_folder: Path, network: Network) -> None:
    lr_folder = tmp_path / "lr"
    lr_folder.mkdir()
    for path in hr_folder.iterdir():
        with Image.open(path) as hr:
            dark = downscale(np_of(hr), 2) // 2
        Image.fromarray(dark).save(lr_folder / f"{path.stem}x2.png")
    sets = {"given": ImageSet(hr=hr_folder, lr=lr_folder), "made": ImageSet(hr=hr_folder)}
    found = validator(sets).score(network)
    assert found["given"] == evaluate(network, pair_images(hr_folder, 2, LrFolder(lr_folder))).means.network
    assert found["given"] != found["made"]


def np_of(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB"))


def test_no_sets_is_no_rows(tmp_path: Path, network: Network) -> None:
    assert validator({}).score(network) == {}
    begun(tmp_path, 0, network).scored(1, {})
    assert rows(tmp_path) == []


def test_a_set_without_images_is_told_before_training(tmp_path: Path, hr_folder: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for folder in (empty, tmp_path / "nowhere"):
        with pytest.raises(ImageError, match=f"^setting validation.sets.A: {folder}"):
            validator({"A": ImageSet(hr=folder)})
    with pytest.raises(ImageError, match="no LR image"):
        validator({"A": ImageSet(hr=hr_folder, lr=empty)})
    with pytest.raises(ImageError, match=r"expected \d+×\d+ pixels .* found"):
        validator({"A": ImageSet(hr=hr_folder, lr=hr_folder)}).check()


def test_images_without_hr_are_scored_by_what_needs_no_truth(tmp_path: Path, hr_folder: Path, network: Network) -> None:
    sets = {"photos": ImageSet(lr=photographs(tmp_path / "photos")), "A": ImageSet(hr=hr_folder)}
    metrics: tuple[MetricName, ...] = ("psnr_y", "niqe")
    with pytest.raises(SettingError, match=r"\.photos: has no HR .*ssim_y; add niqe to `validation\.metrics`$"):
        validator(sets)
    with torch_home(tmp_path / "home", model=True):
        asked = validator(sets, metrics=metrics)
        asked.check()
        found = asked.score(network)
    assert [*found["photos"]] == ["niqe"]
    config = TrainConfig(cache=tmp_path, validation=Validation(sets=sets, metrics=metrics))
    assert criterion(config.validation) == ("photos", "niqe")
    file = ValidationFile(tmp_path)
    file.started(Start(config, tmp_path, 0, 100, network))
    assert missing(config, tmp_path, 5, 2) == ("photos", "A")
    file.scored(5, {**found, "A": {"psnr_y": 30.0, "niqe": 5.0}})
    assert missing(config, tmp_path, 5, 2) == ()
    assert rows(tmp_path)[0].items() >= {"psnr_y": "", "niqe": f"{found['photos']['niqe']:.5f}"}.items()
    assert best_before(tmp_path, config.validation, 2, 6).keys() == {"A"}
    known = Validation(sets=sets, metrics=metrics, best="photos/psnr_y")
    with pytest.raises(SettingError, match="unknown score 'photos/psnr_y'"):
        criterion(known)


def test_columns_are_the_metrics_of_now_and_before(tmp_path: Path, hr_folder: Path, network: Network) -> None:
    begun(tmp_path, 0, network).scored(5, {"A": {"psnr_y": 30.0, "ssim_y": 0.9}})
    metrics: tuple[MetricName, ...] = ("psnr", "psnr_y")
    file = begun(tmp_path, 6, network, metrics)
    found = validator({"A": ImageSet(hr=hr_folder)}, metrics=metrics).score(network)
    assert list(found["A"]) == ["psnr", "psnr_y"]
    file.scored(10, found)
    first, second = rows(tmp_path)
    assert first == {"step": "5", "set": "A", "psnr_y": "30.0000", "ssim_y": "0.90000", "made": "", "psnr": ""}
    assert second["psnr"] == f"{found['A']['psnr']:.4f}"
    assert second["ssim_y"] == ""


def test_tiles_and_ensemble_are_those_of_eval(hr_folder: Path, network: Network) -> None:
    how = Inference(tile=24, tile_overlap=3, self_ensemble=True)
    found = validator({"A": ImageSet(hr=hr_folder)}, tile=24, tile_overlap=3, self_ensemble=True).score(network)
    assert found["A"] == evaluate(prepared(network, how), pair_images(hr_folder, 2)).means.network
    assert found != validator({"A": ImageSet(hr=hr_folder)}).score(network)


def test_rows_say_how_they_were_made(tmp_path: Path, hr_folder: Path, network: Network) -> None:
    def row(step: int, **others: Any) -> str:
        config = TrainConfig(cache=tmp_path, validation=Validation(sets={"A": ImageSet(hr=hr)}, **others))
        file = ValidationFile(tmp_path)
        file.started(Start(config, tmp_path, step, 100, network))
        file.scored(step, {"A": {"psnr_y": 30.0, "ssim_y": 0.9}})
        return rows(tmp_path)[-1]["made"]

    hr = hr_folder
    whole = row(5)
    assert whole.startswith("4 images (")
    assert whole.endswith("), whole images")
    assert row(10, tile=24, tile_overlap=3).endswith("), tiles of 24 pixels that overlap by 3")
    assert row(15, self_ensemble=True).endswith("), whole images, self-ensemble")
    hr = tmp_path / "elsewhere"
    shutil.copytree(hr_folder, hr)
    assert row(20) == whole
    (hr / "photo0.png").unlink()
    assert row(25).startswith("3 images (")
    assert [found["step"] for found in rows(tmp_path)] == ["5", "10", "15", "20", "25"]


def test_other_images_of_the_same_length_are_told_apart(tmp_path: Path) -> None:
    validation, hows = Validation(sets={"A": ImageSet(hr=tmp_path)}), []
    for level in (50, 60, 50):
        Image.new("RGB", (32, 32), (level, 9, 9)).save(tmp_path / "a.bmp")
        os.utime(tmp_path / "a.bmp", (level, len(hows)))  # clocks of file systems are coarse
        hows.append(made(validation, 2)["A"])
    assert hows[0] == hows[2] != hows[1]


class Numbers(Tracker):
    """Keeps what it is told."""

    def log(self, step: int, values: Mapping[str, float]) -> None:  # noqa: ARG002
        self.told = values


def test_where_there_is_no_mean_the_cell_is_empty(tmp_path: Path, network: Network) -> None:
    (tmp_path / "hr").mkdir()
    Image.new("RGB", (32, 32), (9, 9, 9)).save(tmp_path / "hr" / "flat.png")
    found = validator({"A": ImageSet(hr=tmp_path / "hr")}).score(network)
    assert isnan(found["A"]["psnr_y"])
    begun(tmp_path, 0, network).scored(5, found)
    assert rows(tmp_path)[0]["psnr_y"] == ""
    numbers = Numbers()
    numbers.scored(1, found)
    assert numbers.told == {"A/ssim_y": found["A"]["ssim_y"]}


def test_psnr_y_cannot_be_left_out() -> None:
    with pytest.raises(SettingError, match=r"validation\.metrics: expected psnr_y among them"):
        validator({}, metrics=("ssim_y",))


def test_every_image_is_tried_before_training(tmp_path: Path, hr_folder: Path) -> None:
    """What would end a training whose steps are done."""
    good = next(iter(sorted(hr_folder.iterdir()))).read_bytes()
    pixels = np.full((64, 56, 3), 99, np.uint8)

    def refusal(name: str, content: bytes | np.ndarray, lr: np.ndarray | None = None) -> str:
        folder, lr_folder = tmp_path / name / "hr", tmp_path / name / "lr"
        folder.mkdir(parents=True)
        lr_folder.mkdir()
        (folder / "a.png").write_bytes(good)
        Image.fromarray(downscale(np_of(Image.open(folder / "a.png")), 2)).save(lr_folder / "ax2.png")
        if isinstance(content, bytes):
            (folder / "b.png").write_bytes(content)
        else:
            Image.fromarray(content).save(folder / "b.png")
        if lr is not None:
            Image.fromarray(lr).save(lr_folder / "bx2.png")
        asked = validator({"V": ImageSet(hr=folder, lr=lr_folder if lr is not None else None)})
        with pytest.raises(ImageError) as caught:
            asked.check()
        assert "\n" not in str(caught.value)
        assert str(caught.value).count("b") >= 1
        return str(caught.value)

    assert "not a readable image" in refusal("text", b"some text")
    assert "unreadable or truncated" in refusal("cut", good[: len(good) // 2])
    assert "expected at least 11 pixels a side within a border of 2" in refusal("small", pixels[:14])
    assert "expected 28×32 pixels" in refusal("narrow", pixels, pixels[:32, :27])
    assert "smaller than the scale" in refusal("one", pixels[:1])


def test_a_sound_set_is_read_once_for_many_runs(hr_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known: set[Any] = set()
    validator({"A": ImageSet(hr=hr_folder)}).check(known)
    monkeypatch.setattr(ImagePair, "read_truth", lambda _pair: pytest.fail("read again"))
    validator({"B": ImageSet(hr=hr_folder)}).check(known)

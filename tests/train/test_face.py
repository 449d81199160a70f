"""`import dukd_train`: what Python users meet first."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.train.conftest import photo_like
from tests.train.natural import photographs, torch_home

import dukd_train
from dukd_cache import DukdError, ImageError, SettingError, WeightsError
from dukd_cache.networks import Network
from dukd_cache.pictures.sources import find_images, read_rgb, read_scene
from dukd_train import errors
from dukd_train.scoring.scored_weights import score_weights
from dukd_train.using.pictures import upscale_file

Settings = Callable[..., dukd_train.TrainConfig]


@pytest.fixture(scope="module")
def network(teacher_file: Path) -> Network:
    return dukd_train.load_student(teacher_file)


def test_all_errors_of_training_are_there() -> None:
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, DukdError)}
    assert kinds - {DukdError} <= {getattr(dukd_train, name) for name in dukd_train.__all__}


def test_a_student_is_trained_loaded_and_scored(
    settings_of: Settings, hr_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Losses(dukd_train.Observer):
        def __init__(self) -> None:
            self.found: list[float] = []

        def logged(self, row: dukd_train.Row) -> None:
            self.found.append(row.total)

    losses = Losses()
    facts = dukd_train.train(settings_of(steps=3), str(tmp_path / "run"), [losses])
    assert facts == json.loads((tmp_path / "run" / "run.json").read_text())
    assert len(losses.found) == 3
    student = dukd_train.load_student(tmp_path / "run")
    assert facts["parameters"] == student.parameters_count
    assert dukd_train.evaluate(student, hr_folder) == dukd_train.evaluate(str(tmp_path / "run"), str(hr_folder))
    assert capsys.readouterr().out == ""


def test_scores_are_those_of_the_command(network: Network, teacher_file: Path, hr_folder: Path) -> None:
    expected = score_weights(teacher_file, {"All": hr_folder}, {}, None, "cpu", ["psnr", "ssim_y"]).sets["All"]
    assert dukd_train.evaluate(network, hr_folder, metrics=["psnr", "ssim_y"]) == expected
    assert [*expected.means.network] == ["psnr", "ssim_y"]
    assert dukd_train.evaluate(network, hr_folder, tile=24, tile_overlap=1).means.network != expected.means.network


def test_lr_images_can_be_one_s_own(network: Network, hr_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "lr").mkdir()
    for hr in find_images(hr_folder):
        Image.fromarray(read_scene(hr, None, 2).lr).save(tmp_path / "lr" / f"{hr.stem}_small.png")
    found = dukd_train.evaluate(network, hr_folder, tmp_path / "lr", lr_template="{stem}_small")
    assert found == dukd_train.evaluate(network, hr_folder)


def test_an_image_that_cannot_be_used_is_an_error_or_skipped(network: Network, hr_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(hr_folder, tmp_path / "hr")
    (folder / "photo1.png").write_bytes(b"none")
    with pytest.raises(ImageError, match=r"photo1\.png"):
        dukd_train.evaluate(network, folder)
    found = dukd_train.evaluate(network, folder, skip=True)
    assert [image.name for image in found.images] == ["photo0", "photo2", "photo3"]
    assert [*found.skipped] == ["photo1"]


def test_an_array_is_enlarged_as_a_file_is(network: Network, tmp_path: Path) -> None:
    image = photo_like(5, 20, 31).copy()
    before = image.copy()
    Image.fromarray(image).save(tmp_path / "small.png")
    upscale_file(network, tmp_path / "small.png", tmp_path / "large.png")
    large = dukd_train.upscale(network, image)
    assert (large.dtype, large.shape) == (np.uint8, (40, 62, 3))
    assert np.array_equal(large, read_rgb(tmp_path / "large.png"))
    assert np.array_equal(image, before)
    for same in (image[::-1][::-1], np.asfortranarray(image)):  # however it lies in memory
        assert np.array_equal(dukd_train.upscale(network, same), large)
    with pytest.raises(SettingError, match="tiles of 8 pixels that overlap by 32"):
        dukd_train.upscale(network, image, tile=8)


@pytest.mark.parametrize(
    ("image", "found"),
    [
        (np.zeros((4, 5, 3), np.float32), r"float32 \[4, 5, 3\]"),
        (np.zeros((4, 5), np.uint8), r"uint8 \[4, 5\]"),
        (np.zeros((3, 4, 5), np.uint8), r"uint8 \[3, 4, 5\]"),
        (np.zeros((4, 5, 4), np.uint8), r"uint8 \[4, 5, 4\]"),
        (np.zeros((0, 5, 3), np.uint8), r"uint8 \[0, 5, 3\]"),
    ],
)
def test_what_is_no_image_is_refused(network: Network, image: np.ndarray, found: str) -> None:
    with pytest.raises(ImageError, match=rf"^expected an image uint8 \[H,W,3\], found {found}$"):
        dukd_train.upscale(network, image)


def test_a_network_that_sees_beyond_its_tiles_is_told_of_once(
    network: Network, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        dukd_train.upscale(network, photo_like(1, 20, 31), tile=8, tile_overlap=0)
    seen = capsys.readouterr()
    assert seen.err.count("EDSR sees farther than the tiles' overlap of 0 pixels") == 1
    assert seen.out == ""


def test_export_writes_the_same_network(teacher_file: Path, network: Network, tmp_path: Path) -> None:
    done = dukd_train.export(str(teacher_file), "pth", str(tmp_path / "student.pth"))
    assert (done.path, done.difference) == (tmp_path / "student.pth", 0)
    image = photo_like(1, 20, 31)
    assert np.array_equal(
        dukd_train.upscale(dukd_train.load_student(done.path), image), dukd_train.upscale(network, image)
    )
    with pytest.raises(SettingError, match="exists already"):
        dukd_train.export(teacher_file, "pth", done.path)
    assert dukd_train.export(teacher_file, "pth", done.path, overwrite=True) == done


def test_images_are_looked_for_before_anything_is_loaded(network: Network, teacher_file: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with torch_home(tmp_path / "home", model=False):
        for asked in (network, str(tmp_path / "nothing.pth")):
            with pytest.raises(SettingError, match=r"^`hr` is missing: a folder of HR images, or one of LR images$"):
                dukd_train.evaluate(asked, None)
            with pytest.raises(ImageError, match="empty: "):
                dukd_train.evaluate(asked, None, tmp_path / "empty")
            with pytest.raises(ImageError, match="empty: "):
                dukd_train.evaluate(asked, tmp_path / "empty", metrics=["niqe"])
        photos = photographs(tmp_path / "photos", count=1)
        with pytest.raises(SettingError, match=r"photos: has no HR images, and without them no psnr_y; add niqe to "):
            dukd_train.evaluate(network, None, photos, ["psnr_y"])
        with pytest.raises(SettingError, match="metric niqe: "):
            dukd_train.evaluate(teacher_file, None, photos)


def test_mistakes_are_the_package_s_errors(
    settings_of: Settings, network: Network, hr_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(WeightsError):
        dukd_train.load_student(tmp_path / "nothing.pth")
    with pytest.raises(SettingError, match=r"^unknown metric 'pnsr_y': did you mean 'psnr_y'\? "):
        dukd_train.evaluate(network, hr_folder, metrics=["pnsr_y"])  # type: ignore[list-item]
    with pytest.raises(SettingError, match=r"^unknown precision 'half' \(valid: bf16, fp16, fp32\)$"):
        dukd_train.upscale(network, photo_like(1, 9, 9), precision="half")  # type: ignore[arg-type]
    with pytest.raises(SettingError, match=r"^tile 'big': expected auto, "):
        dukd_train.evaluate(network, hr_folder, tile="big")  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="onx"):
        dukd_train.export(tmp_path / "x.pth", "onx")  # type: ignore[arg-type]
    dukd_train.train(settings_of(steps=1), tmp_path / "run")
    with pytest.raises(dukd_train.RunError):
        dukd_train.train(settings_of(steps=1, seed=1), tmp_path / "run")

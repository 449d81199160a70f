"""Networks on image pairs, among them a released teacher against the scores that other code gave it."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.train.natural import fitted, photographs, picture, torch_home
from tests.train.nearest import Nearest
from torch import Tensor

from dukd_cache import networks
from dukd_cache.pictures.bicubic import downscale, upscale
from dukd_cache.pictures.sources import LrFolder
from dukd_cache.system.arrays import U8
from dukd_cache.system.errors import ImageError, SettingError
from dukd_train.scoring.evaluate import ImagePair, ImageScore, check_pairs, evaluate, pair_images
from dukd_train.scoring.inference import super_resolve
from dukd_train.scoring.metrics import psnr_y, ssim_y
from dukd_train.scoring.scores import Score, scorer, usual_score
from dukd_train.scoring.skipped import Skipped


def write_image(path: Path, height: int, width: int, seed: int) -> U8:
    """A random smooth picture, written and returned."""
    coarse = np.random.default_rng(seed).integers(0, 255, (height // 8 + 2, width // 8 + 2, 3), np.uint8)
    pixels: U8 = upscale(upscale(coarse, 4), 2)[:height, :width]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


def test_evaluation_scores_the_cropped_image_with_the_scale_as_border(tmp_path: Path) -> None:
    pixels = write_image(tmp_path / "a.png", 50, 71, seed=1)
    evaluation = evaluate(Nearest(3), pair_images(tmp_path, 3))
    truth = pixels[:48, :69]
    lr = downscale(truth, 3)
    nearest, bicubic = np.kron(lr, np.ones((3, 3, 1), np.uint8)), upscale(lr, 3)
    assert evaluation.images == (
        ImageScore(
            "a",
            {"psnr_y": psnr_y(nearest, truth, 3), "ssim_y": ssim_y(nearest, truth, 3)},
            {"psnr_y": psnr_y(bicubic, truth, 3), "ssim_y": ssim_y(bicubic, truth, 3)},
        ),
    )


def test_means_are_over_images_and_images_keep_their_order(tmp_path: Path) -> None:
    for seed, name in enumerate(("b", "a", "sub/c")):
        write_image(tmp_path / f"{name}.png", 40 + 8 * seed, 40, seed)
    told: list[str] = []
    evaluation = evaluate(Nearest(2), pair_images(tmp_path, 2), on_image=told.append)
    assert told == [image.name for image in evaluation.images] == ["a", "b", "sub/c"]
    means = evaluation.means
    assert means.network["psnr_y"] == pytest.approx(np.mean([image.network["psnr_y"] for image in evaluation.images]))
    assert means.bicubic["ssim_y"] == pytest.approx(np.mean([image.bicubic["ssim_y"] for image in evaluation.images]))
    assert means.network["psnr_y"] < means.bicubic["psnr_y"]


def test_images_that_differ_in_their_suffix_alone_are_two(tmp_path: Path) -> None:
    alone = []
    for seed, name in enumerate(("a.bmp", "a.png", "b.png")):
        for path in (tmp_path / "all" / name, tmp_path / name / name):
            write_image(path, 40, 40, seed)
        alone += evaluate(Nearest(2), pair_images(tmp_path / name, 2)).images
    found = evaluate(Nearest(2), pair_images(tmp_path / "all", 2))
    assert [image.bicubic for image in found.images] == [image.bicubic for image in alone]
    assert [*found.to_json()["images"]] == ["a.bmp", "a.png", "b"]


def test_json_is_strict_and_complete(tmp_path: Path) -> None:
    Image.new("RGB", (32, 32), (90, 90, 90)).save(tmp_path / "flat.png")
    write_image(tmp_path / "waves.png", 32, 32, seed=0)
    evaluation = evaluate(Nearest(2), pair_images(tmp_path, 2))

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    content = json.loads(json.dumps(evaluation.to_json()), parse_constant=refuse)
    assert content["images"]["flat"]["network"] == {"psnr_y": None, "ssim_y": pytest.approx(1.0)}
    assert content["images"]["waves"]["bicubic"]["psnr_y"] == evaluation.images[1].bicubic["psnr_y"]
    assert content["mean"]["bicubic"]["ssim_y"] == evaluation.means.bicubic["ssim_y"]
    assert set(content) == {"mean", "left_out", "images", "skipped"}


def test_given_lr_images_are_used(tmp_path: Path) -> None:
    pixels = write_image(tmp_path / "hr" / "a.png", 48, 64, seed=1)
    darker = (downscale(pixels, 4) * 0.5).astype(np.uint8)
    (tmp_path / "lr").mkdir()
    Image.fromarray(darker).save(tmp_path / "lr" / "ax4.png")
    Image.fromarray(downscale(pixels, 4)).save(tmp_path / "lr" / "a.png")
    by_scale = pair_images(tmp_path / "hr", 4, LrFolder(tmp_path / "lr"))
    plain = pair_images(tmp_path / "hr", 4, LrFolder(tmp_path / "lr", "{stem}"))
    np.testing.assert_array_equal(by_scale[0].read().lr, darker)
    made = evaluate(Nearest(4), pair_images(tmp_path / "hr", 4))
    assert evaluate(Nearest(4), plain) == made
    assert evaluate(Nearest(4), by_scale).means.network["psnr_y"] < made.means.network["psnr_y"] - 3


def test_missing_and_wrong_lr_images_are_named(tmp_path: Path) -> None:
    write_image(tmp_path / "hr" / "a.png", 48, 64, seed=1)
    write_image(tmp_path / "lr" / "a_LR.png", 12, 16, seed=1)
    with pytest.raises(ImageError, match=r"ax4.*no LR image for a\.png"):
        pair_images(tmp_path / "hr", 4, LrFolder(tmp_path / "lr"))
    pairs = pair_images(tmp_path / "hr", 2, LrFolder(tmp_path / "lr", "{stem}_LR"))
    with pytest.raises(ImageError, match=r"a_LR\.png: expected 32×24 pixels .* found 16×12"):
        evaluate(Nearest(2), pairs)
    with pytest.raises(SettingError, match="none: expected a folder of LR images, found nothing"):
        pair_images(tmp_path / "hr", 2, LrFolder(tmp_path / "none"), skipped={})


def test_unusable_images_are_named(tmp_path: Path) -> None:
    write_image(tmp_path / "tiny.png", 12, 12, seed=0)
    with pytest.raises(ImageError, match=r"tiny\.png: image of 12×12 pixels: expected at least 11"):
        evaluate(Nearest(2), pair_images(tmp_path, 2))
    with pytest.raises(ImageError, match="no images to evaluate on"):
        evaluate(Nearest(2), [])


def test_an_image_that_is_answered_exactly_is_in_no_mean(tmp_path: Path) -> None:
    write_image(tmp_path / "waves.png", 32, 32, seed=0)
    alone = evaluate(Nearest(2), pair_images(tmp_path, 2))
    Image.new("RGB", (32, 32), (90, 90, 90)).save(tmp_path / "flat.png")
    both = evaluate(Nearest(2), pair_images(tmp_path, 2))
    assert both.images[0].network["psnr_y"] == math.inf
    assert both.means.network["psnr_y"] == alone.means.network["psnr_y"]
    assert both.means.bicubic["psnr_y"] == alone.means.bicubic["psnr_y"]
    assert both.means.network["ssim_y"] > alone.means.network["ssim_y"]
    assert both.to_json()["left_out"] == {"psnr_y": ["flat"]}
    assert alone.to_json()["left_out"] == {}


@dataclass(frozen=True)
class Darker:
    """Misses flat images, too."""

    scale: int

    def __call__(self, image_NCHW: Tensor) -> Tensor:
        return Nearest(self.scale)(image_NCHW) - 1 / 255


def test_students_of_every_step_are_scored_on_the_same_images(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_image(tmp_path / f"waves{seed}.png", 32, 32, seed)
    pairs = pair_images(tmp_path, 2)
    expected = [evaluate(network, pairs).means.network["psnr_y"] for network in (Nearest(2), Darker(2))]
    Image.new("RGB", (32, 32), (90, 90, 90)).save(tmp_path / "flat.png")
    pairs, known = pair_images(tmp_path, 2), dict[str, Score]()
    scores = [evaluate(network, pairs, bicubic=known).means.network for network in (Nearest(2), Darker(2), Nearest(2))]
    found = [score["psnr_y"] for score in scores]
    assert found == [*expected, expected[0]], "bicubic answers the flat image exactly: it tells nobody from anybody"
    assert evaluate(Darker(2), pair_images(tmp_path, 2)).means.network == scores[1]


def test_one_bad_image_does_not_cost_the_others(tmp_path: Path) -> None:
    write_image(tmp_path / "hr" / "a.png", 48, 64, seed=1)
    alone = evaluate(Nearest(2), pair_images(tmp_path / "hr", 2))
    (tmp_path / "hr" / "b.png").write_text("no image")
    write_image(tmp_path / "hr" / "tiny.png", 12, 12, seed=0)
    found = evaluate(Nearest(2), pair_images(tmp_path / "hr", 2), skip=True)
    assert found.images == alone.images
    assert [*found.to_json()["skipped"]] == ["b", "tiny"]
    assert all(str(error).startswith(str(tmp_path / "hr" / f"{name}.png")) for name, error in found.skipped.items())
    write_image(tmp_path / "lr" / "ax2.png", 24, 32, seed=1)
    unpaired: Skipped = {}
    assert [pair.name for pair in pair_images(tmp_path / "hr", 2, LrFolder(tmp_path / "lr"), unpaired)] == ["a"]
    assert [*unpaired] == ["b", "tiny"]


def test_images_without_hr_have_what_needs_no_truth(tmp_path: Path) -> None:
    folder = photographs(tmp_path / "photos")
    pairs = pair_images(None, 2, LrFolder(folder))
    assert [pair.name for pair in pairs] == ["photo0", "photo1"]
    with torch_home(tmp_path / "home", model=True):
        score = scorer(("psnr_y", "niqe"))
    check_pairs(pairs, score)
    found = evaluate(Nearest(2), pairs, score)
    lr = picture(1, 100, 110)
    assert found.images[1].network == {"niqe": fitted()(np.kron(lr, np.ones((2, 2, 1), np.uint8)))}
    assert found.images[1].bicubic == {"niqe": fitted()(upscale(lr, 2))}
    assert found.to_json()["left_out"] == {}
    (folder / "broken.png").write_text("no image")
    with pytest.raises(ImageError, match=r"broken\.png"):
        check_pairs(pair_images(None, 2, LrFolder(folder)), score)
    with pytest.raises(SettingError, match="`hr` is missing"):
        pair_images(None, 2)


def reference(data_dir: Path, benchmark: str, scale: int) -> tuple[dict[str, list[float]], networks.Network]:
    scores = json.loads((data_dir / "reference_scores.json").read_text())[f"{benchmark} x{scale}"]["images"]
    return scores, networks.load(data_dir / "teachers" / f"DCTLSA_X{scale}.pt")


def assert_like_reference(pair: ImagePair, network: networks.Network, expected: list[float]) -> None:
    scene = pair.read()
    found = usual_score(super_resolve(network, scene.lr), scene.hr, pair.scale)
    assert found["psnr_y"] == pytest.approx(expected[0], abs=1e-3), pair.name
    assert found["ssim_y"] == pytest.approx(expected[1], abs=1e-4), pair.name


def test_a_released_teacher_scores_as_elsewhere(data_dir: Path) -> None:
    expected, network = reference(data_dir, "Set5", 4)
    pairs = {pair.name: pair for pair in pair_images(data_dir / "Set5" / "HR", 4)}
    assert_like_reference(pairs["butterfly"], network, expected["butterfly"])


def test_published_lr_images_give_the_same_scores_as_made_ones(data_dir: Path) -> None:
    published = LrFolder(data_dir / "Set5" / "LR_bicubic" / "X4")
    pairs = pair_images(data_dir / "Set5" / "HR", 4, published)
    assert evaluate(Nearest(4), pairs) == evaluate(Nearest(4), pair_images(data_dir / "Set5" / "HR", 4))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("benchmark", "scale"), [(name, scale) for name in ("Set5", "Set14", "B100") for scale in (2, 3, 4)]
)
def test_released_teachers_score_as_elsewhere_on_whole_sets(data_dir: Path, benchmark: str, scale: int) -> None:
    expected, network = reference(data_dir, benchmark, scale)
    pairs = pair_images(data_dir / benchmark / "HR", scale)
    assert sorted(pair.name for pair in pairs) == sorted(expected)
    for pair in pairs:
        assert_like_reference(pair, network, expected[pair.name])

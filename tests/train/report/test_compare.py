"""Reports on small finished runs: what the files say is what an evaluation says."""

import csv
import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.train.natural import fitted, photographs, picture, torch_home

from dukd_cache import networks
from dukd_cache.commands.degrade import degrade_folder
from dukd_cache.pictures.bicubic import upscale
from dukd_cache.pictures.degradation.presets import preset
from dukd_cache.pictures.drawing import MIN_HEIGHT
from dukd_cache.pictures.lr_folder import LrFolder
from dukd_cache.settings.model import dump, validated
from dukd_cache.system.errors import ImageError, SettingError, WeightsError
from dukd_train.errors import RunError
from dukd_train.report.compare import FILES, compare
from dukd_train.report.crops import most_different_crop
from dukd_train.report.plotting import styles
from dukd_train.scoring.evaluate import evaluate, pair_images, super_resolve
from dukd_train.scoring.inference import Inference
from dukd_train.settings import TrainConfig

CURVE = "step,lr,total,rec,kd,zoom_in,zoom_out_rec,zoom_out_kd\n10,1e-4,0.5,0.25,0.25,,,\n20,1e-4,0.4,0.2,0.2,,,\n"


def write_images(folder: Path, count: int, side: int = 80) -> Path:
    """Smooth random pictures of different sizes."""
    folder.mkdir(parents=True)
    for number in range(count):
        coarse = np.random.default_rng(number).integers(0, 255, (12, 12, 3), np.uint8)
        pixels = upscale(upscale(coarse, 4), 2)[: side + 3, : side + 4 * number]
        Image.fromarray(pixels).save(folder / f"image{number}.png")
    return folder


def make_network(seed: int, scale: int = 2) -> networks.Network:
    torch.manual_seed(seed)
    return networks.build("EDSR", scale, {"channels": 4, "blocks": 1})


def make_run(folder: Path, images: Path, seed: int, method: str = "kd") -> Path:
    folder.mkdir(parents=True)
    sets = {"Small": {"hr": str(images)}}
    wanted = {"cache": "caches/x", "method": method, "seed": seed, "validation": {"sets": sets}}
    (folder / "config.yaml").write_text(dump(validated(TrainConfig, wanted)))
    facts = {"method": method, "seed": seed, "student": "EDSR", "scale": 2, "steps": 20, "cache_digest": "c0ffee"}
    (folder / "run.json").write_text(json.dumps(facts))
    networks.save(make_network(seed), folder / "student.safetensors", {})
    (folder / "curve.csv").write_text(CURVE)
    (folder / "validation.csv").write_text("step,set,psnr_y,ssim_y\n10,Small,20,0.5\n20,Small,21,0.6\n")
    return folder


@dataclass(frozen=True)
class Report:
    """A finished report, to look at."""

    out: Path
    text: str
    runs: list[Path]
    images: Path


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    root = tmp_path_factory.mktemp("report")
    images = write_images(root / "benchmark" / "HR", count=3)
    runs = [make_run(root / "runs" / name, images, seed) for seed, name in enumerate(("first", "second"))]
    (runs[1] / "curve.csv").write_text(CURVE.replace(",0.", ",0.9"))
    networks.save(make_network(7), root / "big.safetensors", {})
    out = root / "reports" / "small"
    text = compare(runs, out, teacher=root / "big.safetensors", pictures=2, device="cpu").table
    return Report(out, text, runs, images)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return write_images(tmp_path / "benchmark" / "HR", count=1)


@pytest.fixture
def runs(tmp_path: Path, images: Path) -> list[Path]:
    return [make_run(tmp_path / "runs" / "first", images, 0), make_run(tmp_path / "runs" / "second", images, 1)]


def test_the_table_says_what_an_evaluation_says(report: Report) -> None:
    assert sorted(path.name for path in report.out.iterdir()) == sorted(FILES)
    assert report.text == (report.out / "table.md").read_text()

    evaluations = {
        name: evaluate(make_network(seed), pair_images(report.images, 2))
        for name, seed in (("first", 0), ("second", 1), ("teacher", 7))
    }
    expected = {name: evaluation.means.network for name, evaluation in evaluations.items()}
    expected = {"bicubic": evaluations["first"].means.bicubic, **expected}
    scores = json.loads((report.out / "scores.json").read_text())
    assert list(scores) == list(expected)
    for name, mean in expected.items():
        assert scores[name] == {"Small": {"psnr_y": mean["psnr_y"], "ssim_y": mean["ssim_y"]}}

    rows = {row["name"]: row for row in csv.DictReader((report.out / "table.csv").open())}
    parameters = str(make_network(0).parameters_count)
    for name, mean in expected.items():
        assert float(rows[name]["Small psnr_y"]) == pytest.approx(mean["psnr_y"], abs=1e-6)
        assert float(rows[name]["Small ssim_y"]) == pytest.approx(mean["ssim_y"], abs=1e-6)
        assert rows[name]["parameters"] == ("" if name == "bicubic" else parameters)
    assert [rows["second"][key] for key in ("method", "student", "steps", "seed")] == ["kd", "EDSR", "20", "1"]

    best = max(("first", "second"), key=lambda name: expected[name]["psnr_y"])
    line = next(line for line in report.text.splitlines() if line.startswith(f"| {best} "))
    assert f"**{expected[best]['psnr_y']:.2f}**" in line
    assert "| 0, 1  |" in report.text  # the two runs differ in their seed alone


def test_provenance_says_where_the_numbers_come_from(report: Report) -> None:
    found = json.loads((report.out / "provenance.json").read_text())
    assert found["runs"] == {path.name: json.loads((path / "run.json").read_text()) for path in report.runs}
    assert found["sets"]["Small"]["images"] == 3
    assert re.fullmatch(r"3 images \([0-9a-f]{8}\), whole images", found["sets"]["Small"]["made"])
    assert found["teacher"]["fingerprint"] == networks.fingerprint(make_network(7))
    expected = {name: networks.fingerprint(make_network(seed)) for seed, name in enumerate(("first", "second"))}
    assert found["fingerprints"] == expected
    assert (found["how"], found["tile"], found["precision"], found["skipped"]) == ("whole images", 0, "fp32", {})


def test_images_that_tell_nothing_or_cannot_be_used(tmp_path: Path, runs: list[Path], images: Path) -> None:
    compare(runs, tmp_path / "out", device="cpu").end()
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    Image.new("RGB", (64, 64)).save(images / "black.png")
    (images / "broken.png").write_text("no image")
    found = compare(runs, tmp_path / "out", device="cpu")
    again = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert {name: of["Small"]["psnr_y"] for name, of in again.items()} == {
        name: of["Small"]["psnr_y"] for name, of in scores.items()
    }, "bicubic answers the black image exactly"
    assert "Small: PSNR-Y means leave out 1 image that is answered exactly: black." in found.table
    page = (tmp_path / "out" / "report.html").read_text()
    assert not re.search(r"\b(inf|nan)\b", re.sub(r"data:[^\"]*", "", page))
    provenance = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert provenance["sets"]["Small"] | {"hr": "", "lr": "", "made": ""} == {
        "hr": "", "lr": "", "made": "", "images": 2, "left_out": {"psnr_y": ["black"]},
    }  # fmt: skip
    assert [*provenance["skipped"]] == ["Small/broken"]
    with pytest.raises(ImageError, match="1 of 3 images could not be compared: they are named above"):
        found.end()


def test_scores_of_tiles_are_marked(tmp_path: Path, runs: list[Path]) -> None:
    found = compare(runs[:1], tmp_path / "out", how=Inference(24, 2), device="cpu")
    warning = "Scored in tiles of 24 pixels that overlap by 2: not to be compared with scores that are made otherwise."
    assert warning in found.table
    assert warning in (tmp_path / "out" / "report.html").read_text()
    assert json.loads((tmp_path / "out" / "provenance.json").read_text())["tile_overlap"] == 2


def test_crops_show_everyone_once_a_picture(report: Report) -> None:
    with Image.open(report.out / "crops.png") as sheet:
        assert sheet.mode == "RGB"
        assert round(sheet.height / (MIN_HEIGHT + 90)) == 2  # rows of a label, tiles and two lines of caption
        assert sheet.width > 6 * MIN_HEIGHT  # context, bicubic, two students, teacher, truth


def test_crops_are_of_the_pictures_that_differ_most(report: Report) -> None:
    students = {"first": make_network(0), "second": make_network(1)}
    differences = {}
    for pair in pair_images(report.images, 2):
        scene = pair.read()
        answers = {name: super_resolve(network, scene.lr) for name, network in students.items()}
        crop = most_different_crop(pair.name, answers, list(students), scene.hr, 2)
        differences[f"Small/{pair.name}"] = crop.difference
    found = json.loads((report.out / "provenance.json").read_text())["crops"]
    expected = sorted(differences, key=lambda name: -differences[name])[:2]
    assert [crop["picture"] for crop in found] == expected


def test_there_are_no_more_crops_than_pictures(tmp_path: Path, runs: list[Path]) -> None:
    compare(runs, tmp_path / "out", pictures=4, device="cpu")
    with Image.open(tmp_path / "out" / "crops.png") as sheet:
        assert round(sheet.height / (MIN_HEIGHT + 90)) == 1


def test_curves_have_a_panel_for_each_loss_and_set(report: Report) -> None:
    with Image.open(report.out / "curves.png") as figure:
        assert 1.2 < figure.width / figure.height < 1.6  # total, rec, kd and one set: two by two
        pixels = np.asarray(figure.convert("RGB")).astype(int)
    colors = [[int(look["color"][at : at + 2], 16) for at in (1, 3, 5)] for look in styles(["a", "b", "c"]).values()]
    drawn = [int((np.abs(pixels - color).max(axis=2) < 50).sum()) for color in colors]
    assert drawn[0] > 300
    assert drawn[1] > 300
    assert drawn[2] == 0


def test_a_diverged_run_still_gets_its_report(tmp_path: Path, runs: list[Path]) -> None:
    (runs[0] / "curve.csv").write_text("step,lr,total,rec\n10,1e-4,nan,nan\n20,1e-4,nan,nan\n")
    compare(runs[:1], tmp_path / "out", device="cpu")
    assert (tmp_path / "out" / "curves.png").is_file()


def test_runs_without_curves_still_get_a_figure(tmp_path: Path, runs: list[Path]) -> None:
    for run in runs:
        (run / "curve.csv").unlink()
        (run / "validation.csv").unlink()
    compare(runs, tmp_path / "out", device="cpu")
    with Image.open(tmp_path / "out" / "curves.png") as figure:
        assert figure.width > 100


def test_given_images_replace_the_validation_sets(tmp_path: Path, runs: list[Path]) -> None:
    other = write_images(tmp_path / "Other" / "HR", count=1)
    compare(runs[:1], tmp_path / "out", hr={"Other": other}, device="cpu")
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    mean = evaluate(make_network(0), pair_images(other, 2)).means.network
    assert scores["first"] == {"Other": {"psnr_y": mean["psnr_y"], "ssim_y": mean["ssim_y"]}}


def test_given_images_may_have_lr_images(tmp_path: Path, runs: list[Path]) -> None:
    other = write_images(tmp_path / "Other" / "HR", count=1)
    degrade_folder(other, tmp_path / "LR", 2, preset("light"))
    compare(runs[:1], tmp_path / "out", hr={"Other": other}, lr={"Other": tmp_path / "LR"}, device="cpu")
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    pairs = pair_images(other, 2, LrFolder(tmp_path / "LR"))
    assert scores["first"]["Other"] == evaluate(make_network(0), pairs).means.network
    (tmp_path / "nothing").mkdir()
    with pytest.raises(ImageError, match="nothing"):
        compare(runs[:1], tmp_path / "out", hr={"Other": other}, lr={"Other": tmp_path / "nothing"}, device="cpu")
    compare(
        runs[:1], tmp_path / "out", hr={"Other": other}, lr={"Other": tmp_path / "nothing"},
        lr_only={"photographs": tmp_path / "LR"}, device="cpu",
    )  # fmt: skip
    with pytest.raises(SettingError, match=r"^`lr`: no set of `hr` is called 'Another'$"):
        compare(runs, tmp_path / "out", hr={"Other": other}, lr={"Another": tmp_path / "LR"}, device="cpu")


def test_a_report_replaces_an_earlier_one_but_nothing_else(tmp_path: Path, runs: list[Path], images: Path) -> None:
    out = tmp_path / "out"
    compare(runs[:1], out, device="cpu")
    (out / ".gitignore").write_text("/scores.json\n")
    compare(runs[1:], out, device="cpu")
    assert set(json.loads((out / "scores.json").read_text())) == {"bicubic", "second"}
    assert (out / ".gitignore").exists()
    with pytest.raises(SettingError, match=r"benchmark: expected an empty folder or an earlier report, found HR"):
        compare(runs, images.parent, device="cpu")
    with pytest.raises(SettingError, match="expected a folder for the report, found a file"):
        compare(runs, images / "image0.png", device="cpu")


def test_a_failure_leaves_an_earlier_report_as_it_was(tmp_path: Path, runs: list[Path]) -> None:
    out = tmp_path / "out"
    compare(runs[:1], out, device="cpu")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    (runs[1] / "curve.csv").write_text("step,lr,total\n10,1e-4,oops\n")  # read after table.md is written
    with pytest.raises(RunError, match="curve"):
        compare(runs, out, device="cpu")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_unusable_inputs_are_named(tmp_path: Path, runs: list[Path]) -> None:
    networks.save(make_network(0, scale=3), tmp_path / "x3.safetensors", {})
    with pytest.raises(WeightsError, match=r"x3\.safetensors: expected a network of scale 2, found scale 3"):
        compare(runs, tmp_path / "out", teacher=tmp_path / "x3.safetensors", device="cpu")
    tiny = tmp_path / "tiny"
    tiny.mkdir()
    Image.new("RGB", (12, 12)).save(tiny / "t.png")
    with pytest.raises(ImageError, match=r"t\.png: image of 12×12"):
        compare(runs, tmp_path / "out", hr={"tiny": tiny}, device="cpu")
    assert not (tmp_path / "out").exists()


def test_images_without_hr_are_compared_by_niqe_and_by_eye(tmp_path: Path, runs: list[Path]) -> None:
    photos, out = photographs(tmp_path / "photos"), tmp_path / "out"
    (photos / "broken.png").write_text("no image")
    with torch_home(tmp_path / "home", model=True):
        found = compare(runs, out, lr_only={"photos": photos}, pictures=1, device="cpu")
    assert [error.subject for error in found.skipped] == [str(photos / "broken.png")]
    assert "images: Small (1)" in found.table
    table = found.table.partition("Images without HR: photos (2); NIQE, smaller is better.")[2]
    assert re.findall(r"^\| (\w+)", table, re.MULTILINE) == ["name", "bicubic", "first", "second"]
    scores = json.loads((out / "scores.json").read_text())
    lr = [picture(seed, 100, 110) for seed in range(2)]
    expected = np.mean([fitted()(super_resolve(make_network(1), image)) for image in lr])
    assert scores["second"]["photos"] == {"niqe": pytest.approx(expected)}
    assert scores["bicubic"]["photos"] == {"niqe": pytest.approx(np.mean([fitted()(upscale(x, 2)) for x in lr]))}
    provenance = json.loads((out / "provenance.json").read_text())
    of_photos = provenance["sets"]["photos"] | {"made": ""}
    assert of_photos == {"hr": None, "lr": str(photos), "made": "", "images": 2, "left_out": {}}
    assert [crop["picture"].partition("/")[0] for crop in provenance["crops"]] == ["Small", "photos"]


def test_without_hr_and_without_the_model_there_are_pictures(
    tmp_path: Path, runs: list[Path], images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, out = photographs(tmp_path / "photos", count=1), tmp_path / "out"
    for run in runs:
        wanted = {"cache": "c", "method": "kd", "seed": 0, "validation": {"sets": {"photos": {"lr": str(photos)}}}}
        (run / "config.yaml").write_text(dump(validated(TrainConfig, wanted)))
    with torch_home(tmp_path / "home", model=False):
        table = compare(runs, out, device="cpu").table
        assert "images without HR are compared by eye alone: metric niqe: niqe_pris_params.npz is missing" in (
            capsys.readouterr().err
        )
        with pytest.raises(SettingError, match="metric niqe: "):
            compare(runs, out, metrics=("niqe",), device="cpu")
        with pytest.raises(WeightsError, match="nowhere"):
            compare(runs, out, metrics=("niqe",), teacher=tmp_path / "nowhere.pth", device="cpu")
        with pytest.raises(SettingError, match="`lr_only`: there is another set photos"):
            compare(runs, out, lr_only={"photos": images}, device="cpu")
    assert "Images without HR: photos (1), to be compared by eye." in table
    assert "PSNR" not in table
    assert {path.name for path in out.iterdir()} == {*FILES}

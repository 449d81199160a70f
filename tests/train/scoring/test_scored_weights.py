"""`eval`: one set or several, as tables and as JSON, with how they were made; images that cannot be used."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image
from tests.train.natural import photographs, torch_home

from dukd_cache import networks
from dukd_cache.pictures.sources import LrFolder
from dukd_cache.system.errors import SettingError, WeightsError
from dukd_train import cli
from dukd_train.scoring.evaluate import Evaluation, pair_images
from dukd_train.scoring.inference import Inference
from dukd_train.scoring.metrics import psnr
from dukd_train.scoring.provenance import files_of
from dukd_train.scoring.scored_weights import Scored, score_weights, scores_json, tables


@pytest.fixture(scope="module")
def one(teacher_file: Path, hr_folder: Path) -> Scored:
    return score_weights(teacher_file, {"All": hr_folder}, {}, None, "cpu")


def without_how(scores: Scored) -> dict[str, object]:
    content: dict[str, object] = json.loads(scores_json(scores))
    assert isinstance(content.pop("made"), dict)
    return content


def test_one_set_is_its_means_and_images(one: Scored) -> None:
    content = without_how(one)
    assert content == one.sets["All"].to_json()
    assert list(content) == ["mean", "left_out", "images", "skipped"]


def test_several_sets_are_told_apart(teacher_file: Path, hr_folder: Path, one: Scored) -> None:
    two = score_weights(teacher_file, {"A": hr_folder, "B": hr_folder}, {}, 2, "cpu")
    assert two.sets == {"A": one.sets["All"], "B": one.sets["All"]}
    expected = one.sets["All"].to_json()
    assert without_how(two) == {"sets": {"A": expected, "B": expected}}
    assert tables(two) == f"A\n{tables(one)}\n\nB\n{tables(one)}"


def test_scores_say_how_they_were_made(teacher_file: Path, hr_folder: Path, one: Scored) -> None:
    made = json.loads(scores_json(one))["made"]
    fingerprint = networks.fingerprint(networks.load(teacher_file))
    files = files_of(pair_images(hr_folder, 2))
    assert made["weights"] == {
        "file": str(teacher_file), "fingerprint": fingerprint, "architecture": "EDSR", "scale": 2,
    }  # fmt: skip
    assert {key: made[key] for key in ("tile", "self_ensemble", "precision", "border", "images")} == {
        "tile": 0,
        "self_ensemble": False,
        "precision": "fp32",
        "border": 2,
        "images": {"All": {"hr": str(hr_folder), "lr": "bicubic", "files": files}},
    }
    assert {"device", "dukd_version", "commit", "torch_version"} <= {*made}
    tiled = score_weights(teacher_file, {"All": hr_folder}, {}, None, "cpu", how=Inference(24, 1, True))
    assert (tiled.made["tile"], tiled.made["tile_overlap"], tiled.made["self_ensemble"]) == (24, 1, True)
    assert "scored in tiles of 24 pixels that overlap by 1, self-ensemble: not to be compared" in tables(tiled)
    assert "compared" not in tables(one)


def test_columns_are_the_metrics_asked_for(teacher_file: Path, hr_folder: Path, one: Scored) -> None:
    found = score_weights(teacher_file, {"All": hr_folder}, {}, None, "cpu", ["ssim", "psnr", "psnr_y"])
    lines = tables(found).splitlines()
    labels = ["SSIM-RGB", "PSNR-RGB", "PSNR-Y"]
    assert lines[0].strip("| ").split(" | ") == ["image ", *labels, *(f"bicubic {label}" for label in labels)]
    means = found.sets["All"].means
    assert lines[-1].replace("|", "").split() == [
        "mean",
        *(f"{s[m]:.{d}f}" for s in (means.network, means.bicubic) for m, d in DIGITS),
    ]
    assert len({len(line) for line in lines}) == 1
    assert means.network["psnr_y"] == one.sets["All"].means.network["psnr_y"]
    assert found.sets["All"].images[0].bicubic["psnr"] == pytest.approx(_rgb_of_bicubic(hr_folder))


DIGITS = (("ssim", 4), ("psnr", 3), ("psnr_y", 3))


def _rgb_of_bicubic(hr_folder: Path) -> float:
    from dukd_cache.pictures.bicubic import upscale

    scene = pair_images(hr_folder, 2)[0].read()
    return psnr(upscale(scene.lr, 2), scene.hr, 2)


def test_another_scale_or_device_is_refused(teacher_file: Path, hr_folder: Path) -> None:
    with pytest.raises(WeightsError, match="expected a network of scale 3, found one of scale 2"):
        score_weights(teacher_file, {"All": hr_folder}, {}, 3, "cpu")
    with pytest.raises(SettingError, match="device 'gpu'"):
        score_weights(teacher_file, {"All": hr_folder}, {}, None, "gpu")


def test_the_command_scores_what_it_can_and_ends_with_2(
    teacher_file: Path,
    hr_folder: Path,
    one: Scored,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    hr = tmp_path / "hr"
    shutil.copytree(hr_folder, hr)
    (hr / "broken.png").write_bytes(b"no image")
    Image.new("RGB", (64, 64)).save(hr / "flat.png")
    words = ["eval", "--weights", str(teacher_file), "--hr", str(hr), "--json", str(tmp_path / "s.json")]
    monkeypatch.setattr(sys, "argv", ["dukd-train", *words, "--device", "cpu"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    printed = capsys.readouterr()
    errors = printed.err.splitlines()[-2:]
    assert errors[0].startswith(f"{hr}/broken.png: not a readable image")
    assert errors[1] == "dukd-train: 1 of 6 images could not be scored: they are named above"
    content = json.loads((tmp_path / "s.json").read_text())
    assert content["mean"]["network"]["psnr_y"] == one.sets["All"].means.network["psnr_y"]
    assert content["left_out"] == {"psnr_y": ["flat"]}
    assert [*content["skipped"]] == ["broken"]
    assert "PSNR-Y means leave out 1 image that is answered exactly: flat" in printed.out
    assert "inf" not in printed.out


def test_images_without_hr_have_niqe_alone(
    teacher_file: Path,
    hr_folder: Path,
    one: Scored,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    photos = photographs(tmp_path / "photos")
    words = ["eval", "--weights", str(teacher_file), "--lr-only", str(photos), "--device", "cpu"]

    def run(*more: str) -> str:
        monkeypatch.setattr(sys, "argv", ["dukd-train", *words, *more])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        printed = capsys.readouterr()
        assert caught.value.code == (2 if printed.err.startswith("dukd-train: ") else 0)
        return printed.out or printed.err

    with torch_home(tmp_path / "home", model=True):
        lines = run("--json", str(tmp_path / "s.json")).splitlines()
        assert lines[0].replace("|", "").split() == ["image", "NIQE", "bicubic", "NIQE"]
        content = json.loads((tmp_path / "s.json").read_text())
        files = files_of(pair_images(None, 2, LrFolder(photos)))
        assert content["made"]["images"] == {"photos": {"hr": None, "lr": str(photos), "files": files}}
        assert content["mean"]["network"].keys() == {"niqe"}
        both = run("--hr", f"All={hr_folder}", "--metrics", "psnr_y,niqe").split("\n\n")
        assert [text.splitlines()[1].count("PSNR-Y") for text in both] == [2, 0]
        assert f"{one.sets['All'].means.network['psnr_y']:.3f}" in both[0]
        assert "NIQE means leave out" in both[0], "too small"
        assert run("--metrics", "psnr_y") == (
            "dukd-train: set photos: has no HR images, and without them no psnr_y; add niqe to --metrics\n"
        )
    with torch_home(tmp_path / "other", model=False):
        assert "metric niqe: niqe_pris_params.npz is missing" in run()
    words[3:5] = []
    assert run() == "dukd-train: --hr is missing: a folder of HR images; or images without HR, as --lr-only\n"


def test_a_set_without_a_usable_image_has_no_table() -> None:
    assert Evaluation(()).to_json() == {"mean": None, "left_out": {}, "images": {}, "skipped": {}}
    assert tables(Scored({"A": Evaluation(())}, {}, Inference())) == ""


def test_the_users_own_code_is_scored_as_networks_are(hr_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "def larger(image):\n    return image.repeat_interleave(2, 2).repeat_interleave(2, 3)\n"
    )
    found = score_weights(Path(f"python:{tmp_path}/own.py:larger"), {"a": hr_folder}, {}, 2, "cpu")
    assert found.made["weights"]["architecture"] == "python"
    scores = found.sets["a"].means
    assert 10 < float(scores.network["psnr_y"]) < float(scores.bicubic["psnr_y"])

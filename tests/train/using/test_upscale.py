"""`dukd-train upscale` on files and folders: what goes where, what is left alone, what is refused."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.cache.networks.test_programs import Enlarge, as_onnx
from tests.processes import start_program

from dukd_cache import networks
from dukd_cache.pictures.sources import read_rgb
from dukd_cache.system.errors import ImageError, SettingError
from dukd_train import cli
from dukd_train.scoring.inference import Inference, super_resolve
from dukd_train.using import pictures
from dukd_train.using.upscale import targets_of, upscale_files


def save(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (12, 9, 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for seed, name in enumerate(("a.png", "b.jpg", "sub/deep/c.webp")):
        save(tmp_path / "photos" / name, seed)
    return tmp_path / "photos"


@pytest.fixture
def upscale(
    teacher_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """The command with a tiny network ×2 → exit code, standard output, standard error."""

    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(
            sys, "argv", ["dukd-train", "upscale", str(teacher_file), *map(str, words), "--device", "cpu"]
        )
        with pytest.raises(SystemExit) as caught:
            cli.main()
        printed = capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return caught.value.code, printed.out, printed.err

    return call


Upscale = Callable[..., tuple[int, str, str]]


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_one_image(upscale: Upscale, photos: Path, tmp_path: Path, teacher_file: Path) -> None:
    out = tmp_path / "new" / "large.webp"
    assert upscale(photos / "a.png", out)[:2] == (0, f"{out}: 1 enlarged\n")
    expected = super_resolve(networks.load(teacher_file), read_rgb(photos / "a.png"))
    assert np.array_equal(read_rgb(out), expected)
    assert expected.shape == (24, 18, 3)


def test_a_folder_keeps_names_and_subfolders(upscale: Upscale, photos: Path, tmp_path: Path) -> None:
    before = files(photos)
    assert upscale(photos, tmp_path / "large")[:2] == (0, f"{tmp_path}/large: 3 enlarged\n")
    assert sorted(files(tmp_path / "large")) == ["a.png", "b.png", "sub/deep/c.png"]
    assert files(photos) == before
    code, _, _ = upscale(photos, tmp_path / "same", "--format", "same")
    assert (code, sorted(files(tmp_path / "same"))) == (0, ["a.png", "b.jpg", "sub/deep/c.webp"])


def test_what_exists_is_left_alone_or_made_anew(upscale: Upscale, photos: Path, tmp_path: Path) -> None:
    large = tmp_path / "large"
    upscale(photos, large)
    made = files(large)
    (large / "a.png").write_bytes(b"mine")
    (large / "b.png").unlink()
    _, printed, _ = upscale(photos, large)
    assert printed == f"{large}: 1 enlarged, 2 were there already (--overwrite makes them anew)\n"
    assert files(large) == made | {"a.png": b"mine"}
    code, _, error = upscale(photos / "a.png", large / "a.png")
    assert (code, error) == (2, f"dukd-train: {large}/a.png: exists already; --overwrite makes it anew\n")
    assert upscale(photos / "a.png", large)[2] == error, "the file, not its folder, which stays as it is"
    assert upscale(photos, large, "--overwrite")[0] == 0
    assert files(large) == made


def test_outputs_in_the_inputs_folder_are_no_inputs(upscale: Upscale, photos: Path) -> None:
    for _ in range(2):
        assert upscale(photos, photos / "large")[0] == 0
    assert sorted(files(photos / "large")) == ["a.png", "b.png", "sub/deep/c.png"]


def test_a_bad_image_is_named_and_the_rest_go_on(upscale: Upscale, photos: Path, tmp_path: Path) -> None:
    (photos / "bad.png").write_bytes(b"no image")
    Image.new("RGBA", (4, 4), (1, 2, 3, 4)).save(photos / "clear.png")
    code, printed, error = upscale(photos, tmp_path / "large", "--format", "jpg")
    assert (code, printed) == (2, "")
    lines = error.splitlines()[-3:]
    assert lines[0].startswith(f"{photos}/bad.png: not a readable image")
    assert lines[1].startswith(f"{photos}/clear.png: JPEG holds no transparency")
    assert lines[2] == "dukd-train: 2 of 5 images could not be enlarged: they are named above"
    assert sorted(files(tmp_path / "large")) == ["a.jpg", "b.jpg", "sub/deep/c.jpg"]
    code, _, error = upscale(photos / "bad.png", tmp_path / "x.png")
    assert code == 2
    assert error.splitlines()[-1].startswith(f"dukd-train: {photos}/bad.png: not a readable image")


class OverflowsOnWhite(torch.nn.Module):
    """Infinite for white pixels, which clamping would make white of."""

    def forward(self, image_NCHW: torch.Tensor) -> torch.Tensor:
        large = torch.nn.functional.interpolate(image_NCHW, scale_factor=2)
        return torch.where(large == 1, torch.inf, large)


def test_an_answer_that_is_not_finite_is_no_picture(
    upscale: Upscale, photos: Path, tmp_path: Path, teacher_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.png", "white.png"):
        Image.new("RGB", (8, 8), "white" if name == "white.png" else "grey").save(photos / name)
    network = networks.load(teacher_file).with_module(OverflowsOnWhite())
    monkeypatch.setattr(networks, "load_any", lambda _path: network)
    shutil.rmtree(photos / "sub")
    (photos / "b.jpg").unlink()
    code, _, errors = upscale(photos, tmp_path / "out")
    assert code == 2
    assert f"{photos / 'white.png'}: EDSR answers in fp32 with numbers that are not finite" in errors
    assert set(files(tmp_path / "out")) == {"a.png"}


def test_tiles_and_ensemble(upscale: Upscale, photos: Path, tmp_path: Path) -> None:
    upscale(photos / "a.png", tmp_path / "whole.png", "--tile", "0")
    upscale(photos / "a.png", tmp_path / "tiles.png", "--tile", "11", "--tile-overlap", "5")
    _, _, error = upscale(photos / "a.png", tmp_path / "seams.png", "--tile", "8", "--tile-overlap", "0")
    assert "EDSR sees farther than the tiles' overlap of 0 pixels" in error
    whole, tiled = (read_rgb(tmp_path / name).astype(int) for name in ("whole.png", "tiles.png"))
    assert np.abs(whole - tiled).max() <= 1
    upscale(photos / "a.png", tmp_path / "eight.png", "--self-ensemble")
    assert (read_rgb(tmp_path / "eight.png") != whole).any()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("{photos}/none.png {tmp}/x.png", "{photos}/none.png: no such image or folder"),
        ("{photos} {photos}", "{photos}: the folder of the inputs; choose another for the outputs"),
        ("{photos} {tmp}/x.png", "{tmp}/x.png: expected a folder, as {photos} is one"),
        ("{photos}/a.png {photos}/a.png --overwrite", "{photos}/a.png: would overwrite the input {photos}/a.png"),
        ("{photos}/a.png {photos}/link.png --overwrite", "{photos}/link.png: would overwrite the input {photos}/a.png"),
        ("{photos}/a.png {tmp}/x.gif", "{tmp}/x.gif: expected a folder, or a file that ends in .png"),
        ("{photos}/a.png {tmp}/x.png --format jpg", "{tmp}/x.png: its name says another format than --format jpg"),
        ("{photos} {tmp}/x --format gif", "unknown --format 'gif': did you mean 'tif'? (valid: apng, bmp, jfif, "),
        ("{photos} {tmp}/x --tile 40", "tiles of 40 pixels that overlap by 32 on each side: expected at least 65"),
        ("{photos} {tmp}/x --tile big", "--tile big: expected auto, 0"),
        ("{photos} {tmp}/x --precision half", "unknown --precision 'half' (valid: bf16, fp16, fp32)"),
        ("{photos} {tmp}/x --precision fp16", "--precision fp16: a CPU computes in fp32 or bf16"),
    ],
)
def test_mistakes_end_with_one_line(upscale: Upscale, photos: Path, tmp_path: Path, words: str, message: str) -> None:
    def filled(text: str) -> str:
        return text.replace("{photos}", str(photos)).replace("{tmp}", str(tmp_path))

    if "link" in words:
        (photos / "link.png").symlink_to(photos / "a.png")
    before = files(tmp_path)
    code, printed, error = upscale(*filled(words).split())
    assert (code, printed) == (2, "")
    assert error.startswith(f"dukd-train: {filled(message)}")
    assert error.count("\n") == 1
    assert files(tmp_path) == before


def test_two_images_of_one_output_are_refused(photos: Path, tmp_path: Path) -> None:
    shutil.copy(photos / "b.jpg", photos / "a.jpg")
    with pytest.raises(SettingError, match=r"a\.jpg and .*a\.png would both become .*a\.png: rename one"):
        targets_of(photos, tmp_path / "x", None)
    assert len(targets_of(photos, tmp_path / "x", "same")) == 4


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no images found"):
        targets_of(tmp_path, tmp_path / "x", None)


@pytest.mark.parametrize("out", ["x", "x/y.jpg"])
def test_a_single_file_goes_into_a_folder_or_under_a_name(photos: Path, tmp_path: Path, out: str) -> None:
    (target,) = targets_of(photos / "a.png", tmp_path / out, None).values()
    assert target == tmp_path / ("x/a.png" if out == "x" else "x/y.jpg")


def test_what_another_command_makes_meanwhile_is_left_alone(upscale: Upscale, photos: Path, tmp_path: Path) -> None:
    """The other one makes `b.png` while this one is at `a.png`."""
    other = tmp_path / "large" / "b.png"

    def made_meanwhile(*words: Any, **others: Any) -> None:
        other.parent.mkdir(exist_ok=True)
        other.write_bytes(b"theirs")
        pictures.upscale_file(*words, **others)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dukd_train.using.upscale.upscale_file", made_meanwhile)
        code, printed, _ = upscale(photos, tmp_path / "large")
    assert (code, printed.splitlines()[-1]) == (
        0,
        f"{tmp_path}/large: 2 enlarged, 1 were there already (--overwrite makes them anew)",
    )
    assert other.read_bytes() == b"theirs"


def test_two_at_once_fill_one_folder(teacher_file: Path, photos: Path, tmp_path: Path) -> None:
    for number in range(12):
        save(photos / f"{number}.png", number)
    words = ["upscale", teacher_file, photos, tmp_path / "large", "--device", "cpu"]
    ends = [
        each.end() for each in [start_program("dukd_train", words, tmp_path / f"{number}.txt") for number in (1, 2)]
    ]
    assert [code for code, _ in ends] == [0, 0]
    made = [int(text.splitlines()[-1].partition(": ")[2].partition(" ")[0]) for _, text in ends]
    assert 15 <= sum(made) <= 30
    assert len(files(tmp_path / "large")) == 15


def test_a_name_that_the_system_refuses_does_not_cost_the_others(
    upscale: Upscale, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "large").mkdir()
    (tmp_path / "large" / "sub").write_text("a file where a folder has to be")
    code, _, error = upscale(photos, tmp_path / "large")
    assert code == 2
    assert error.splitlines()[-2].startswith(f"{tmp_path}/large/sub")
    assert {"a.png", "b.png"} <= {*files(tmp_path / "large")}


def test_a_program_enlarges_as_networks_do(photos: Path, tmp_path: Path) -> None:
    weights = as_onnx(Enlarge().requires_grad_(False), tmp_path / "net.onnx")
    upscale_files(weights, photos, tmp_path / "out", None, Inference(), "cpu", overwrite=False)
    assert {*files(tmp_path / "out")} == {"a.png", "b.png", "sub/deep/c.png"}

"""The command `dukd-cache` as people meet it: what it prints, where, and how it ends."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.cache.samples import files_of, photo, save_photos

from dukd_cache import cli, networks
from dukd_cache.commands import build as job
from dukd_cache.commands import inspect
from dukd_cache.format.manifest import MANIFEST
from dukd_cache.format.reader import Cache
from dukd_cache.pictures.bicubic import downscale
from dukd_cache.pictures.sources import find_images, read_rgb, read_scene

PROGRESS = (
    "reading image headers: ",
    "asking the teacher",
    "cutting pairs",
    "making LR images: ",
    "making images: ",
    "measuring records: ",
    "checking: ",
    "converting: ",
    "the teacher is worse than bicubic",
)


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    output: str
    errors: list[str]
    """Lines of stderr, less those that tell the progress, and that these tests' random teacher is no good."""


class Command:
    """Runs `dukd-cache` in this process, as its entry point does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, *words: object) -> Ended:
        self._monkeypatch.setattr(sys, "argv", ["dukd-cache", *map(str, words)])
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            cli.main()
        seen = self._capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return Ended(caught.value.code, seen.out, without_progress(seen.err))


def without_progress(errors: str) -> list[str]:
    return [line for line in errors.splitlines() if not line.startswith(PROGRESS)]


@pytest.fixture
def dukd_cache(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capsys)


def process(*words: object) -> Ended:
    """The same as a real process."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", "from dukd_cache.cli import main; main()", *map(str, words)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    return Ended(done.returncode, done.stdout, without_progress(done.stderr))


def refused(ended: Ended, *says: str) -> None:
    """A user's mistake: exit code 2, exactly one line, which says these things, and nothing on stdout."""
    assert ended.code == 2, ended
    assert len(ended.errors) == 1, ended
    assert ended.errors[0].startswith("dukd-cache: ")
    for word in says:
        assert word in ended.errors[0]
    assert "Traceback" not in ended.errors[0]
    assert ended.output == ""


def test_build_and_inspect(dukd_cache: Command, photos: Path, teacher_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "cache"
    build = ("build", "--hr", photos, "--teacher", teacher_file, "--out", out)
    small = ("--patch", 12, "--base", 3, "--zoom-out", 2, "--codec", "png", "--dtype", "float16", "--seed", 5)
    ended = dukd_cache(*build, *small)
    assert ended.code == 0, ended
    assert ended.errors == []
    assert ended.output.startswith(f"{out}: 9 base, 9 zoom_in, 6 zoom_out records in 3 shards, ")
    assert ended.output.count("\n") == 1

    opened = Cache(out)
    found = json.loads(dukd_cache("inspect", out, "--json").output)
    assert found["digest"] == opened.digest
    as_written = json.loads((out / MANIFEST).read_text())
    for section in ("format", "version", "scale", "patch", "seed", "answers", "images", "encoding", "software"):
        assert found[section] == as_written[section]
    assert found["seed"] == 5
    assert {view["arrays"]["teacher"]["dtype"] for view in as_written["views"]} == {"float16"}
    assert set(found["views"]) == {"base", "zoom_in", "zoom_out"}
    for view, facts in found["views"].items():
        shards = as_written["shards"][view]
        record = opened.read(view, 0)
        assert facts == {
            "records": opened.count(view),
            "shards": len(shards["sha256"]),
            "bytes": sum(shards["bytes"]),
            "input": len(record.input),
            "output": len(record["teacher"]),
        }

    table = dukd_cache("inspect", out)
    assert table.code == 0
    assert opened.digest[:16] in table.output
    rows = table.output.split("\n\n")[1].splitlines()
    assert [line.strip("| ").replace("|", " ").split()[:2] for line in rows[2:]] == [
        ["base", "9"],
        ["zoom_in", "9"],
        ["zoom_out", "6"],
    ]


def test_the_same_command_again_changes_nothing(
    dukd_cache: Command, photos: Path, teacher_file: Path, tmp_path: Path
) -> None:
    words = (
        "build",
        "--hr",
        photos,
        "--teacher",
        teacher_file,
        "--out",
        tmp_path / "cache",
        "--patch",
        12,
        "--base",
        2,
    )
    first = dukd_cache(*words)
    assert first.output.endswith(" (asked the teacher for 18, reused 0, kept 0)\n")
    before = files_of(tmp_path / "cache")
    again = dukd_cache(*words)
    assert (again.code, again.errors) == (0, [])
    assert again.output == first.output.replace("for 18", "for 0").replace("kept 0", "kept 18")
    assert files_of(tmp_path / "cache") == before


def test_a_file_says_what_options_say(dukd_cache: Command, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text(f"mine:\n  hr: {photos}\n  scale: 2\n  patch: 10\n  views: {{base: 1}}\n")
    words = ("build", "--config", tmp_path / "all.yaml", "--section", "mine", "--set", "patch=12", "--base", 2)
    ended = dukd_cache(*words, "--out", tmp_path / "file")
    assert (ended.code, ended.errors) == (0, [])
    options = ("build", "--hr", photos, "--scale", 2, "--patch", 12, "--base", 2)
    assert dukd_cache(*options, "--out", tmp_path / "options").code == 0
    assert files_of(tmp_path / "file") == files_of(tmp_path / "options")
    assert dukd_cache("plan", *words[1:], "--out", tmp_path / "file").code == 0
    (tmp_path / "all.yaml").write_text(f"hr: {photos}\npatch: 0\n")
    refused(
        dukd_cache("build", *words[1:3], "--out", tmp_path / "new"), "setting patch: expected a whole number above 0"
    )
    refused(
        dukd_cache("build", *words[1:3], "--patch", 0, "--out", tmp_path / "new"), "--patch: expected a whole number"
    )
    refused(dukd_cache("build", "--out", tmp_path / "new"), "--hr is missing: Folder of HR images")
    assert not (tmp_path / "new").exists()


def test_inspect_writes_a_picture(dukd_cache: Command, small_cache: Path, tmp_path: Path) -> None:
    ended = dukd_cache("inspect", small_cache, "--picture", tmp_path / "sheet.png")
    assert (ended.code, ended.errors) == (0, [])
    assert os.listdir(tmp_path) == ["sheet.png"]
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.format == "PNG"
        assert min(sheet.size) > 200
        assert len(set(sheet.convert("L").resize((64, 64)).tobytes())) > 50, "there are photographs in it"


def test_inspect_writes_a_page(dukd_cache: Command, small_cache: Path, tmp_path: Path) -> None:
    ended = dukd_cache("inspect", small_cache, "--sample", 2, "--html", tmp_path / "cache.html")
    assert (ended.code, ended.errors) == (0, [])
    assert os.listdir(tmp_path) == ["cache.html"]
    assert "How good the answers are" in (tmp_path / "cache.html").read_text(encoding="utf-8")
    refused(dukd_cache("inspect", small_cache, "--html", tmp_path), f"{tmp_path}: expected a file, found a folder")


def test_pairs_without_a_teacher(dukd_cache: Command, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "cache"
    ended = dukd_cache("build", "--hr", photos, "--out", out, "--scale", 3, "--patch", 10)
    assert (ended.code, ended.errors) == (0, [])
    assert ended.output.startswith(f"{out}: 24 base records in 1 shard, ")
    assert json.loads(dukd_cache("inspect", out, "--json").output)["answers"] == {}
    assert "none: pairs to train from scratch" in dukd_cache("inspect", out).output


def test_degrade_writes_what_the_build_would_make(dukd_cache: Command, photos: Path, tmp_path: Path) -> None:
    ended = dukd_cache("degrade", "--hr", photos, "--out", tmp_path / "lr", "--scale", 2)
    assert (ended.code, ended.errors) == (0, [])
    assert ended.output == f"{tmp_path / 'lr'}: 3 LR images, scale 2\n"
    assert sorted(os.listdir(tmp_path / "lr")) == ["photo_0x2.png", "photo_1x2.png", "photo_2x2.png"]
    for path in find_images(photos):
        assert np.array_equal(read_rgb(tmp_path / "lr" / f"{path.stem}x2.png"), read_scene(path, None, 2).lr)

    build = ("build", "--hr", photos, "--scale", 2, "--patch", 12)
    dukd_cache(*build, "--out", tmp_path / "made")
    assert dukd_cache(*build, "--out", tmp_path / "read", "--lr", tmp_path / "lr").code == 0
    made, read = Cache(tmp_path / "made"), Cache(tmp_path / "read")
    for index in range(made.count("base")):
        assert np.array_equal(made.read("base", index).input, read.read("base", index).input)


def test_degrade_keeps_subfolders(dukd_cache: Command, tmp_path: Path) -> None:
    for name in ("a/1.png", "b/1.png"):
        (tmp_path / "hr" / name).parent.mkdir(parents=True)
        Image.fromarray(photo(12, 12, seed=ord(name[0]))).save(tmp_path / "hr" / name)
    assert dukd_cache("degrade", "--hr", tmp_path / "hr", "--out", tmp_path / "lr", "--scale", 4).code == 0
    for name in ("a", "b"):
        made = read_rgb(tmp_path / f"lr/{name}/1x4.png")
        assert np.array_equal(made, downscale(photo(12, 12, seed=ord(name)), 4))


def test_degrade_refuses_two_images_for_one_name(dukd_cache: Command, tmp_path: Path) -> None:
    (tmp_path / "hr").mkdir()
    for name in ("1.png", "1.bmp"):
        Image.fromarray(photo(12, 12)).save(tmp_path / "hr" / name)
    ended = dukd_cache("degrade", "--hr", tmp_path / "hr", "--out", tmp_path / "lr", "--scale", 4)
    refused(ended, "1.bmp", "1.png", "would both become", "1x4.png")
    assert not (tmp_path / "lr").exists()


def test_degrade_names_the_image_that_is_too_small(dukd_cache: Command, tmp_path: Path) -> None:
    hr = save_photos(tmp_path / "hr", [(12, 12), (3, 12)])
    refused(dukd_cache("degrade", "--hr", hr, "--out", tmp_path / "lr", "--scale", 4), "photo_1.png", "3×12", "scale 4")


@pytest.fixture
def hr(tmp_path: Path) -> Path:
    """Images that a test may spoil."""
    return save_photos(tmp_path / "hr", [(64, 64), (60, 80)])


class TestMistakes:
    """Each leaves no manifest."""

    @pytest.fixture(autouse=True)
    def _no_manifest(self, tmp_path: Path) -> object:
        yield
        assert not list(tmp_path.rglob(MANIFEST))
        assert not list(tmp_path.rglob("*.partial"))

    def test_no_images(self, dukd_cache: Command, teacher_file: Path, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        for folder, says in [("empty", "no images found"), ("missing", "found nothing")]:
            ended = dukd_cache("build", "--hr", tmp_path / folder, "--teacher", teacher_file, "--out", tmp_path / "c")
            refused(ended, str(tmp_path / folder), says)
            refused(dukd_cache("degrade", "--hr", tmp_path / folder, "--out", tmp_path / "c", "--scale", 2), says)

    @pytest.mark.parametrize("kind", ["png", "jpg", "webp"])
    @pytest.mark.parametrize("damage", ["truncated", "text", "empty"])
    def test_unreadable_image(
        self, dukd_cache: Command, hr: Path, teacher_file: Path, tmp_path: Path, damage: str, kind: str
    ) -> None:
        bad = hr / f"bad.{kind}"
        Image.fromarray(photo(96, 96)).save(bad)
        content = bad.read_bytes()
        bad.write_bytes({"truncated": content[: len(content) // 2], "text": b"no pixels", "empty": b""}[damage])
        build = ("build", "--hr", hr, "--teacher", teacher_file, "--out", tmp_path / "c", "--patch", 12)
        refused(dukd_cache(*build), str(bad))
        refused(dukd_cache("degrade", "--hr", hr, "--out", tmp_path / "lr", "--scale", 2), str(bad))

    def test_image_smaller_than_the_patch(
        self, dukd_cache: Command, hr: Path, teacher_file: Path, tmp_path: Path
    ) -> None:
        """Following the remedy that is offered works."""
        Image.fromarray(photo(31, 40)).save(hr / "small.png")
        build = ("build", "--hr", hr, "--teacher", teacher_file, "--out", tmp_path / "c", "--base", 1)
        refused(dukd_cache(*build), "small.png: 31×40", "view base", "--patch 15 or less")
        refused(dukd_cache(*build, "--patch", 16), "--patch 15 or less")
        refused(dukd_cache(*build, "--patch", 15, "--zoom-out-patch", 8), "view zoom_out", "--zoom-out-patch 7 or less")
        assert dukd_cache(*build, "--patch", 15).code == 0
        (tmp_path / "c" / MANIFEST).unlink()

    def test_weights_that_are_no_sr_network(self, dukd_cache: Command, hr: Path, tmp_path: Path) -> None:
        torch.save({"layer.weight": torch.zeros(3, 3)}, tmp_path / "linear.pth")
        (tmp_path / "text.pth").write_text("no weights")
        (tmp_path / "text.safetensors").write_text("no weights")
        torch.save(torch.nn.Linear(2, 2), tmp_path / "pickled.pth")
        for name in ("linear.pth", "text.pth", "text.safetensors", "pickled.pth", "missing.pth", "hr"):
            ended = dukd_cache("build", "--hr", hr, "--teacher", tmp_path / name, "--out", tmp_path / "c")
            refused(ended, str(tmp_path / name))
        assert not (tmp_path / "c").exists()

    def test_lr_of_a_wrong_size(self, dukd_cache: Command, hr: Path, teacher_file: Path, tmp_path: Path) -> None:
        dukd_cache("degrade", "--hr", hr, "--out", tmp_path / "lr", "--scale", 4)
        build = ("build", "--hr", hr, "--teacher", teacher_file, "--out", tmp_path / "c", "--patch", 12)
        lr = ("--lr", tmp_path / "lr")
        ended = dukd_cache(*build, *lr, "--lr-template", "{stem}x4")
        refused(ended, "photo_0x4.png: expected 32×32", "found 16×16", "is the scale right?")
        refused(dukd_cache(*build, *lr), "photo_0x2.* or photo_0.*: no LR image for photo_0.png")
        refused(dukd_cache(*build, *lr, "--lr-template", "{name}"), "--lr-template '{name}'", "{stem} and {scale}")

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            (("--codec", "jpg"), ["--codec", "'jpg'", "webp", "png", "raw"]),
            (("--dtype", "int8"), ["--dtype", "'int8'", "uint8", "float16", "float32"]),
            (("--precision", "fp8"), ["--precision", "'fp8'", "fp32"]),
            (("--device", "tpu"), ["--device", "'tpu'", "auto", "cpu", "cuda"]),
            (("--patch", "many"), ["--patch", "a whole number"]),
            (("--patch", "0"), ["--patch", "got 0"]),
            (("--base", "-1"), ["--base", "got -1"]),
            (("--zoom-out-patch", "0"), ["--zoom-out-patch", "got 0"]),
            (("--batch-size", "0"), ["--batch-size"]),
            (("--shard-size", "0"), ["--shard-size"]),
            (("--scale", "4"), ["--scale 4", "teacher of scale 2"]),
            (("--base", "0", "--zoom-in", "0", "--zoom-out", "0"), ["no view left"]),
            (("--pach", "8"), ["--pach", "--patch"]),
        ],
    )
    def test_unknown_option_value(
        self,
        dukd_cache: Command,
        hr: Path,
        teacher_file: Path,
        tmp_path: Path,
        words: tuple[str, ...],
        says: list[str],
    ) -> None:
        ended = dukd_cache("build", "--hr", hr, "--teacher", teacher_file, "--out", tmp_path / "c", *words)
        refused(ended, *says)

    def test_missing_options_and_unknown_commands(self, dukd_cache: Command, hr: Path, tmp_path: Path) -> None:
        refused(dukd_cache("build", "--hr", hr), "--out")
        refused(dukd_cache("build", "--hr", hr, "--out", tmp_path / "c"), "--teacher", "--scale")
        refused(dukd_cache("degrade", "--hr", hr, "--out", tmp_path / "c", "--scale", 5), "--scale")
        ended = dukd_cache()
        assert (ended.code, ended.errors) == (2, ["dukd-cache: expected a command, got nothing"])
        assert "Usage: dukd-cache" in ended.output
        refused(dukd_cache("bild"), "unknown command 'bild': did you mean 'build'? (valid: answer, build, convert,")
        refused(dukd_cache("check"), "unknown command 'check': did you mean 'verify'?")
        refused(
            dukd_cache("build", "--bse", 3), "unknown option '--bse': did you mean '--base'? (valid: --answers-of, "
        )

    @pytest.mark.parametrize(
        ("word", "meant"),
        [
            ("--images", "'--hr'"),
            ("--dataroot-gt", "'--hr'"),
            ("--manual_seed", "'--seed'"),
            ("--batch", "'--batch-size'"),
            ("--views.zoom_out.patch", "'--zoom-out-patch'"),
            ("--crops", "'--base' or '--zoom-in' or '--zoom-out'"),
        ],
    )
    def test_options_by_names_of_settings_and_of_other_programs(
        self, dukd_cache: Command, word: str, meant: str
    ) -> None:
        refused(
            dukd_cache("build", word, "x"), f"unknown option '{word}': did you mean {meant}? (valid: --answers-of, "
        )

    def test_one_of_a_few_numbers(self, dukd_cache: Command, small_cache: Path, teacher_file: Path) -> None:
        words = ("answer", small_cache, "--teacher", teacher_file)
        refused(dukd_cache(*words, "--self-ensemble", 7), "--self-ensemble: expected 1, 8 or 16, got 7")

    def test_names_of_other_programs_are_for_commands_that_take_settings(self, dukd_cache: Command) -> None:
        refused(
            dukd_cache("degrade", "--images", "x"), "unknown option '--images' (valid: --degradation, --help, --hr, "
        )

    @pytest.mark.parametrize(
        ("words", "line"),
        [
            (("--base", -1), "--base: expected a whole number of at least 0, got -1"),
            (("--patch", 0), "--patch: expected a whole number above 0, got 0"),
            (("--patch", 5000), "--patch: expected a whole number of at most 1024, got 5000"),
            (("--seed", "x"), "--seed: expected a whole number, got 'x'"),
            (("--scale", 2.5), "--scale: expected a whole number, got 2.5"),
            (("--batch-size", 0), "--batch-size: expected a whole number of at least 1, got 0"),
            (("--batch-size", 10**26), f"--batch-size: expected a whole number of at most 4096, got {10**26}"),
            (("--precision", "fp15"), "unknown --precision 'fp15': did you mean 'fp16'? (valid: bf16, fp16, fp32)"),
            (("--store", "hdf5"), "unknown --store 'hdf5' (valid: webdataset, zarr)"),
        ],
    )
    def test_numbers_and_words(
        self, dukd_cache: Command, hr: Path, teacher_file: Path, tmp_path: Path, words: tuple[object, ...], line: str
    ) -> None:
        ended = dukd_cache("build", "--hr", hr, "--teacher", teacher_file, "--out", tmp_path / "c", *words)
        assert (ended.code, ended.errors) == (2, [f"dukd-cache: {line}"])

    def test_a_gpu_that_is_not_there(self, dukd_cache: Command, hr: Path, teacher_file: Path, tmp_path: Path) -> None:
        if torch.cuda.is_available():
            pytest.skip("there is one")
        ended = dukd_cache("build", "--hr", hr, "--teacher", teacher_file, "--out", tmp_path / "c", "--device", "cuda")
        refused(ended, "device cuda", "no GPU")

    def test_out_holds_something_else(self, dukd_cache: Command, hr: Path, teacher_file: Path, tmp_path: Path) -> None:
        build = ("build", "--hr", hr, "--teacher", teacher_file, "--patch", 12, "--out")
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine/notes.txt").write_text("mine")
        refused(dukd_cache(*build, tmp_path / "mine"), str(tmp_path / "mine"), "no cache", "choose another folder")
        (tmp_path / "file").write_text("mine")
        refused(dukd_cache(*build, tmp_path / "file"), "expected a folder, found a file")
        refused(dukd_cache(*build, tmp_path / "file/below"), f"{tmp_path / 'file'}: expected a folder, found a file")
        degrade = ("degrade", "--hr", hr, "--scale", 2, "--out")
        refused(dukd_cache(*degrade, tmp_path / "file"), str(tmp_path / "file"))
        assert (tmp_path / "file").read_text() == (tmp_path / "mine/notes.txt").read_text() == "mine"

    def test_no_cache_to_inspect(self, dukd_cache: Command, hr: Path, tmp_path: Path) -> None:
        for folder in (hr, tmp_path / "missing"):
            refused(dukd_cache("inspect", folder), str(folder), "no finished cache here")


def test_an_option_of_one_value_that_is_given_again_is_refused(dukd_cache: Command, tmp_path: Path) -> None:
    """Parsers keep the last in silence."""
    refused(
        dukd_cache("build", "--hr", "a", "--hr", "b", "--out", tmp_path / "c", "--seed", 1, "--base", 2, "--seed=1"),
        "--seed: given 2 times, takes one value",
    )
    refused(dukd_cache("degrade", "--hr", "a", "--hr", "b", "--out", "c", "--scale", 2), "--hr: given 2 times")
    refused(dukd_cache("verify", tmp_path, "--repair", "--repair"), f"{tmp_path}: no finished cache here")


def test_another_cache_in_the_out_folder(dukd_cache: Command, photos: Path, teacher_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "cache"
    build = ("build", "--hr", photos, "--out", out, "--patch", 12, "--base", 1, "--teacher")
    assert dukd_cache(*build, teacher_file).code == 0
    before = files_of(out)
    smaller = [9 if word == 12 else word for word in build]
    refused(dukd_cache(*smaller, teacher_file), str(out), "patch = 12, asked for 9")
    refused(dukd_cache(*build, teacher_file, "--precision", "bf16"), "teacher.precision = fp32, asked for bf16")
    networks.save(networks.build("EDSR", 2, {"channels": 8, "blocks": 1}), tmp_path / "tiny_x2.safetensors", {})
    refused(dukd_cache(*build, tmp_path / "tiny_x2.safetensors"), "teacher.fingerprint = ", "asked for ")
    assert files_of(out) == before


def test_a_picture_that_cannot_be_written(dukd_cache: Command, small_cache: Path, tmp_path: Path) -> None:
    ended = dukd_cache("inspect", small_cache, "--json", "--picture", tmp_path / "missing/sheet.png")
    assert ended.code == 2
    assert len(ended.errors) == 1
    assert str(tmp_path / "missing/sheet.png") in ended.errors[0]


def test_a_picture_is_tried_before_anything_is_measured(
    dukd_cache: Command, small_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspect, "measured", lambda *_args: pytest.fail("measured"))
    refused(dukd_cache("inspect", small_cache, "--picture", tmp_path), f"{tmp_path}: expected a file, found a folder")
    missing = tmp_path / "missing/sheet.png"
    refused(dukd_cache("inspect", small_cache, "--picture", missing), f"{missing}: No such file or directory")


def test_where_to_write_is_tried_before_the_work(
    dukd_cache: Command, photos: Path, teacher_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "prepare", lambda *_args: pytest.fail("prepared"))
    ended = dukd_cache("build", "--hr", photos, "--teacher", teacher_file, "--out", "/proc/none/cache")
    refused(ended, "/proc/none/cache: ")
    refused(dukd_cache("degrade", "--hr", photos, "--scale", 2, "--out", "/proc/none/lr"), "/proc/none/lr: ")


def test_a_damaged_cache_is_named(dukd_cache: Command, photos: Path, tmp_path: Path) -> None:
    dukd_cache("build", "--hr", photos, "--out", tmp_path / "cache", "--scale", 2, "--patch", 12, "--base", 2)
    shard = tmp_path / "cache/base-000000.tar"
    shard.write_bytes(shard.read_bytes()[:2000])
    ended = dukd_cache("inspect", tmp_path / "cache", "--picture", tmp_path / "sheet.png")
    assert ended.code == 2
    assert len(ended.errors) == 1
    assert "base-000000.tar" in ended.errors[0]
    assert not (tmp_path / "sheet.png").exists()


def test_help_shows_every_command_and_an_example(dukd_cache: Command) -> None:
    ended = dukd_cache("--help")
    assert ended.code == 0
    for command in ("build", "plan", "inspect", "verify", "convert", "degrade"):
        assert command in ended.output
        assert "Example" in dukd_cache(command, "--help").output


def test_the_help_of_all_commands_loads_no_settings() -> None:
    code = (
        "import sys; sys.argv = ['dukd-cache', '--help']\n"
        "from dukd_cache.cli import main\n"
        "try: main()\n"
        "finally: print('heavy:', sorted({'pydantic', 'yaml', 'numpy', 'torch'} & set(sys.modules)))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "heavy: []"


def test_real_processes(photos: Path, teacher_file: Path, tmp_path: Path) -> None:
    """One that works, one that does not, one that is asked for help."""
    out = tmp_path / "cache"
    build = ("build", "--hr", photos, "--teacher", teacher_file, "--patch", 12, "--base", 1, "--out")
    done = process(*build, out)
    assert (done.code, done.errors) == (0, [])
    assert done.output.startswith(f"{out}: 3 base, 3 zoom_in, 3 zoom_out records")
    assert Cache(out).count("zoom_out") == 3
    refused(process(*build, out, "--set", "pach=12"), "unknown setting 'pach'")
    assert process("--help").code == 0

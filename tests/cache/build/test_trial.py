"""What is said of a teacher before it is asked in earnest: numbers that are not finite, answers worse than bicubic."""

import errno
import io
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from tests.cache.samples import build_job, photo, save_photos
from tests.conftest import PROJECT
from torch import nn

from dukd_cache import networks
from dukd_cache.build import teacher
from dukd_cache.build.teacher import Teacher
from dukd_cache.build.trial import Tried, doubt, doubts, tried_of
from dukd_cache.commands import build as job
from dukd_cache.commands.inspect import measured
from dukd_cache.commands.prepare import prepare
from dukd_cache.format import lifecycle
from dukd_cache.format.header import AnswerInfo
from dukd_cache.format.reader import Cache
from dukd_cache.format.record import Dtype
from dukd_cache.networks import Network
from dukd_cache.pictures.bicubic import downscale, upscale
from dukd_cache.pictures.sources import Scene
from dukd_cache.places.choice import place_at
from dukd_cache.plan.crops import Crop, Cut
from dukd_cache.settings.takes import Takes
from dukd_cache.system.arrays import U8
from dukd_cache.system.errors import AnswerError, WeightsError

CPU = torch.device("cpu")


def info(window: int = 1) -> AnswerInfo:
    return AnswerInfo(
        file="t.pth", architecture="EDSR", settings={}, fingerprint="0" * 64, precision="fp32", window=window
    )


def tried(side: int = 12, count: int = 4) -> list[Tried]:
    """Patches of a photograph at scale 2, answered by the truth itself."""
    hr: U8 = data.astronaut()[:384, :384]
    lr = downscale(hr, 2)
    corners = [(23 * n, 31 * n) for n in range(1, count + 1)]
    truths = [np.ascontiguousarray(hr[2 * y : 2 * (y + side), 2 * x : 2 * (x + side)]) for x, y in corners]
    inputs = [np.ascontiguousarray(lr[y : y + side, x : x + side]) for x, y in corners]
    return [Tried(i, t, t) for i, t in zip(inputs, truths, strict=True)]


def answered(records: list[Tried], answers: list[U8]) -> list[Tried]:
    return [replace(record, answer=answer) for record, answer in zip(records, answers, strict=True)]


def patches(side: int, corners: list[int]) -> tuple[U8, U8]:
    """Inputs and truths of a photograph at scale 4."""
    hr: U8 = data.astronaut()
    lr, large = downscale(hr, 4), 4 * side
    inputs = np.stack([lr[y : y + side, y + 8 : y + 8 + side] for y in corners])
    truths = np.stack([hr[4 * y : 4 * y + large, 4 * y + 32 : 4 * y + 32 + large] for y in corners])
    return inputs, truths


# the verdict


def test_answers_as_good_as_bicubic_or_better_raise_no_doubt() -> None:
    records = tried()
    assert doubt("base", records, info()) is None
    assert doubt("base", answered(records, [upscale(r.input, 2) for r in records]), info()) is None
    floats = [replace(r, answer=r.truth.astype(np.float32) / 255) for r in records]
    assert doubt("base", floats, info()) is None


def test_a_flat_patch_weighs_as_much_as_its_error() -> None:
    """One level off on a flat patch is 48 dB where bicubic has infinity, and no reason to doubt."""
    flat: U8 = np.full((24, 24, 3), 90, np.uint8)
    records = [*tried(), Tried(np.full((12, 12, 3), 90, np.uint8), flat + np.uint8(1), flat)]
    assert doubt("base", records, info()) is None


def test_sides_between_windows_are_the_cause_where_there_are_any() -> None:
    records = tried()
    blurred = answered(records, [np.full_like(r.truth, r.truth.mean()) for r in records])
    line = str(doubt("zoom_out", blurred, info(window=8)))
    assert line.startswith("the teacher is worse than bicubic on zoom_out: ")
    assert line.endswith("inputs of 12×12 are no multiple of its window of 8: take 8 or 16")
    assert str(doubt("zoom_out", blurred, info(window=16))).endswith("take 16")


def test_detail_that_is_not_there_is_told_from_blur() -> None:
    records = tried()
    noise = np.random.default_rng(0).normal(0, 25, records[0].truth.shape)
    noisy = [(r.truth + noise).clip(0, 255).astype(np.uint8) for r in records]
    assert "it adds detail that is not there" in str(doubt("base", answered(records, noisy), info()))
    blurred = [np.full_like(r.truth, r.truth.mean()) for r in records]
    assert "is it trained for such images" in str(doubt("base", answered(records, blurred), info()))


def made_for_255(network: Network) -> Network:
    """The same network for pictures in 0…255, as some programs' are."""
    module = network.module
    assert isinstance(module.img_range, float)
    module.img_range /= 255
    module.get_buffer("rgb_mean").mul_(255)
    return network


def test_a_network_of_values_to_255_is_recognised() -> None:
    inputs, truths = patches(16, [10, 40, 70])
    good = teacher.load(PROJECT / "assets" / "edsr_x4.safetensors", CPU, "fp32")
    fair = [Tried(i, a, t) for i, a, t in zip(inputs, good(inputs, "uint8"), truths, strict=True)]
    assert doubt("base", fair, good.info, good) is None
    strange = replace(good, network=made_for_255(good.network))
    bad = [Tried(i, a, t) for i, a, t in zip(inputs, strange(inputs, "uint8"), truths, strict=True)]
    assert "values seem to run from 0 to 255" in str(doubt("base", bad, strange.info, strange))


class OfBgr(nn.Module):
    """Answers only what is not red, as the pictures of the test are not in BGR."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, image_NCHW: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.inner(image_NCHW.flip(1)).flip(1)
        return answer * (image_NCHW[:, 0].mean() < image_NCHW[:, 2].mean())


class OfOne(OfBgr):
    """Sees nothing above 1."""

    def forward(self, image_NCHW: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.inner(image_NCHW.clamp(0, 1))
        return answer


def test_what_it_takes_otherwise_is_recognised_and_how_to_say_it() -> None:
    inputs, truths = patches(16, [10, 40, 70])
    inputs[..., 2], truths[..., 2] = inputs[..., 2] // 2, truths[..., 2] // 2
    good = teacher.load(PROJECT / "assets" / "edsr_x4.safetensors", CPU, "fp32")
    of_bgr, of_one = (good.network.with_module(kind(good.network.module)) for kind in (OfBgr, OfOne))
    for network, ending in (
        (replace(of_one, takes=Takes(values=255)), "asks with 0 to 255: `teacher_takes.NAME.values=1`"),
        (of_bgr, "the order bgr, and dukd asks with rgb: `teacher_takes.NAME.channels=bgr`"),
    ):
        strange = replace(good, network=network)
        bad = [Tried(i, a, t) for i, a, t in zip(inputs, strange(inputs, "uint8"), truths, strict=True)]
        assert str(doubt("base", bad, strange.info, strange)).endswith(ending)


def test_where_inputs_are_degraded_only_what_is_far_off_or_of_another_range_is_told() -> None:
    inputs, truths = patches(16, [10, 40, 70])
    noise = np.random.default_rng(0).normal(0, 20, inputs.shape)
    noisy = (inputs + noise).clip(0, 255).astype(np.uint8)
    good = teacher.load(PROJECT / "assets" / "edsr_x4.safetensors", CPU, "fp32")

    def said(asked: Teacher, count: int = 3) -> str | None:
        answers = asked(noisy[:count], "uint8")
        records = [Tried(i, a, t) for i, a, t in zip(noisy, answers, truths, strict=False)]
        assert doubt("base", records, asked.info, asked)
        return doubt("base", records, asked.info, asked, degraded=True)

    assert said(good) is None, "it answers noise with detail"
    strange = replace(good, network=made_for_255(networks.load(PROJECT / "assets" / "edsr_x4.safetensors")))
    assert "values seem to run from 0 to 255" in str(said(strange))
    assert "values seem to run from 0 to 255" in str(said(strange, count=1))
    of_bgr = replace(good, network=good.network.with_module(OfBgr(good.network.module)))
    noisy[..., 2], truths[..., 2] = noisy[..., 2] // 2, truths[..., 2] // 2
    assert "the order bgr" in str(said(of_bgr))


def test_of_degraded_inputs_one_is_asked_about_and_none_when_a_build_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hr = save_photos(tmp_path / "hr", [(120, 130), (140, 110)])
    weights = PROJECT / "assets" / "edsr_x4.safetensors"
    asked = build_job(hr, tmp_path / "c", weights, base=2, zoom_in=1, zoom_out=1, degradation="light", dtype="uint8")
    made = prepare(*asked)
    counted: list[int] = []

    def count(_module: nn.Module, given: tuple[torch.Tensor], _answers: object) -> None:
        counted.append(len(given[0]))

    made.teachers["teacher"].network.module.register_forward_hook(count)
    assert list(doubts(made.plan, made.teachers["teacher"])) == []
    assert counted in ([1], [1, 1]), "with another range of values at most"
    lifecycle.claim(place_at(asked.out), made.header)  # what a build leaves that was killed
    monkeypatch.setattr(job, "doubts", None)
    assert job.build_cache(*asked)


def test_records_without_a_truth_are_left_out() -> None:
    scene = Scene(photo(48, 48), photo(24, 24))
    crop = Crop(None, None, 0, 0, 0)  # type: ignore[arg-type]
    cuts = [Cut(crop, {"input": scene.lr}), Cut(crop, {"input": scene.lr, "truth": scene.hr})]
    assert len(tried_of(cuts, [scene.hr, scene.hr], "input")) == 1


# build, plan and inspect


def test_build_plan_and_inspect_say_it_in_one_line_a_view(
    photos: Path, teacher_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The teacher of these tests is random: bicubic is better."""
    asked = build_job(photos, tmp_path / "c", teacher_file)
    job.build_cache(*asked)
    said = [line for line in capsys.readouterr().err.splitlines() if "worse than bicubic" in line]
    assert [line.split(":")[0] for line in said] == [
        "the teacher is worse than bicubic on base",
        "the teacher is worse than bicubic on zoom_out",
    ]
    job.build_cache(*asked)
    assert "worse than bicubic" not in capsys.readouterr().err, "a finished cache asks its teacher nothing"
    inspected = measured(Cache(tmp_path / "c"), 4, None, "cpu")
    for notes in (job.forecast(*asked).notes, inspected.facts["notes"]):
        assert [note.split(":")[0] for note in notes] == [line.split(":")[0] for line in said]
    assert inspected.facts["notes"][0] in inspected.tables[0]


class Gone(io.StringIO):
    """Standard error of a terminal that was closed."""

    def write(self, _text: str) -> int:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


def test_a_note_that_nobody_can_read_ends_no_build(
    photos: Path, teacher_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", Gone())
    manifest = job.build_cache(*build_job(photos, tmp_path / "c", teacher_file))
    assert manifest.shards


def test_a_released_gan_is_doubted_and_a_released_transformer_is_not(data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "hr").mkdir()
    for path in sorted((data_dir / "Set5" / "HR").iterdir())[:3]:
        (tmp_path / "hr" / path.name).symlink_to(path)
    small = {"patch": 16, "base": 1, "zoom_in": 0, "zoom_out": 0}
    made = prepare(*build_job(tmp_path / "hr", tmp_path / "c", data_dir / "teachers" / "DCTLSA_X4.pt", **small))
    assert list(doubts(made.plan, made.teachers["teacher"])) == []
    gan = teacher.load(data_dir / "teachers" / "RealESRGAN_x4plus_anime_6B.safetensors", CPU, "fp32")
    (line,) = doubts(made.plan, gan)
    assert "it adds detail that is not there" in line


# sides and windows


@pytest.mark.parametrize(
    ("patch", "zoom_out_patch", "sides"),
    [(None, None, (48, 16)), (32, None, (32, 8)), (24, None, (24, 8)), (24, 5, (24, 5))],
)
def test_default_sides_are_whole_windows(
    patch: int | None, zoom_out_patch: int | None, sides: tuple[int, int], tmp_path: Path
) -> None:
    weights = tmp_path / "swin.safetensors"
    settings = {"embed_dim": 8, "depths": [1], "num_heads": [2], "window_size": 8}
    networks.save(networks.build("SwinIR", 4, settings), weights, {})
    hr = save_photos(tmp_path / "hr", [(300, 280)])
    small = {"patch": patch, "zoom_out_patch": zoom_out_patch, "base": 1, "zoom_in": 0, "zoom_out": 1}
    asked = build_job(hr, tmp_path / "c", weights, **small)
    made = prepare(*asked)
    assert (made.plan.spec.patch, made.plan.spec.view("zoom_out").input_side) == sides
    assert made.teachers["teacher"].info.window == 8
    said = list(job.between_windows(asked.config, 8))
    assert len(said) == (zoom_out_patch is not None)
    assert all(line.startswith("views.zoom_out.patch=5: no multiple of the teacher's window of 8, so") for line in said)
    assert all(line.endswith("its answers are worse than at 8") for line in said)


@pytest.mark.parametrize(
    ("architecture", "settings", "window"),
    [
        ("SwinIR", {"embed_dim": 8, "depths": [1], "num_heads": [2], "window_size": 6}, 6),
        ("DCTLSA", {}, 16),
        ("OmniSR", {}, 8),
        ("FDAT", {}, 8),
        ("DAT", {"embed_dim": 60, "depth": [2], "num_heads": [6], "split_size": [8, 32]}, 32),
        ("DITN", {}, 8),
        ("Compact", {}, 1),
        ("EDSR", {"channels": 8, "blocks": 1}, 1),
    ],
)
def test_windows_are_found_in_settings_modules_and_requirements(
    architecture: str, settings: dict[str, object], window: int
) -> None:
    network = networks.build(architecture, 4, settings)
    assert network.window == window
    assert network.in_whole_windows().window == window


def test_a_network_that_mirrors_its_inputs_itself_answers_as_before() -> None:
    swin = networks.build("SwinIR", 4, {"embed_dim": 8, "depths": [2], "num_heads": [2], "window_size": 8})
    image_NCHW = torch.rand(2, 3, 18, 29)
    assert torch.equal(swin.in_whole_windows()(image_NCHW), swin(image_NCHW))


def test_pairs_have_the_usual_patch(tmp_path: Path) -> None:
    hr = save_photos(tmp_path / "hr", [(100, 100)])
    assert prepare(*build_job(hr, tmp_path / "c", None, patch=None, base=1)).plan.spec.patch == 48


def test_answers_between_windows_gain_by_whole_windows(data_dir: Path) -> None:
    """DCTLSA mirrors its features: of inputs of 24 pixels, those mirrored to 32 beforehand are answered better."""
    asked = teacher.load(data_dir / "teachers" / "DCTLSA_X4.pt", CPU, "fp32")
    bare = networks.load(data_dir / "teachers" / "DCTLSA_X4.pt")
    assert asked.info.window == 16
    inputs, truths = patches(24, [5, 30, 55, 80])
    mirrored = asked(inputs, "float32") * 255.0
    plain = bare(torch.from_numpy(inputs).permute(0, 3, 1, 2).float() / 255).permute(0, 2, 3, 1).numpy() * 255.0
    errors = [float(np.mean((found - truths.astype(float)) ** 2)) for found in (mirrored, plain)]
    assert 10 * np.log10(errors[1] / errors[0]) > 0.3


# numbers that are not finite


def broken(weights: Path, out: Path, value: float, name: str) -> Path:
    """The same weights with one number of tensor `name` replaced."""
    network = networks.load(weights)
    with torch.no_grad():
        network.module.get_parameter(name).reshape(-1)[0] = value
    networks.save(network, out, {})
    return out


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite_are_refused_by_name(teacher_file: Path, tmp_path: Path, value: float) -> None:
    weights = broken(teacher_file, tmp_path / "bad.safetensors", value, "conv_first.bias")
    with pytest.raises(WeightsError, match=r"bad\.safetensors: conv_first\.bias holds numbers that are not finite"):
        networks.load(weights)


class Overflowing(torch.nn.Module):
    """A network that cannot stand bright red: infinite there, as fp16 is where numbers outgrow it."""

    def forward(self, image_NCHW: torch.Tensor) -> torch.Tensor:
        large = torch.nn.functional.interpolate(image_NCHW, scale_factor=2)
        return torch.where(large[:, :1] > 0.99, torch.inf, large)


def overflowing(weights: Path) -> Teacher:
    """A teacher whose answers clamping would make white of, in bf16."""
    asked = teacher.load(weights, CPU, "bf16")
    return replace(asked, network=asked.network.with_module(Overflowing()))


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32"])
def test_only_the_inputs_whose_answers_are_not_finite_are_named(teacher_file: Path, dtype: Dtype) -> None:
    asked = overflowing(teacher_file)
    inputs = np.full((3, 8, 8, 3), 100, np.uint8)
    asked(inputs, dtype)
    inputs[1, 4, 4, 0] = 255
    with pytest.raises(AnswerError, match=r"tiny_x2\.safetensors: EDSR answers in bf16 .*: try fp32") as caught:
        asked(inputs, dtype)
    assert caught.value.indices == (1,)
    with pytest.raises(AnswerError, match="EDSR answers in fp32 with numbers that are not finite") as caught:
        asked.network(torch.ones(2, 3, 8, 8))
    assert caught.value.indices == (0, 1)


def bright(folder: Path) -> Path:
    """Photographs of which the second is red all over."""
    save_photos(folder, [(30, 30), (30, 30)])
    for number, pixels in enumerate((photo(30, 30).clip(0, 200), np.full((30, 30, 3), (255, 0, 0)))):
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"photo_{number}.png")
    return folder


@pytest.mark.parametrize("view", ["base", "zoom_in", "zoom_out"])
@pytest.mark.parametrize("tried_first", [True, False])
def test_a_build_names_the_record_and_writes_no_shard(
    teacher_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, view: str, tried_first: bool
) -> None:
    asked, out = overflowing(teacher_file), tmp_path / "c"
    monkeypatch.setattr(teacher, "load", lambda *_args, **_named: asked)
    if not tried_first:
        monkeypatch.setattr(job, "doubts", lambda *_: [])
    counts = {"base": 0, "zoom_in": 0, "zoom_out": 0, view: 1}
    small = build_job(bright(tmp_path / "hr"), out, teacher_file, patch=8, precision="bf16", **counts)
    says = rf"photo_1\.png: crop 0 of {view} at \(\d+, \d+\): tiny_x2\.safetensors: EDSR answers in bf16 "
    with pytest.raises(AnswerError, match=says):
        job.build_cache(*small)
    assert not [path for path in out.rglob("*") if path.suffix == ".tar" or path.name == "manifest.json"]
    with pytest.raises(AnswerError, match=says):
        job.forecast(*small.but(out=tmp_path / "planned"))

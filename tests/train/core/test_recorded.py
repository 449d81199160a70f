"""Steps that are recorded for a GPU are those that are not: these tests need one, but for the first ones."""

import csv
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.train.conftest import OF_VIEW, SWINIR, resident
from tests.train.data.test_batches import make
from torch import Tensor

from dukd_cache import networks
from dukd_cache.format.reader import Cache
from dukd_cache.networks import Network
from dukd_train.core.learner import Learner
from dukd_train.core.parallel import World
from dukd_train.core.recorded import Recorded, keep_masks, kind_of
from dukd_train.core.run import run
from dukd_train.data.batches import Batches
from dukd_train.data.rows import Rows, StreamedRows
from dukd_train.data.shuffle import Kept
from dukd_train.settings import Augment, Eco, TrainConfig

Settings = Callable[..., TrainConfig]
GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
RAMP = {"loss": {"kd": {"weight": {"start": 1, "end": 0, "steps": 8}}}}
"""A weight that changes from step to step."""
ECO = {"eco": {"steps": 5}, "steps": 20}
"""Targets are floating point first, and 8 bits later."""


def rows(out: Path, name: str = "curve.csv") -> list[dict[str, str]]:
    with (out / name).open(newline="") as stream:
        return list(csv.DictReader(stream))


def weights(out: Path) -> dict[str, Tensor]:
    found: dict[str, Tensor] = load_file(out / "student.safetensors")
    return found


def test_numbers_may_lie_on_the_device(settings_of: Settings) -> None:
    """Rate, share of the averages and weights as tensors do what they do as numbers."""
    config = settings_of(method="kd")
    terms = config.loss.of(config.method)
    torch.manual_seed(1)
    images = {"input": torch.rand(2, 3, 6, 6).mul(255).byte()}
    images |= {name: torch.rand(2, 3, 24, 24).mul(255).byte() for name in ("truth", "teacher")}
    found: list[list[Tensor]] = []
    for kind in (float, torch.tensor):
        torch.manual_seed(0)
        student = networks.build("EDSR", 4, {"channels": 8, "blocks": 1})
        learner = Learner(config, student, terms, World(torch.device("cpu")))
        for _ in range(3):
            learner._advance({"base": images}, [kind(number) for number in (1e-3, 0.1, *[0.5] * len(terms))])
        found.append([*student.module.parameters(), *learner.averaged.module.parameters()])
    for number, tensor in zip(*found, strict=True):
        torch.testing.assert_close(tensor, number, rtol=0, atol=1e-6)


def test_batches_of_other_types_are_other_kinds() -> None:
    images = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    kinds = [kind_of({"base": {"truth": each}}) for each in (images, images.float(), images[:1])]
    kinds += [kind_of({"base": {"teacher": images}}), kind_of({"zoom_out": {"truth": images}})]
    assert len({*kinds}) == 5
    assert kinds[0] == kind_of({"base": {"truth": images + 1}})


def kinds(batches: Batches, steps: int = 8) -> list[object]:
    """Of the batches of so many steps, as a training gets them: three epochs and some of 12 records."""
    with closing(batches.ahead(0, steps)) as ahead:
        return [kind_of(batch) for _, batch in ahead]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("patch", [None, 9])
@pytest.mark.parametrize("window", [None, 2])
@pytest.mark.parametrize("weights", [None, np.arange(1.0, 8.0)])
def test_all_batches_of_a_run_are_of_one_kind(
    streamed: bool, patch: int | None, window: int | None, weights: np.ndarray | None, cache: Cache
) -> None:
    """Also those at an epoch's end, of fewer records than a batch holds, and of records that come more often."""
    kept = {"base": Kept(np.arange(7), weights)}
    batches = make(cache, rows_of(cache, streamed), Augment(), patch=patch, window=window, kept=kept)
    assert len({*kinds(batches)}) == 1
    assert kinds(batches)[0] == kinds(make(cache, rows_of(cache, not streamed), patch=patch))[0]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("eco", [Eco(steps=3), Eco(steps=3, kind="cosine"), Eco(steps=3, start=0.2)])
def test_the_end_of_eco_is_another_kind_and_nothing_else_is(streamed: bool, eco: Eco, cache: Cache) -> None:
    batches = replace(make(cache, rows_of(cache, streamed), Augment()), eco=eco)
    found = kinds(batches)
    assert [each == found[0] for each in found] == [True] * 3 + [False] * 5
    assert {*found[3:]} == {*kinds(replace(batches, eco=Eco()))}
    assert len({*kinds(replace(batches, eco=eco.model_copy(update={"end": 0.5})))}) == 1


def rows_of(cache: Cache, streamed: bool) -> dict[str, Rows]:
    if streamed:
        return {view: StreamedRows(cache, view, ("input", *targets)) for view, targets in OF_VIEW.items()}
    return {view: resident(cache, view, targets) for view, targets in OF_VIEW.items()}


@GPU
@pytest.mark.parametrize("changes", [{}, RAMP, ECO, {"precision": "bf16"}, {"optimizer": {"lr": 1e-3, "clip": 0.1}}])
@pytest.mark.parametrize("student", [None, {"architecture": "Compact", "settings": {"num_feat": 8, "num_conv": 2}}])
def test_a_recorded_step_is_the_step(
    changes: dict[str, object], student: dict[str, object] | None, settings_of: Settings, tmp_path: Path
) -> None:
    given = changes | ({"student": student} if student else {})
    for name, recorded in (("plain", False), ("recorded", True)):
        run(settings_of(device="cuda", cuda_graph=recorded, **given), tmp_path / name)
    for row, expected in zip(rows(tmp_path / "recorded"), rows(tmp_path / "plain"), strict=True):
        for column, value in expected.items():
            assert float(row[column]) == pytest.approx(float(value), abs=2e-6, rel=1e-4), column
    expected_weights = weights(tmp_path / "plain")
    for name, tensor in weights(tmp_path / "recorded").items():
        torch.testing.assert_close(tensor, expected_weights[name], rtol=1e-3, atol=1e-5)


def sized(img_size: int) -> dict[str, Any]:
    return SWINIR | {"settings": SWINIR["settings"] | {"img_size": img_size}}


@pytest.mark.parametrize("img_size", [12, 18])
def test_masks_are_computed_once_a_size(img_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for those of the network's own size, which it has."""
    torch.manual_seed(0)
    student = networks.build("SwinIR", 4, sized(img_size)["settings"])
    small, large = torch.rand(2, 3, 18, 18), torch.rand(1, 3, 18, 24)
    expected = [student(each) for each in (small, large)]
    blocks = [part for part in student.module.modules() if hasattr(part, "calculate_mask")]
    asked: list[tuple[int, int]] = []
    calculate = type(blocks[0]).calculate_mask
    monkeypatch.setattr(
        type(blocks[0]), "calculate_mask", lambda block, size: (asked.append(size), calculate(block, size))[1]
    )
    keep_masks(student.module, torch.device("cpu"))
    for _ in range(3):
        for image, answer in zip((small, large), expected, strict=True):
            assert torch.equal(student(image), answer)
    others = [(18, 24)] if img_size == 18 else [(18, 18), (18, 24)]
    assert asked == [size for size in others for _ in blocks]


@pytest.mark.parametrize(
    ("architecture", "windows"),
    [("HAT", {"depths": [2], "window_size": 8, "squeeze_factor": 2}), ("RGT", {"depth": [2], "split_size": [4, 8]})],
)
def test_masks_of_other_networks(architecture: str, windows: dict[str, object]) -> None:
    """Of a type that is asked for, and two at once."""
    small = {"embed_dim": 12, "num_heads": [2], "img_size": 16, "mlp_ratio": 1}
    student = networks.build(architecture, 4, small | windows)
    image = torch.rand(1, 3, 24, 32)
    expected = student(image)
    keep_masks(student.module, torch.device("cpu"))
    assert [torch.equal(student(image), expected) for _ in range(2)] == [True, True]


@GPU
@pytest.mark.parametrize("student", [None, SWINIR])
def test_it_is_recorded(
    student: dict[str, object] | None, settings_of: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replays: list[int] = []
    replay = torch.cuda.CUDAGraph.replay
    monkeypatch.setattr(torch.cuda.CUDAGraph, "replay", lambda graph: (replays.append(1), replay(graph))[1])
    run(settings_of(device="cuda", **({"student": student} if student else {})), tmp_path / "run")
    assert len(replays) == 7  # of ten steps


@GPU
def test_a_gpu_that_is_late_gets_what_it_was_given() -> None:
    """Batches and numbers that are dropped at once, recorded and not."""
    step = Recorded(lambda batch, numbers: {"sum": batch["base"]["input"].sum() + numbers[0]}, torch.device("cuda"))
    sums = []
    for number in range(60):
        torch.cuda._sleep(20_000_000)  # cycles: a hundredth of a second
        sums.append(step({"base": {"input": torch.full((4, 3, 8, 8), number, device="cuda")}}, [number / 100])["sum"])
    assert torch.stack(sums).tolist() == pytest.approx([4 * 3 * 8 * 8 * number + number / 100 for number in range(60)])


@GPU
def test_a_learner_knows_when_its_device_is_done(settings_of: Settings) -> None:
    config = settings_of(device="cuda", method="kd")
    student = networks.build("EDSR", 4, {"channels": 64, "blocks": 8})
    learner = Learner(config, student, config.loss.of(config.method), World(torch.device("cuda")))
    images = {"input": torch.zeros(16, 3, 48, 48, dtype=torch.uint8, device="cuda")}
    images |= {name: torch.zeros(16, 3, 192, 192, dtype=torch.uint8, device="cuda") for name in ("truth", "teacher")}
    assert learner.is_done()
    for step in range(9):
        learner.step({"base": images}, 1e-4, 0.9, step)
    assert not learner.is_done()
    torch.cuda.synchronize()
    assert learner.is_done()


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """All students wait for the GPU."""
    plain = Network.forward

    def waits(network: Network, image_NCHW: Tensor) -> Tensor:
        assert image_NCHW.sum().item() >= 0
        return plain(network, image_NCHW)

    monkeypatch.setattr(Network, "forward", waits)


@GPU
@pytest.mark.usefixtures("waiting")
def test_a_student_that_waits_goes_on_as_it_did(
    settings_of: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(settings_of(device="cuda"), tmp_path / "recorded")
    assert capsys.readouterr().err.count("steps are not recorded as a CUDA graph") == 1
    run(settings_of(device="cuda", cuda_graph=False), tmp_path / "plain")
    assert rows(tmp_path / "recorded") == rows(tmp_path / "plain")


@GPU
@pytest.mark.usefixtures("waiting")
def test_a_student_that_waits_can_still_draw_random_numbers(
    settings_of: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same ones as if nobody had tried to record it."""
    run(settings_of(device="cuda", student=SWINIR), tmp_path / "recorded")
    assert capsys.readouterr().err.count("steps are not recorded as a CUDA graph") == 1
    run(settings_of(device="cuda", cuda_graph=False, student=SWINIR), tmp_path / "plain")
    for row, expected in zip(rows(tmp_path / "recorded"), rows(tmp_path / "plain"), strict=True):
        assert float(row["total"]) == pytest.approx(float(expected["total"]), abs=2e-5)


@GPU
def test_a_student_that_draws_random_numbers(settings_of: Settings, tmp_path: Path) -> None:
    """SwinIR drops paths: other ones in each step, the same ones recorded or not."""
    for name, recorded in (("plain", False), ("recorded", True)):
        run(settings_of(device="cuda", cuda_graph=recorded, student=SWINIR), tmp_path / name)
    for row, expected in zip(rows(tmp_path / "recorded"), rows(tmp_path / "plain"), strict=True):
        assert float(row["total"]) == pytest.approx(float(expected["total"]), abs=2e-5)

"""The training loop: against the same two steps written out by hand, and against a recorded curve.

Shapes: N records, p input side, q = s·p output side, C = 3.
"""

import csv
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.conftest import PROJECT
from tests.train.conftest import SWINIR
from torch import Tensor

from dukd_cache import networks
from dukd_cache.format.reader import Cache
from dukd_cache.networks import Network
from dukd_cache.plan.views import VIEWS
from dukd_train.core import checkpoint
from dukd_train.core.checkpoint import Origin
from dukd_train.core.loop import Training, train
from dukd_train.core.parallel import World
from dukd_train.data.batches import Batches
from dukd_train.data.order import Order
from dukd_train.data.residency import open_rows
from dukd_train.keeping.curve import CURVE, CurveFile
from dukd_train.keeping.validation import Validator
from dukd_train.objective import METHODS
from dukd_train.settings import TrainConfig

CPU = torch.device("cpu")
GOLDEN = PROJECT / "tests" / "golden" / "edsr_x2_10_steps.json"
BASE = {"hflip": 0.0, "vflip": 1.0, "transpose": 1.0, "invert": 0.0}
ZOOM = {"hflip": 1.0, "vflip": 0.0, "transpose": 1.0, "invert": 1.0}

Settings = Callable[..., TrainConfig]


def go(config: TrainConfig, out: Path) -> tuple[Training, Network]:
    """Train into the new folder `out`."""
    cache = Cache(config.cache)
    terms = config.loss.of(config.method)
    targets = {view: [term.to for term in terms.values() if term.view == view] for view in VIEWS}
    rows, _ = open_rows(cache, {view: names for view, names in targets.items() if names}, config.data, CPU)
    torch.manual_seed(config.seed)
    student = networks.build(config.student.architecture, 2, config.student.settings)
    order = Order(cache.manifest, config.batch, config.patch, config.seed)
    batches = Batches(rows, order, config.augment, CPU)
    training = Training(config, student, batches, terms, World(CPU), Origin(cache.digest, ""), 0.0)
    out.mkdir()
    kept: list[Network] = []
    validator = Validator(config.validation, 2, torch.device("cpu"))
    train(training, out, None, validator, CurveFile(out), lambda averaged, _seconds: kept.append(averaged))
    (averaged,) = kept
    return training, averaged


def curve(run: Path) -> list[dict[str, float]]:
    """The rows of `curve.csv`, without empty cells."""
    with (run / CURVE).open(newline="") as stream:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(stream)]


class ByHand:
    """DUKD in plain PyTorch: no batches, no shared forward, the student's outputs mapped back, Adam written out."""

    def __init__(self, config: TrainConfig, cache: Cache) -> None:
        self.config = config
        torch.manual_seed(config.seed)
        self.module = networks.build("EDSR", 2, config.student.settings).module
        self.names = [name for name, _ in self.module.named_parameters()]
        self.values = list(self.module.parameters())
        self.averages = [value.detach().clone() for value in self.values]
        self.first = [torch.zeros_like(value) for value in self.values]
        self.second = [torch.zeros_like(value) for value in self.values]
        self.records = {view: [cache.read(view, i) for i in range(cache.count(view))] for view in VIEWS}

    def pixels(self, view: str, name: str) -> Tensor:
        """All records' input, teacher or truth in [0,1]."""
        levels_NHWC = np.stack([record[name] for record in self.records[view]])
        return torch.from_numpy(levels_NHWC).permute(0, 3, 1, 2).float() / 255

    def answers(self, view: str) -> Tensor:
        """F⁻¹(S(F(x))) of all records, F being always the same."""
        x = self.pixels(view, "input")
        if view == "base":
            return self.module(x.flip(-2).transpose(-1, -2)).transpose(-1, -2).flip(-2)  # type: ignore[no-any-return]
        return (1 - self.module(1 - x.flip(-1).transpose(-1, -2))).transpose(-1, -2).flip(-1)  # type: ignore[no-any-return]

    def losses(self) -> dict[str, Tensor]:
        base, zoom_in, zoom_out = self.answers("base"), self.answers("zoom_in"), self.answers("zoom_out")
        return {
            "rec": (base - self.pixels("base", "truth")).abs().mean(),
            "kd": (base - self.pixels("base", "teacher")).abs().mean(),
            "zoom_in": (zoom_in - self.pixels("zoom_in", "teacher")).abs().mean(),
            "zoom_out_rec": (zoom_out - self.pixels("zoom_out", "truth")).abs().mean(),
            "zoom_out_kd": (zoom_out - self.pixels("zoom_out", "teacher")).abs().mean(),
        }

    def step(self, number: int, rate: float) -> dict[str, float]:
        """Step `number`, counted from 1; returns its losses."""
        chosen, (b1, b2) = self.config.optimizer, self.config.optimizer.betas
        parts = self.losses()
        total = torch.zeros(())
        for name, value in parts.items():
            total = total + self.config.loss.root[name].weight * value
        gradients = torch.autograd.grad(total, self.values)
        if chosen.clip is not None:
            norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
            assert norm > chosen.clip  # or the clipping is not tested
            gradients = tuple(gradient * chosen.clip / norm for gradient in gradients)
        with torch.no_grad():
            for i, (value, gradient) in enumerate(zip(self.values, gradients, strict=True)):
                pull = gradient + chosen.weight_decay * value
                self.first[i] = b1 * self.first[i] + (1 - b1) * pull
                self.second[i] = b2 * self.second[i] + (1 - b2) * pull**2
                unbiased, spread = self.first[i] / (1 - b1**number), self.second[i] / (1 - b2**number)
                value.sub_(rate * unbiased / (spread.sqrt() + 1e-8))
                kept = min(self.config.ema, number / (number + 9))
                self.averages[i] = kept * self.averages[i] + (1 - kept) * value
        return {"total": float(total.detach())} | {name: float(value.detach()) for name, value in parts.items()}


@pytest.mark.parametrize(("clip", "decay"), [(None, 0.0), (0.01, 0.0), (None, 0.1)])
def test_two_steps_equal_those_written_by_hand(
    settings_of: Settings, cache: Cache, tmp_path: Path, clip: float | None, decay: float
) -> None:
    config = settings_of(
        steps=2,
        batch=12,  # all records, so that their order cannot matter
        loss={"rec": 5, "kd": 0.7, "zoom_in": 1.3, "zoom_out_rec": 0.4, "zoom_out_kd": 2.1},
        augment={"base": BASE, "zoom": ZOOM},
        optimizer={"lr": 2e-3, "betas": [0.8, 0.95], "clip": clip, "weight_decay": decay},
        schedule={"milestones": [1], "gamma": 0.5},
        ema=0.15,  # the first step's average starts lower, the second's does not
    )
    training, averaged = go(config, tmp_path / "run")
    reference = ByHand(config, cache)
    for row, rate in zip(curve(tmp_path / "run"), (2e-3, 1e-3), strict=True):
        expected = reference.step(int(row["step"]), rate)
        assert row["lr"] == rate
        assert {name: row[name] for name in expected} == pytest.approx(expected, abs=2e-6)
    start = networks.build("EDSR", 2, config.student.settings).module.state_dict()
    for found, wanted in ((training.student, reference.values), (averaged, reference.averages)):
        tensors = found.module.state_dict()
        for name, value in zip(reference.names, wanted, strict=True):
            torch.testing.assert_close(tensors[name], value.detach(), rtol=0, atol=2e-5)
        # The steps are far larger than the tolerance.
        assert max(float((tensors[name] - start[name]).abs().max()) for name in reference.names) > 1e-3


def test_the_loss_falls(settings_of: Settings, tmp_path: Path) -> None:
    go(settings_of(steps=50, optimizer={"lr": 1e-2}), tmp_path / "run")
    rows = curve(tmp_path / "run")
    for name in ("total", "rec", "kd", "zoom_in", "zoom_out_rec", "zoom_out_kd"):
        early, late = (sum(row[name] for row in part) / 10 for part in (rows[:10], rows[-10:]))
        assert late < 0.6 * early, name


@pytest.mark.parametrize(
    ("log_every", "steps", "logged"), [(1, 3, [1, 2, 3]), (2, 5, [2, 4, 5]), (10, 3, [3]), (3, 6, [3, 6])]
)
def test_rows_and_rates(settings_of: Settings, tmp_path: Path, log_every: int, steps: int, logged: list[int]) -> None:
    schedule = {"kind": "cosine", "warmup": 2, "floor": 0.1}
    go(settings_of(method="scratch", steps=steps, log_every=log_every, schedule=schedule), tmp_path / "run")
    rows = curve(tmp_path / "run")
    assert [row["step"] for row in rows] == logged
    for row in rows:
        done = int(row["step"]) - 1
        rate = 1e-3 * min(1, (done + 1) / 2) * (0.1 + 0.9 * (1 + math.cos(math.pi * done / steps)) / 2)
        assert row["lr"] == pytest.approx(rate, rel=1e-3)


def test_a_row_is_the_mean_of_its_steps(settings_of: Settings, tmp_path: Path) -> None:
    go(settings_of(steps=6), tmp_path / "each")
    go(settings_of(steps=6, log_every=3), tmp_path / "mean")
    each, mean = curve(tmp_path / "each"), curve(tmp_path / "mean")
    for row, steps in zip(mean, (each[:3], each[3:]), strict=True):
        for name in ("total", "kd", "zoom_out_rec"):
            assert row[name] == pytest.approx(sum(step[name] for step in steps) / 3, abs=2e-6)


@pytest.mark.parametrize("every", [0, 2, 5])
def test_checkpoints_when_due_and_at_the_end(
    settings_of: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: int
) -> None:
    saved: list[int] = []
    monkeypatch.setattr(checkpoint, "save", lambda state, _run: saved.append(state.step))
    go(settings_of(method="scratch", steps=5, checkpoint_every=every or 1000), tmp_path / "run")
    assert saved == {0: [5], 2: [2, 4, 5], 5: [5]}[every]


def test_bf16_computes_coarsely_and_keeps_float32(settings_of: Settings, tmp_path: Path) -> None:
    fine, _ = go(settings_of(steps=3), tmp_path / "fine")
    coarse, averaged = go(settings_of(steps=3, precision="bf16"), tmp_path / "coarse")
    for network in (coarse.student, averaged):
        assert {value.dtype for value in network.module.parameters()} == {torch.float32}
    rows = [curve(tmp_path / name)[0]["total"] for name in ("fine", "coarse")]
    assert rows[0] != rows[1]
    assert rows[0] == pytest.approx(rows[1], rel=0.02)
    for one, other in zip(fine.student.module.parameters(), coarse.student.module.parameters(), strict=True):
        assert not torch.equal(one, other)


@pytest.mark.parametrize(
    ("architecture", "settings"),
    [
        ("SAFMN", {"dim": 8, "n_blocks": 1}),
        ("SPAN", {"feature_channels": 8}),
        ("SwinIR", {**SWINIR["settings"], "drop_path_rate": 0.1}),
    ],
)
def test_students_of_spandrel_learn(
    settings_of: Settings, tmp_path: Path, architecture: str, settings: dict[str, Any]
) -> None:
    """Among them one whose windows fit none of the inputs: 8 pixels of zoom_out, 16 of the others."""
    student = {"architecture": architecture, "settings": settings}
    training, averaged = go(settings_of(student=student, steps=25, optimizer={"lr": 2e-3}), tmp_path / "run")
    rows = curve(tmp_path / "run")
    assert sum(row["zoom_out_kd"] for row in rows[-5:]) < 0.9 * sum(row["zoom_out_kd"] for row in rows[:5])
    assert all(value.isfinite().all() for value in averaged.module.state_dict().values())
    assert averaged.module is not training.student.module


def test_golden_curve(settings_of: Settings, tmp_path: Path) -> None:
    """10 steps of DUKD on the CPU give the losses they gave when this file was recorded.

    After a change that is meant to change them, record them anew and say why in the commit:

        DUKD_RECORD_GOLDEN=1 pytest tests/train/test_loop.py -k golden
    """
    go(settings_of(augment={"base": {"invert": 0.2}}, ema=0.99, patch=12), tmp_path / "run")
    found = {name: [row[name] for row in curve(tmp_path / "run")] for name in ("total", *METHODS["dukd"])}
    if "DUKD_RECORD_GOLDEN" in os.environ:
        GOLDEN.write_text(json.dumps({"torch": torch.__version__, "losses": found}, indent=1) + "\n")
    recorded = json.loads(GOLDEN.read_text())
    expected: dict[str, list[float]] = recorded["losses"]
    for name, values in expected.items():
        if found[name] != pytest.approx(values, rel=2e-3, abs=2e-5):
            pytest.fail(_diagnosis(name, found[name], values, recorded["torch"]))


def _diagnosis(name: str, found: list[float], expected: list[float], recorded_with: str) -> str:
    pairs = list(zip(found, expected, strict=True))
    off = [abs(one - other) > 2e-3 * other + 2e-5 for one, other in pairs]
    rows = [
        f"{step:4}  {other:9.6f}  {one:9.6f}  {one - other:+.1e}{'  <-' * wrong}"
        for step, ((one, other), wrong) in enumerate(zip(pairs, off, strict=True), 1)
    ]
    first = off.index(True) + 1
    hint = "weights, data, augmentation or loss differ" if first == 1 else "gradients, optimizer or schedule differ"
    heading = f"{name} leaves the recorded curve at step {first}: {hint} (recorded with torch {recorded_with}, "
    return "\n".join([f"{heading}this is {torch.__version__})", "step   recorded      found  difference", *rows])


def test_the_diagnosis_points_at_the_step() -> None:
    text = _diagnosis("kd", [0.5, 0.4, 0.35], [0.5, 0.4, 0.3], "2.x")
    assert text.splitlines()[0].startswith("kd leaves the recorded curve at step 3: gradients")
    assert [line.endswith("<-") for line in text.splitlines()[2:]] == [False, False, True]

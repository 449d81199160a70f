"""Training from a cache is training with the teacher in the loop: the same losses, to the precision of its answers.

The online side cuts its crops out of the source images itself, asks the teacher itself and augments by itself; the two
share only which crop of which record comes when, and which F is drawn for it.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.online import PARTS, Crops, Turn, random_crops, train_online
from PIL import Image
from tests.train.conftest import photo_like
from torch import Tensor

from dukd_cache import networks
from dukd_cache.format.reader import Cache
from dukd_cache.format.record import Dtype
from dukd_cache.pictures.bicubic import downscale
from dukd_cache.pictures.symmetries import STEPS
from dukd_cache.plan.views import VIEWS
from dukd_train.core.run import run
from dukd_train.data.augment import draw
from dukd_train.data.order import Order
from dukd_train.settings import TrainConfig
from dukd_train.watching.observers import Observer, Row

STEPS_TRAINED = 12
EXACTNESS: dict[Dtype, float] = {"float32": 1e-6, "float16": 2**-12, "uint8": 1 / 510}
"""Largest difference of a part of the loss at any step. A rounded answer is off by at most half a step of its type:
2⁻¹² of the range in float16, half a level of 255 in uint8."""
LOSS = {"rec": 5.0, "kd": 0.7, "zoom_in": 1.3, "zoom_out_rec": 0.4, "zoom_out_kd": 2.1}
PLAIN = [Turn(hflip=False, vflip=False, transpose=False, invert=False)] * 3
OFTEN = {"hflip": 0.5, "vflip": 0.5, "transpose": 0.5, "invert": 0.3}


class Recorder(Observer):
    """Remembers every step's losses."""

    def __init__(self) -> None:
        self.curve: list[dict[str, float]] = []

    def logged(self, row: Row) -> None:
        self.curve.append({str(part): loss for part, loss in row.terms.items()})


def pictures(images_HWC: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(images_HWC)).permute(0, 3, 1, 2).float() / 255


def cut(cache: Cache, hr: Path, view: str, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Input and truth of a record, cut anew out of its image; zoom_in has no truth."""
    info, spec = cache.info(view, index), cache.manifest
    image, s, p = np.asarray(Image.open(hr / info.image)), spec.scale, spec.patch
    if view == "zoom_in":
        return image[info.y : info.y + p, info.x : info.x + p], np.zeros(0)
    patch = downscale(image, s)[info.y : info.y + p, info.x : info.x + p]
    if view == "zoom_out":
        return downscale(patch, s), patch
    return patch, image[s * info.y : s * (info.y + p), s * info.x : s * (info.x + p)]


def steps_of(config: TrainConfig, hr: Path) -> Iterator[Crops]:
    """What a run with `config` reads and draws, taken from the images."""
    cache = Cache(config.cache)
    order = Order(cache.manifest, config.batch, None, config.seed)
    for step in range(config.steps):
        crops: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
        turns: dict[str, list[Turn]] = {}
        for view in VIEWS:
            picks, rng = order.draw(view, step, cache.count(view))
            crops[view] = [cut(cache, hr, view, int(index)) for index in picks.indices]
            how = draw(config.batch, config.augment.of(view), rng)
            turns[view] = [Turn(*taken) for taken in zip(*(getattr(how, name).tolist() for name in STEPS), strict=True)]
        yield Crops(
            lr=pictures([x for x, _ in crops["base"]]),
            hr=pictures([y for _, y in crops["base"]]),
            zoomed_in=pictures([x for x, _ in crops["zoom_in"]]),
            zoomed_out=pictures([x for x, _ in crops["zoom_out"]]),
            large=pictures([y for _, y in crops["zoom_out"]]),
            base_turns=turns["base"],
            zoom_in_turns=turns["zoom_in"],
            zoom_out_turns=turns["zoom_out"],
        )


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
def test_from_a_cache_as_with_the_teacher_in_the_loop(
    build_cache: Callable[..., Path],
    settings_of: Callable[..., TrainConfig],
    hr_folder: Path,
    teacher_file: Path,
    tmp_path: Path,
    dtype: Dtype,
) -> None:
    config = settings_of(
        cache=build_cache(dtype=dtype, batch_size=7),
        steps=STEPS_TRAINED,
        batch=5,
        loss=LOSS,
        augment={"base": OFTEN, "zoom": OFTEN},
        optimizer={"lr": 1e-3, "betas": [0.9, 0.99]},
        schedule={"milestones": [10**6]},
        seed=3,
    )
    recorder = Recorder()
    run(config, tmp_path / "run", [recorder])

    torch.manual_seed(config.seed)
    student = networks.build("EDSR", 2, config.student.settings)
    teacher = networks.load(teacher_file)
    online = train_online(teacher, student, steps_of(config, hr_folder), weights=LOSS, lr=1e-3)

    assert len(recorder.curve) == len(online) == STEPS_TRAINED
    off = {part: max(abs(a[part] - b[part]) for a, b in zip(recorder.curve, online, strict=True)) for part in PARTS}
    assert max(off.values()) < EXACTNESS[dtype], off
    moved = {part: max(step[part] for step in online) - min(step[part] for step in online) for part in PARTS}
    assert min(moved.values()) > 20 * EXACTNESS["float16"]  # the curves have something to differ in
    if dtype == "uint8":
        assert max(off.values()) > EXACTNESS["float32"]  # and rounding does show


def test_the_authors_step_updates_twice_and_the_second_time_adds_the_first_gradient() -> None:
    scenes = [(high, downscale(high, 2)) for high in (photo_like(seed, 48, 40) for seed in range(2))]
    torch.manual_seed(0)
    teacher, student = (networks.build("EDSR", 2, {"channels": 8, "blocks": 1}) for _ in range(2))
    by_hand = copy.deepcopy(student)
    steps = [*random_crops(scenes, scale=2, patch=8, batch=3, steps=4)]
    steps = [replace(step, base_turns=PLAIN, zoom_in_turns=PLAIN, zoom_out_turns=PLAIN) for step in steps]
    λ = {"rec": 5.0, "kd": 1.0, "zoom_in": 1.0, "zoom_out_rec": 5.0, "zoom_out_kd": 1.0}
    online = train_online(teacher, student, steps, weights=λ, lr=1e-3, authors_step=True)

    parameters = [*by_hand.module.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-3, betas=(0.9, 0.99))
    by_hand.module.train()
    rows = []
    for x in steps:

        def away(inputs: Tensor, target: Tensor) -> Tensor:
            return (by_hand.forward(inputs) - target).abs().mean()

        with torch.no_grad():
            told = [teacher(inputs) for inputs in (x.lr, x.zoomed_in, x.zoomed_out)]
        base = {"rec": away(x.lr, x.hr), "kd": away(x.lr, told[0])}
        first = torch.autograd.grad(5 * base["rec"] + base["kd"], parameters)
        apply(optimizer, parameters, first)
        zoomed = {
            "zoom_in": away(x.zoomed_in, told[1]),
            "zoom_out_rec": away(x.zoomed_out, x.large),
            "zoom_out_kd": away(x.zoomed_out, told[2]),
        }
        total = zoomed["zoom_in"] + 5 * zoomed["zoom_out_rec"] + zoomed["zoom_out_kd"]
        second = torch.autograd.grad(total, parameters)
        apply(optimizer, parameters, [old + new for old, new in zip(first, second, strict=True)])
        rows.append({part: float(loss.detach()) for part, loss in (base | zoomed).items()})
    assert {int(state["step"]) for state in optimizer.state.values()} == {2 * len(steps)}
    for found, expected in zip(online, rows, strict=True):
        assert found == pytest.approx(expected, rel=1e-4)
    for one, other in zip(student.module.parameters(), parameters, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def apply(optimizer: torch.optim.Optimizer, parameters: list[Tensor], gradients: Sequence[Tensor]) -> None:
    """One update with these gradients."""
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.clone()
    optimizer.step()


def test_turns_are_taken_back() -> None:
    image = torch.rand(3, 4, 4)
    found = set()
    for number in range(16):
        turn = Turn(*(bool(number >> bit & 1) for bit in range(4)))
        torch.testing.assert_close(turn.back(turn.forth(image)), image)
        found.add(turn.forth(image).numpy().tobytes())
    assert len(found) == 16


def test_random_crops_are_squares_of_the_scenes() -> None:
    """zoom_in lies in the HR patch, zoom_out is the LR patch made smaller."""
    scenes = [(high, downscale(high, 2)) for high in (photo_like(seed, 48, 40) for seed in range(3))]
    steps = list(random_crops(scenes, scale=2, patch=8, batch=6, steps=2))
    assert [tuple(steps[0].__dict__[name].shape) for name in ("lr", "hr", "zoomed_in", "zoomed_out", "large")] == [
        (6, 3, 8, 8),
        (6, 3, 16, 16),
        (6, 3, 8, 8),
        (6, 3, 4, 4),
        (6, 3, 8, 8),
    ]
    assert not torch.equal(steps[0].lr, steps[1].lr)
    for step in steps:
        for lr, hr, inside in zip(step.lr, step.hr, step.zoomed_in, strict=True):
            levels = (hr * 255).round().byte().permute(1, 2, 0).numpy()
            smaller = torch.from_numpy(downscale(levels, 2)).permute(2, 0, 1) / 255
            torch.testing.assert_close(smaller[:, 2:-2, 2:-2], lr[:, 2:-2, 2:-2], rtol=0, atol=1e-6)
            windows = hr.unfold(1, 8, 1).unfold(2, 8, 1).permute(1, 2, 0, 3, 4).reshape(-1, 3, 8, 8)
            assert (windows == inside).flatten(1).all(1).any()


def test_a_student_learns_online() -> None:
    scenes = [(high, downscale(high, 2)) for high in (photo_like(seed, 48, 40) for seed in range(3))]
    torch.manual_seed(0)
    student, teacher = (networks.build("EDSR", 2, {"channels": 8, "blocks": 1}) for _ in range(2))
    steps = random_crops(scenes, scale=2, patch=8, batch=6, steps=60, seed=1)
    truth_only = {"kd": 0.0, "zoom_in": 0.0, "zoom_out_kd": 0.0}
    curve = train_online(teacher, student, steps, weights=truth_only, lr=1e-2)
    assert sum(row["rec"] for row in curve[-10:]) < 0.8 * sum(row["rec"] for row in curve[:10])

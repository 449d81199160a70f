"""Step overhead: a step of `dukd-train run`, with data, augmentation, averages, logging and all, over the bare student.

The bare student's step is forward, L1 losses, backward and Adam on constant tensors of the same shapes.
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.figures import Figure, Goal
from benchmarks.material import cache_config, network_file, photographs
from benchmarks.timing import taking_turns
from dukd_cache import networks
from dukd_cache.commands import build as job
from dukd_cache.format.reader import Cache
from dukd_cache.networks import Network
from dukd_cache.networks.devices import choose_device
from dukd_cache.settings.model import validated
from dukd_train.core.run import run
from dukd_train.settings import TrainConfig
from dukd_train.watching.observers import Observer

STUDENTS: dict[str, tuple[dict[str, Any], int]] = {
    "EDSR, 40 k parameters": ({"channels": 16, "blocks": 4}, 11),
    "EDSR, 159 k parameters": ({"channels": 32, "blocks": 4}, 5),
}
"""Settings, and turns: what takes less time is measured more often."""
_STEPS = 24
_WARM_UP = 4


def figures() -> Iterator[Figure]:
    """Each student with the method that has all parts."""
    with tempfile.TemporaryDirectory(prefix="dukd-bench-") as name:
        folder = Path(name)
        small_cache(folder / "cache", patch=32)
        for student, (settings, turns) in STUDENTS.items():
            config = training(folder / "cache", settings, _WARM_UP + _STEPS)
            yield overhead(config, folder, f"{student}, dukd, batch 16, patch 32", Goal(at_most=1.05), turns)


def small_cache(out: Path, patch: int) -> None:
    """A cache with all views at `out`; what the teacher says in it does not matter."""
    hr, _ = photographs(out.with_name("hr"), 8)
    weights = network_file(out.with_name("tiny.safetensors"), "EDSR", {"channels": 8, "blocks": 1})
    job.build_cache(cache_config(hr, weights, patch=patch, views={"base": 16}), out)


def training(cache: Path, student: dict[str, Any], steps: int, **changes: Any) -> TrainConfig:
    """A run of so many steps as users set it: a row of the curve every ten, a checkpoint at the end."""
    settings = {"architecture": "EDSR", "settings": student}
    content = {"method": "dukd", "cache": str(cache), "student": settings, "steps": steps, "log_every": 10}
    return validated(TrainConfig, content | changes)


def overhead(config: TrainConfig, folder: Path, case: str, goal: Goal, turns: int = 3) -> Figure:
    """Runs and bare steps in turns."""
    seconds: dict[str, list[float]] = {"run": [], "bare": []}
    for name in taking_turns(list(seconds), turns):
        # Both build their student anew: how fast one is depends on where in memory its tensors happen to lie.
        seconds[name].append(
            seconds_a_step(config, folder / "run") if name == "run" else per_step(bare_step(config), config.steps)
        )
    ratio = median(a / b for a, b in zip(seconds["run"], seconds["bare"], strict=True))
    facts = {"run_s_a_step": seconds["run"], "bare_s_a_step": seconds["bare"], "steps_a_turn": config.steps - _WARM_UP}
    return Figure("step overhead", case, ratio, "", goal, facts)


def seconds_a_step(config: TrainConfig, out: Path) -> float:
    """Of a whole run into the folder `out`, which is made anew; after the warm-up."""
    shutil.rmtree(out, ignore_errors=True)
    clock = _Clock()
    run(config, out, [clock])
    return clock.step


@dataclass
class _Clock(Observer):
    """When steps were done."""

    times: list[float] = field(default_factory=list)

    def stepped(self, step: int) -> None:
        """One is done, or queued."""
        if torch.cuda.is_available() and step == _WARM_UP:
            torch.cuda.synchronize()
        self.times.append(time.perf_counter())

    def ended(self, _step: int) -> None:
        """All are done, with what is written at the end."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.times.append(time.perf_counter())

    @property
    def step(self) -> float:
        """Seconds a step, from the end of the warm-up to the end of all."""
        return (self.times[-1] - self.times[_WARM_UP - 1]) / (len(self.times) - 1 - _WARM_UP)


def per_step(step: Callable[[], None], steps: int) -> float:
    """Seconds that `step` takes, the mean over `steps` less the warm-up, a GPU waited for."""
    for _ in range(_WARM_UP):
        step()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(steps - _WARM_UP):
        step()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return (time.perf_counter() - started) / (steps - _WARM_UP)


def bare_step(config: TrainConfig) -> Callable[[], None]:
    """A step on constant tensors of the shapes that the run has; views of one size go through together, as there."""
    spec = Cache(config.cache).manifest
    device = choose_device(config.device)
    student = networks.build(config.student.architecture, spec.scale, config.student.settings)
    student.module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(student.module.parameters(), lr=config.optimizer.lr, betas=config.optimizer.betas)
    sides: dict[int, list[str]] = {}
    targets: dict[str, int] = {}
    for term in config.loss.of(config.method).values():
        if term.view not in targets:
            sides.setdefault(spec.view(term.view).input_side, []).append(term.view)
        targets[term.view] = targets.get(term.view, 0) + 1
    groups = [
        _Group(
            _constant(len(views) * config.batch, side, device),
            [(targets[view], _constant(config.batch, side * spec.scale, device)) for view in views],
        )
        for side, views in sides.items()
    ]

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16"):
            loss = torch.stack([group.loss(student) for group in groups]).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    student.module.train()
    return step


@dataclass(frozen=True)
class _Group:
    """Inputs of one size, and for each of their views how many targets it has, and one."""

    input: Tensor
    targets: list[tuple[int, Tensor]]

    def loss(self, student: Network) -> Tensor:
        """The sum of all its parts."""
        outputs = student.forward(self.input).chunk(len(self.targets))
        parts = [
            nn.functional.l1_loss(output, target)
            for output, (count, target) in zip(outputs, self.targets, strict=True)
            for _ in range(count)
        ]
        return torch.stack(parts).sum()


def _constant(count: int, side: int, device: torch.device) -> Tensor:
    values = torch.rand(count, 3, side, side, device=device)
    return values.contiguous(memory_format=torch.channels_last)

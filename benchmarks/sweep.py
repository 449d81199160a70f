"""A sweep: K students from one cache, built for them, against K students trained with the teacher in the loop.

All see the same crops, make as many updates and run one after another. What is online is `benchmarks/online.py`; its
crops are made beforehand and cost it nothing. K = 1 and 4 are measured from end to end, 16 follows from their parts.

T and S: seconds that teacher and bare student take an update. With caches, a student costs S where it cost T + S.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor

from benchmarks.figures import Figure, Goal
from benchmarks.material import cache_config, photographs, teacher_of_the_demo
from benchmarks.online import Crops, Turn, train_online
from benchmarks.step import bare_step, per_step, training
from dukd_cache import networks
from dukd_cache.build.teacher import load
from dukd_cache.commands import build as job
from dukd_cache.format.reader import Cache
from dukd_cache.networks import Network
from dukd_train.core.run import run
from dukd_train.settings import TrainConfig

_STUDENTS = 4
_MORE = 16
_STUDENT = {"channels": 16, "blocks": 3}
_PATCH = 24
_BATCH = 8
_UPDATES = 120
_IMAGES, _CROPS = 6, 4
_TIMED = 12
"""Updates to time T and S alone."""


def figures() -> Iterator[Figure]:
    """Time of one over the other at each K; K's break-even; what of (T + S)/S is reached."""
    with tempfile.TemporaryDirectory(prefix="dukd-bench-") as name:
        folder = Path(name)
        hr, images = photographs(folder / "hr", _IMAGES)
        weights, teacher_name = teacher_of_the_demo()
        asked = load(weights, torch.device("cpu"), "fp32").network
        build_s = _seconds(lambda: _build(hr, weights, folder / "cache"))
        cache = Cache(folder / "cache")
        configs = [training(folder / "cache", _STUDENT, _UPDATES, batch=_BATCH, seed=seed) for seed in range(_STUDENTS)]
        steps = list(_same_crops(cache))

        def online(config: TrainConfig) -> object:
            return train_online(asked, _student(cache, config), steps)

        online_s: list[float] = []
        cached_s: list[float] = []
        for number, config in enumerate(configs):
            online_s.append(_seconds(partial(online, config)))
            cached_s.append(_seconds(partial(run, config, folder / f"run-{number}")))
        T, S = _teachers(asked, steps), per_step(bare_step(configs[0]), _TIMED)
    epochs = _UPDATES * _BATCH / (_IMAGES * _CROPS)
    case = f"{teacher_name}, student of 16 channels, {_UPDATES} updates, {epochs:.0f} epochs, {images}"
    facts = {"T_s": T, "S_s": S, "build_s": build_s, "online_s": online_s, "cached_s": cached_s}
    one, whole = online_s[0] / (build_s + cached_s[0]), sum(online_s) / (build_s + sum(cached_s))
    more = _MORE * median(online_s) / (build_s + _MORE * median(cached_s))
    yield Figure("sweep", f"K = 1, times as fast as online: {case}", one, "", None, facts)
    yield Figure("sweep", f"K = {_STUDENTS}, times as fast as online", whole)
    yield Figure("sweep", f"K = {_MORE}, computed from the parts", more)
    yield Figure(
        "sweep", f"K = {_STUDENTS}, over (T + S)/S = {(T + S) / S:.2f}", whole / ((T + S) / S), "", Goal(at_least=0.9)
    )
    yield Figure("sweep", "break-even", build_s / (median(online_s) - median(cached_s)), "students")


def _build(hr: Path, weights: Path, out: Path) -> None:
    job.build_cache(cache_config(hr, weights, patch=_PATCH, views={"base": _CROPS}, device="cpu"), out)


def _student(cache: Cache, config: TrainConfig) -> Network:
    torch.manual_seed(config.seed)
    return networks.build(config.student.architecture, cache.manifest.scale, config.student.settings)


def _same_crops(cache: Cache) -> Iterator[Crops]:
    """The cache's crops, step by step, epoch after epoch, with an F drawn for each."""
    views = {view: [cache.read(view, index) for index in range(cache.count(view))] for view in cache.views}
    rng = np.random.default_rng(0)

    def pictures(view: str, part: str, order: np.ndarray) -> Tensor:
        pixels = np.stack([getattr(views[view][index], part) for index in order])
        return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(255)

    for _ in range(_UPDATES):
        order = {view: rng.integers(len(records), size=_BATCH) for view, records in views.items()}
        turns = [[Turn(*map(bool, rng.random(4) < 0.3)) for _ in range(_BATCH)] for _ in range(3)]
        yield Crops(
            pictures("base", "input", order["base"]),
            pictures("base", "truth", order["base"]),
            pictures("zoom_in", "input", order["zoom_in"]),
            pictures("zoom_out", "input", order["zoom_out"]),
            pictures("zoom_out", "truth", order["zoom_out"]),
            *turns,
        )


def _teachers(asked: Network, steps: list[Crops]) -> float:
    """T: seconds that the teacher takes for the three views of an update."""
    crops = iter(steps)

    def ask() -> None:
        x = next(crops)
        for inputs in (x.lr, x.zoomed_in, x.zoomed_out):
            asked(inputs)

    return per_step(ask, _TIMED)


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started

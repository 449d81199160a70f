"""Build efficiency: how long the whole build takes, over the bare teacher's forward passes on the same batches.

    python -m benchmarks build

Size: bytes of the teacher's answers in the cache, over those of their float32.
"""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.figures import Figure, Goal
from benchmarks.material import LARGE, cache_config, network_file, photographs, teacher, teacher_of_real_images
from benchmarks.timing import in_turns, ratio
from dukd_cache.build.write import Work, build
from dukd_cache.commands import build as job
from dukd_cache.commands.config import CacheConfig
from dukd_cache.commands.prepare import Prepared, prepare
from dukd_cache.format.reader import Cache
from dukd_cache.places.choice import place_at

_TURNS = 5
_FLOAT32_BYTES = 4


def figures() -> Iterator[Figure]:
    """A small real teacher, and one as large as the paper's."""
    with tempfile.TemporaryDirectory(prefix="dukd-bench-") as name:
        folder = Path(name)
        weights, teacher_name = teacher()
        hr, images = photographs(folder / "hr", 16)
        light = cache_config(hr, weights)
        yield efficiency(light, folder / "light", f"{teacher_name}, {images}", Goal(at_most=1.05))
        yield size(folder / "light", f"{teacher_name}, {images}")
        large, images = photographs(folder / "large", 8, LARGE)
        job.build_cache(cache_config(large, weights), folder / "of-large")
        yield size(folder / "of-large", f"{teacher_name}, {images}")
        edsr = network_file(folder / "edsr.safetensors", "EDSR", {"channels": 256, "blocks": 32})
        few, images = photographs(folder / "few", 1)
        heavy = cache_config(few, edsr, views={"base": 48, "zoom_in": 0, "zoom_out": 0}, batch_size=8)
        yield efficiency(heavy, folder / "heavy", f"EDSR-L ×4, 43 M parameters, {images}", Goal(at_most=1.05), turns=3)
        if released := teacher_of_real_images():
            yield efficiency_of_degraded(folder, *released)


def efficiency(asked: CacheConfig, out: Path, case: str, goal: Goal, turns: int = _TURNS) -> Figure:
    """`dukd-cache build` as a whole, without the start of Python, over the forward passes that it makes.

    The last cache that it makes stays.
    """
    made = prepare(asked, out)
    inputs = _recorded(made, out, asked.batch_size)

    def whole() -> None:
        shutil.rmtree(out)
        job.build_cache(asked, out)

    def bare() -> None:
        for input_NCpp in inputs:
            made.teachers["teacher"].answers(input_NCpp)
        if made.teachers["teacher"].device.type == "cuda":
            torch.cuda.synchronize()

    times = in_turns({"build": whole, "bare teacher": bare}, turns)
    records = sum(map(made.header.total, made.header.views))
    facts = {
        "records": records,
        "batches": len(inputs),
        "batch": asked.batch_size,
        "build_s": times["build"].wall,
        "teacher_s": times["bare teacher"].wall,
        "build_cpu_s": times["build"].cpu,
        "teacher_cpu_s": times["bare teacher"].cpu,
        "records_per_s": records / times["build"].typical,
    }
    return Figure("build efficiency", case, ratio(times["build"], times["bare teacher"]), "", goal, facts)


def efficiency_of_degraded(folder: Path, weights: Path, name: str, turns: int = 3) -> Figure:
    """With preset `real`, smaller patches: its views, 72 records."""
    hr, images = photographs(folder / "photographs", 3)
    views = {"base": 16, "zoom_in": 4, "zoom_out": {"crops": 4, "patch": 16}}
    asked = cache_config(hr, weights, degradation="real", patch=32, views=views)
    case = f"{name}, preset real, patch 32, {images}"
    return efficiency(asked, folder / "degraded", case, Goal(at_most=1.10), turns)


def size(cache: Path, case: str) -> Figure:
    """Of all the teacher's answers in `cache`."""
    opened = Cache(cache)
    stored: dict[str, int] = {}
    raw: dict[str, int] = {}
    for view in opened.views:
        count, side = opened.count(view), opened.manifest.view(view).input_side * opened.manifest.scale
        stored[view] = sum(opened.stored_bytes(view, index)["teacher"] for index in range(count))
        raw[view] = count * side * side * 3 * _FLOAT32_BYTES
    facts = {view: stored[view] / raw[view] for view in opened.views}
    facts |= {"bits_a_value": 32 * sum(stored.values()) / sum(raw.values())}
    return Figure("size", case, sum(stored.values()) / sum(raw.values()), "", Goal(at_most=0.075), facts)


class _Recording(nn.Module):
    """A network that keeps what it is asked."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.inputs: list[Tensor] = []

    def forward(self, image_NCHW: Tensor) -> Tensor:
        self.inputs.append(image_NCHW.detach().clone())
        answer: Tensor = self.inner(image_NCHW)
        return answer


def _recorded(made: Prepared, out: Path, batch_size: int) -> list[Tensor]:
    """The batches of the build, which also warms everything up."""
    network = made.teachers["teacher"].network
    recording = _Recording(network.module)
    watched = replace(made.teachers["teacher"], network=network.with_module(recording))
    place = place_at(out)
    build(Work(made.plan, {"teacher": watched}, place, batch_size), made.header)
    return recording.inputs

"""`make bench-gpu`: build efficiency and step overhead on a GPU, and how near to its ceilings a student comes."""

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.build import efficiency
from benchmarks.figures import Figure, Goal
from benchmarks.material import cache_config, network_file, photographs
from benchmarks.step import bare_step, overhead, per_step, small_cache, training

_TEACHERS = {
    "EDSR-L, 43 M parameters": ("EDSR", {"channels": 256, "blocks": 32}, 256, 64),
    "EDSR, 1.5 M parameters": ("EDSR", {"channels": 64, "blocks": 16}, 1024, 64),
}
"""Architecture, settings, a batch that fills the GPU, images of 4 records a view."""
_STUDENTS = {
    "EDSR, 159 k parameters": {"channels": 32, "blocks": 4},
    "EDSR, 1.5 M parameters": {"channels": 64, "blocks": 16},
}
_STEPS = 200
_SIDE = 8192
_BYTES = 2**30


def figures() -> Iterator[Figure]:
    """Refuses where there is no GPU."""
    if not torch.cuda.is_available():
        raise SystemExit("benchmarks gpu: torch finds no GPU here")
    name = torch.cuda.get_device_name()
    matmul, bandwidth = _matmul_rate(), _bandwidth()
    yield Figure("device", f"{name}: bfloat16 matmul of {_SIDE}²", matmul / 1e12, "TFLOP/s")
    yield Figure("device", f"{name}: copy in its memory", bandwidth / 1e9, "GB/s")
    with tempfile.TemporaryDirectory(prefix="dukd-bench-") as folder_name:
        folder = Path(folder_name)
        for number, (teacher, (architecture, settings, batch, count)) in enumerate(_TEACHERS.items()):
            weights = network_file(folder / f"{number}.safetensors", architecture, settings)
            hr, images = photographs(folder / f"hr-{number}", count)
            asked = cache_config(hr, weights, precision="bf16", batch_size=batch)
            case = f"{teacher}, bf16, batch {batch}, {images}, {name}"
            yield efficiency(asked, folder / f"cache-{number}", case, Goal(at_most=1.10))
        small_cache(folder / "cache", patch=48)
        for student, settings in _STUDENTS.items():
            config = training(folder / "cache", settings, _STEPS, precision="bf16", log_every=100)
            case = f"{student}, dukd, bf16, batch 16, patch 48, {name}"
            yield overhead(config, folder, case, Goal(at_most=1.05))
            step = bare_step(config)
            seconds = per_step(step, _STEPS)
            with FlopCounterMode(display=False) as counter:
                step()
            share = counter.get_total_flops() / seconds / matmul
            facts = {"bare_s_a_step": seconds, "flops_a_step": counter.get_total_flops()}
            yield Figure("device", f"share of the matmul rate: bare step of {case}", share, "", None, facts)


def _matmul_rate() -> float:
    """Operations a second."""
    a, b = (torch.randn(_SIDE, _SIDE, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    return 2 * _SIDE**3 / _seconds(lambda: a @ b)


def _bandwidth() -> float:
    """Bytes a second, read and written."""
    source = torch.empty(_BYTES, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * _BYTES / _seconds(lambda: target.copy_(source))


def _seconds(work: Callable[[], object], times: int = 20) -> float:
    for _ in range(3):
        work()
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(times):
        work()
    torch.cuda.synchronize()
    return (time.perf_counter() - started) / times

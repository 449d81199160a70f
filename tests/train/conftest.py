"""A small real cache: photo-like images, cut, answered by a tiny random teacher and stored as a user's would be."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.cache.samples import build_job
from torch import nn

from dukd_cache import networks
from dukd_cache.commands import build as job
from dukd_cache.commands.config import VIEWS
from dukd_cache.format.reader import Cache
from dukd_cache.settings.model import validated
from dukd_train.data.decoded import decoded
from dukd_train.data.rows import ResidentRows
from dukd_train.settings import TrainConfig

IMAGES = 4
"""HR images of 64×56 pixels; each gives 3 records of each view."""

SWINIR: dict[str, Any] = {
    "architecture": "SwinIR",
    "settings": {
        "embed_dim": 8,
        "depths": [2],
        "num_heads": [2],
        "window_size": 6,
        "img_size": 12,
        "mlp_ratio": 1,
        "upsampler": "pixelshuffledirect",
        "drop_path_rate": 0.5,
    },
}
"""A student that drops paths at random, and whose windows fit none of the inputs."""


OF_VIEW: dict[str, tuple[str, ...]] = {
    "base": ("truth", "teacher"),
    "zoom_in": ("teacher",),
    "zoom_out": ("truth", "teacher"),
}
"""What there is to compare a student with."""


def resident(cache: Cache, view: str, targets: tuple[str, ...]) -> ResidentRows:
    """All records of `view`, in this process's memory."""
    wanted = decoded(cache, view, targets)
    return wanted.rows(wanted.block(None), torch.device("cpu"))


def photo_like(seed: int, height: int, width: int) -> np.ndarray:
    """A smooth random field of each colour, cut by straight edges: u8 [H,W,3]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    field = np.zeros((height, width, 3))
    for _ in range(6):
        wave = 2 * np.pi * (rng.uniform(-6, 6) * x + rng.uniform(-6, 6) * y + rng.random())
        field += 20 * np.sin(wave)[..., None] * rng.uniform(0.3, 1, 3)
    for _ in range(5):
        angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.8)
        side = (x - offset) * np.cos(angle) + (y - offset) * np.sin(angle) > 0
        field += side[..., None] * rng.uniform(-50, 50, 3)
    levels: np.ndarray = np.clip(np.rint(field - field.mean() + 128), 0, 255).astype(np.uint8)
    return levels


@pytest.fixture(scope="session")
def hr_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """HR images as PNG files."""
    folder = tmp_path_factory.mktemp("hr")
    for number in range(IMAGES):
        Image.fromarray(photo_like(number, 64, 56)).save(folder / f"photo{number}.png")
    return folder


@pytest.fixture(scope="session")
def teacher_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of a tiny EDSR of scale 2 that repeats each pixel and adds what its random body makes of it."""
    torch.manual_seed(20)
    teacher = networks.build("EDSR", 2, {"channels": 8, "blocks": 2})
    weights = teacher.module.state_dict()
    for name in ("conv_first", "conv_last"):
        nn.init.dirac_(weights[f"{name}.weight"])
    one_to_four = torch.zeros(8, 8, 3, 3)
    nn.init.dirac_(one_to_four)
    weights["upsample.0.weight"].copy_(one_to_four.repeat_interleave(4, dim=0))
    weights["conv_after_body.weight"].mul_(0.2)
    for name in ("conv_first", "upsample.0", "conv_last"):
        weights[f"{name}.bias"].zero_()
    path = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    networks.save(teacher, path, {})
    return path


@pytest.fixture(scope="session")
def build_cache(hr_folder: Path, teacher_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Builds a cache ×2 of patches of 16, 3 records of each view an image, unless told otherwise."""

    def build(**changes: Any) -> Path:
        out, weights = tmp_path_factory.mktemp("cache"), changes.pop("weights", teacher_file)
        views = dict.fromkeys(VIEWS, 3)
        hr = changes.pop("hr", hr_folder)
        asked = build_job(hr, out, weights, **{"patch": 16, "codec": "png", "batch_size": 8, **views, **changes})
        job.build_cache(*asked)
        return out

    return build


@pytest.fixture(scope="session")
def cache_folder(build_cache: Callable[..., Path]) -> Path:
    """A cache of all three views, 12 records each: inputs of 16, 16 and 8 pixels, answers in 8 bits."""
    return build_cache()


@pytest.fixture(scope="session")
def cache(cache_folder: Path) -> Cache:
    """The same, open."""
    return Cache(cache_folder)


@pytest.fixture(scope="session")
def float16_cache(build_cache: Callable[..., Path]) -> Cache:
    """The same crops with answers in float16."""
    return Cache(build_cache(dtype="float16"))


@pytest.fixture(scope="session")
def settings_of(cache_folder: Path) -> Callable[..., TrainConfig]:
    """Settings of a short run of a tiny EDSR on the small cache, changed by keywords."""

    def make(**changes: Any) -> TrainConfig:
        small: dict[str, Any] = {
            "cache": cache_folder,
            "student": {"architecture": "EDSR", "settings": {"channels": 8, "blocks": 1}},
            "steps": 10,
            "batch": 4,
            "optimizer": {"lr": 1e-3},
            "schedule": {"kind": "cosine"},
            "ema": 0.9,
            "device": "cpu",
            "log_every": 1,
        }
        return validated(TrainConfig, small | changes)

    return make

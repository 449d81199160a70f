"""Images and teachers to measure with: those of `DUKD_DATA` where it is set, else made or from the project itself."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.made_images import save_made_images
from dukd_cache import networks
from dukd_cache.commands.config import CacheConfig
from dukd_cache.pictures.sources import find_images
from dukd_cache.plan.views import VIEWS

PROJECT = Path(__file__).parents[1]


SMALL, LARGE = ("BSDS400", 481, 321), ("SunHays80", 1024, 750)
"""Photographs below `DUKD_DATA`, with the sides of most of them."""


def photographs(folder: Path, count: int, kind: tuple[str, int, int] = SMALL) -> tuple[Path, str]:
    """A folder made at `folder` of links to `count` photographs, and what they are."""
    name, width, height = kind
    data = os.environ.get("DUKD_DATA")
    if data is None:
        return save_made_images(folder, count, width, height), f"made images of {width}×{height}"
    source = Path(data) / name
    found = find_images(source)
    chosen = found[:: max(1, len(found) // count)][:count]
    folder.mkdir(parents=True)
    for path in chosen:
        (folder / path.name).symlink_to(path.resolve())
    return folder, f"{len(chosen)} photographs of {source.name}"


def teacher() -> tuple[Path, str]:
    """Weights of a real teacher for ×4."""
    data = os.environ.get("DUKD_DATA")
    if data is not None:
        return Path(data) / "teachers" / "DCTLSA_X4.pt", "DCTLSA ×4"
    return teacher_of_the_demo()


def teacher_of_the_demo() -> tuple[Path, str]:
    """The one that comes with the project."""
    return PROJECT / "assets" / "edsr_x4.safetensors", "EDSR ×4, 1.4 M parameters"


def teacher_of_real_images() -> tuple[Path, str] | None:
    """A released one for degraded photographs, where there is data."""
    data = os.environ.get("DUKD_DATA")
    if data is None:
        return None
    return Path(data) / "teachers" / "RealESRGAN_x4plus.safetensors", "Real-ESRGAN ×4, 17 M parameters"


def network_file(path: Path, architecture: str, settings: Mapping[str, Any], scale: int = 4) -> Path:
    """Random weights of a network, saved to `path`."""
    torch.manual_seed(0)
    networks.save(networks.build(architecture, scale, settings), path, {})
    return path


def cache_config(hr: Path, weights: Path, **changes: Any) -> CacheConfig:
    """What `dukd-cache build` does by default, with 4 records of each view an image."""
    return CacheConfig(**{"hr": hr, "teacher": weights, "patch": 48, "views": dict.fromkeys(VIEWS, 4), **changes})

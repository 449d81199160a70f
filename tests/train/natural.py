"""Pictures with the statistics of natural ones, and a model of them where NIQE looks for the authors'."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dukd_cache.system.arrays import U8
from dukd_train.scoring import niqe
from dukd_train.scoring.niqe import MODEL, Niqe, features
from dukd_train.scoring.perceptual import weights_folder


def picture(seed: int = 0, height: int = 210, width: int = 300) -> U8:
    """With the spectrum of natural pictures; grey."""
    noise = np.random.default_rng(seed).normal(size=(height, width, 1))
    down, across = np.fft.fftfreq(height)[:, None, None], np.fft.fftfreq(width)[None, :, None]
    waves = np.fft.ifft2(np.fft.fft2(noise, axes=(0, 1)) / np.maximum(np.hypot(down, across), 1e-3), axes=(0, 1)).real
    levels = np.clip(128 + 45 * waves / waves.std(), 0, 255).astype(np.uint8)
    return np.repeat(levels, 3, axis=2)


def photographs(folder: Path, count: int = 2, height: int = 100, width: int = 110) -> Path:
    """A folder of such pictures, large enough for NIQE when they are enlarged twice."""
    folder.mkdir(parents=True)
    for seed in range(count):
        Image.fromarray(picture(seed, height, width)).save(folder / f"photo{seed}.png")
    return folder


@cache
def fitted() -> Niqe:
    """A model of such pictures: not the authors', so its scores are no NIQE."""
    found = np.vstack([features(picture(seed)[..., 0].astype(float)) for seed in range(8)])
    return Niqe(found.mean(axis=0), np.cov(found, rowvar=False))


@contextmanager
def torch_home(home: Path, *, model: bool) -> Iterator[Path]:
    """A home of torch's without a network, with `fitted` in the authors' place or without a model; its hub folder."""

    def refuse(*_args: object, **_keywords: object) -> None:
        raise OSError("no network here")

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_HOME", str(home))
        patch.setattr("torch.hub.download_url_to_file", refuse)
        file = weights_folder() / MODEL
        if model:
            file.parent.mkdir(parents=True)
            np.savez(file, mu_pris_param=fitted().mean[None], cov_pris_param=fitted().covariance)
            patch.setattr(niqe, "SHA256", hashlib.sha256(file.read_bytes()).hexdigest())
        yield file.parent

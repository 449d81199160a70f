"""Caches of a teacher that is only asked: the user's own code, with all that holds of others."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.cache.samples import build_job, everything, files_of

from dukd_cache.check.ask_again import ask_again
from dukd_cache.check.known_teacher import teachers_of
from dukd_cache.commands import build as job
from dukd_cache.commands.inspect import measured, table
from dukd_cache.format.reader import Cache
from dukd_cache.settings.part import Part
from dukd_cache.system.errors import CacheError, SettingError

CODE = """
import torch

def sharp(image):
    larger = torch.nn.functional.interpolate(image, scale_factor=2, mode="bicubic")
    sharper = larger * 1.1 - 0.1 * torch.nn.functional.avg_pool2d(larger, 3, 1, 1)
    return sharper * torch.tensor([1, 0.9, 0.8])[:, None, None]

def other(image):
    assert image.max() > 2, "values too small"
    return 255 * sharp(image.flip(1) / 255).flip(1)
"""


@pytest.fixture
def code(tmp_path: Path) -> Callable[[str], Path]:
    (tmp_path / "own.py").write_text(CODE)
    return lambda function: Path(f"python:{tmp_path}/own.py:{function}")


def test_it_is_verified_inspected_and_built_in_parts_as_any_other(
    photos: Path, code: Callable[[str], Path], tmp_path: Path
) -> None:
    asked = build_job(photos, tmp_path / "whole", code("sharp"))
    assert job.build_cache(*asked) is not None
    cache = Cache(asked.out)
    (info,) = cache.manifest.answers.values()
    assert (info.file, info.architecture, info.window) == ("python:own.py:sharp", "python", 1)
    assert info.settings.keys() == {"sha256", "function"}
    assert "python from python:own.py:sharp" in table(cache)
    ((name, known),) = teachers_of(asked.out, cache.manifest, code("sharp"), "cpu").items()
    assert ask_again(cache, name, known, 48) == []
    assert measured(cache, 2, code("sharp"), "cpu").facts["equivariance"]
    parts = build_job(photos, tmp_path / "parts", code("sharp"))
    assert job.build_cache(*parts, part=Part(2, 2)) is None
    assert job.build_cache(*parts, part=Part(1, 2)) is not None
    assert files_of(parts.out) == files_of(asked.out)


def test_what_it_takes_is_declared_and_known_again(photos: Path, code: Callable[[str], Path], tmp_path: Path) -> None:
    plain = build_job(photos, tmp_path / "plain", code("sharp"))
    job.build_cache(*plain)
    takes = {"teacher": {"values": 255, "channels": "bgr"}}
    asked = build_job(photos, tmp_path / "other", code("other"), teacher_takes=takes)
    job.build_cache(*asked)
    cache, alike = Cache(asked.out), Cache(plain.out)
    assert cache.manifest.answers["teacher"].settings["takes"] == {"values": 255, "channels": "bgr"}
    for one, two in zip(everything(cache, "base"), everything(alike, "base"), strict=True):
        assert np.abs(one["teacher"].astype(int) - two["teacher"]).max() <= 1
    ((name, known),) = teachers_of(asked.out, cache.manifest, code("other"), "cpu").items()
    assert ask_again(cache, name, known, 48) == []
    another = build_job(photos, asked.out, code("other"), teacher_takes={"teacher": {"values": 255}})
    with pytest.raises(CacheError, match=r"holds a cache with teacher\.fingerprint"):
        job.build_cache(*another)


def test_what_cannot_be_asked_so_is_one_line(photos: Path, code: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="only networks of weights are compiled, not python"):
        job.build_cache(*build_job(photos, tmp_path / "c", code("sharp"), compile=True))
    with pytest.raises(SettingError, match="unknown teacher 'techer': did you mean 'teacher'"):
        build_job(photos, tmp_path / "c", code("sharp"), teacher_takes={"techer": {"values": 255}})
    with pytest.raises(SettingError, match=r"expected python:FILE\.py:FUNCTION"):
        build_job(photos, tmp_path / "c", Path("python:own.py"))
    assert not (tmp_path / "c").exists()

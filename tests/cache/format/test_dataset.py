"""The records of a view as tensors."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.cache.samples import build_job
from torch.utils.data import DataLoader

from dukd_cache.commands.build import build_cache
from dukd_cache.format.reader import Cache
from dukd_cache.system.errors import SettingError


def test_tensors_are_the_arrays_between_0_and_1(small_cache: Path) -> None:
    cache = Cache(small_cache)
    found = cache.dataset("base")
    assert len(found) == 18
    for index in (0, 17):
        record = cache.read("base", index)
        assert found[index].keys() == record.keys()
        for name, tensor in found[index].items():
            assert tensor.dtype == torch.float32
            assert torch.equal(tensor, torch.tensor(record[name].transpose(2, 0, 1)) / 255)


def test_answers_of_floating_point_keep_their_values(photos: Path, teacher_file: Path, tmp_path: Path) -> None:
    few = {"base": 1, "zoom_in": 0, "zoom_out": 0}
    build_cache(*build_job(photos, tmp_path / "cache", teacher_file, dtype="float16", **few))
    cache = Cache(tmp_path / "cache")
    expected = cache["base"][0]["teacher"]
    assert expected.dtype == np.float16
    found = cache.dataset("base")[0]["teacher"]
    assert found.dtype == torch.float32
    assert np.array_equal(found.numpy(), expected.transpose(2, 0, 1).astype(np.float32))


def test_the_input_comes_with_the_arrays_that_are_named(small_cache: Path) -> None:
    cache = Cache(small_cache)
    assert [*cache.dataset("base", ["teacher"])[0]] == ["input", "teacher"]
    assert [*cache.dataset("zoom_in")[0]] == ["input", "teacher"]
    assert [*cache.dataset("base", [])[0]] == ["input"]


def test_an_array_that_a_view_lacks_is_told_those_that_there_are(small_cache: Path) -> None:
    with pytest.raises(SettingError) as caught:
        Cache(small_cache).dataset("zoom_in", ["truht"])
    of = f"<15 records of zoom_in in {small_cache}: input, teacher>"
    assert str(caught.value) == f"{of}: unknown array 'truht' (valid: input, teacher)"


def test_workers_load_what_one_process_loads(small_cache: Path) -> None:
    wanted = Cache(small_cache, reading="in any order").dataset("base", ["truth", "teacher"])
    alone = list(DataLoader(wanted, batch_size=5))
    together = list(DataLoader(wanted, batch_size=5, num_workers=2))
    assert len(alone) == 4
    for one, other in zip(alone, together, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)

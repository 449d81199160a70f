"""Where records are kept, and the line that says so."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from dukd_cache.format.reader import Cache
from dukd_cache.system.errors import SettingError
from dukd_cache.system.memory import free_memory
from dukd_train.data import residency
from dukd_train.data.decoded import decoded
from dukd_train.data.residency import Free, choose, open_rows, workers
from dukd_train.data.rows import ResidentRows, StreamedRows
from dukd_train.data.shared_memory import SharedMemory, shared_memory
from dukd_train.settings import Data

GB = 10**9
CPU = torch.device("cpu")
AMPLE = Free(device=None, memory=24 * GB, shared=24 * GB)
GPU = Free(device=80 * GB, memory=24 * GB, shared=24 * GB)
DOCKER = Free(device=None, memory=24 * GB, shared=64 * 10**6)
FOUR = Data(workers=4)


@pytest.mark.parametrize(
    ("needed", "data", "free", "place", "shared", "line"),
    [
        (424 * 10**6, FOUR, AMPLE, "memory", True, "424 MB resident in shared memory (limit 12.0 GB)"),
        (12 * GB, FOUR, AMPLE, "memory", True, "12.0 GB resident in shared memory (limit 12.0 GB)"),
        (90 * GB, FOUR, AMPLE, "no", False, "streamed by 4 workers: 90.0 GB do not fit in 12.0 GB"),
        (
            GB,
            Data(memory_limit=0.5, workers=1),
            AMPLE,
            "no",
            False,
            "streamed by 1 worker: 1.0 GB do not fit in 500 MB",
        ),
        (
            GB,
            Data(memory_limit=0.5, workers=0),
            AMPLE,
            "no",
            False,
            "streamed by the training process: 1.0 GB do not fit in 500 MB",
        ),
        (20 * GB, Data(memory_limit=20), AMPLE, "memory", True, "20.0 GB resident in shared memory (limit 20.0 GB)"),
        (
            10 * GB,
            Data(memory_limit=20, workers=4),
            Free(None, 8 * GB, 24 * GB),
            "no",
            False,
            "streamed by 4 workers: 10.0 GB do not fit in 8.0 GB",
        ),
        (GB, Data(resident="no", workers=4), GPU, "no", False, "streamed by 4 workers, as data.resident says"),
        (GB, FOUR, GPU, "device", True, "1.0 GB resident on the GPU (limit 40.0 GB)"),
        (30 * GB, FOUR, GPU, "device", False, "30.0 GB resident on the GPU (limit 40.0 GB)"),
        (50 * GB, FOUR, GPU, "no", False, "streamed by 4 workers: 50.0 GB do not fit in 12.0 GB"),
        (GB, Data(resident="memory"), GPU, "memory", True, "1.0 GB resident in shared memory (limit 12.0 GB)"),
        (GB, Data(resident="device"), AMPLE, "memory", True, "1.0 GB resident in shared memory (limit 12.0 GB)"),
        (
            3 * GB,
            FOUR,
            Free(None, 4 * GB, GB, there=3 * GB),
            "memory",
            True,
            "3.0 GB resident in shared memory already (limit 2.0 GB)",
        ),
        (
            3 * GB,
            FOUR,
            Free(None, 4 * GB, 9 * GB, there=GB),
            "memory",
            True,
            "3.0 GB resident in shared memory (limit 2.0 GB)",
        ),
        (
            3 * GB,
            FOUR,
            DOCKER,
            "memory",
            False,
            "3.0 GB resident in this process's memory (limit 12.0 GB; shared memory has room for 64 MB)",
        ),
        (
            4 * GB,
            FOUR,
            Free(None, 24 * GB, 0, processes=4),
            "no",
            False,
            "streamed by 4 workers: 4.0 GB do not fit in 12.0 GB",
        ),
    ],
)
def test_choices(needed: int, data: Data, free: Free, place: str, shared: bool, line: str) -> None:
    found = choose(needed, data, free)
    assert (found.where, found.shared, found.line) == (place, shared, f"data: {line}")


@pytest.mark.parametrize(
    ("resident", "needed", "message"),
    [
        (
            "memory",
            13 * GB,
            "data.resident=memory: 13.0 GB do not fit in 12.0 GB (data.memory_limit sets another limit)",
        ),
        (
            "device",
            50 * GB,
            "data.resident=device: 50.0 GB do not fit in 40.0 GB (data.memory_limit sets another limit)",
        ),
    ],
)
def test_what_was_asked_for_and_does_not_fit_is_refused(resident: str, needed: int, message: str) -> None:
    with pytest.raises(SettingError, match=f"^{re.escape(message)}$"):
        choose(needed, Data.model_validate({"resident": resident}), GPU)


@pytest.fixture
def none_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody, no test that runs beside this one either, holds the same records in shared memory."""
    memory = shared_memory(tmp_path)
    monkeypatch.setattr(residency, "shared_memory", lambda: memory)


@pytest.mark.usefixtures("none_there")
def test_what_steps_take_is_left_free(cache: Cache) -> None:
    """All that there is, and more: nothing may stay resident."""
    rows, line = open_rows(cache, {"base": ["truth"]}, Data(workers=1), CPU, for_steps=10**15)
    assert isinstance(rows["base"], StreamedRows)
    assert line.startswith("data: streamed by 1 worker: ")
    assert line.endswith(" do not fit in 0.0 MB")


def test_workers_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(residency, "allowed_cores", lambda: 8)
    assert [workers(Data(), processes) for processes in (1, 2, 16)] == [8, 4, 1]
    assert workers(Data(workers=0), 2) == 0


def test_the_machine_has_memory() -> None:
    assert 10**8 < free_memory() < 10**14


def test_rows_are_what_the_cache_holds_wherever_they_are(
    cache: Cache, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    memory = shared_memory(tmp_path)
    for found in (memory, None):
        monkeypatch.setattr(residency, "shared_memory", lambda found=found: found)
        rows, line = open_rows(cache, {"base": ["truth", "teacher"]}, Data(), CPU)
        assert ("shared" in line.split("(")[0]) == (found is not None)
        base = rows["base"]
        assert isinstance(base, ResidentRows)
        for index in range(12):
            record = cache.read("base", index)
            assert np.array_equal(base.arrays["input"][index].numpy(), record.input)
            assert np.array_equal(base.arrays["truth"][index].numpy(), record["truth"])
            assert np.array_equal(base.arrays["teacher"][index].numpy(), record["teacher"])


@pytest.mark.usefixtures("none_there")
def test_too_much_is_streamed(cache: Cache) -> None:
    rows, line = open_rows(cache, {"base": ["truth"]}, Data(memory_limit=1e-5), CPU)
    assert isinstance(rows["base"], StreamedRows)
    assert line.endswith(": 0.0 MB do not fit in 0.0 MB")


def test_two_runs_hold_one_copy(cache: Cache, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    memory = shared_memory(tmp_path)
    assert isinstance(memory, SharedMemory)
    monkeypatch.setattr(residency, "shared_memory", lambda: memory)
    one, _ = open_rows(cache, {"base": ["truth"], "zoom_in": ["teacher"]}, Data(), CPU)
    reads: list[object] = []
    read = cache.read
    monkeypatch.setattr(cache, "read", lambda *asked: reads.append(asked) or read(*asked))
    other, line = open_rows(cache, {"base": ["truth"], "zoom_in": ["teacher"]}, Data(), CPU)
    assert "shared memory already" in line
    assert reads == []
    assert len(list(memory.folder.iterdir())) == 2
    del one, other
    assert list(memory.folder.iterdir()) == []


def test_contents_tell_arrays_and_caches_apart(cache: Cache, float16_cache: Cache) -> None:
    contents = [
        decoded(cache, "base", ["truth"]),
        decoded(cache, "base", ["teacher"]),
        decoded(cache, "base", ["truth", "teacher"]),
        decoded(cache, "zoom_out", ["truth", "teacher"]),
        decoded(float16_cache, "base", ["truth"]),
    ]
    assert len({each.content for each in contents}) == 5

"""How many trainings at once: by cores, memory and GPUs."""

import pytest
import torch

from dukd_cache.format.reader import Cache
from dukd_train.sweeps import job_slots
from dukd_train.sweeps.job_slots import JobSlots, choose_slots, decoded_bytes

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
GIB = 2**30


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """8 cores, 100 GiB free, no variables."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(job_slots, "allowed_cores", lambda: 8)
    monkeypatch.setattr(job_slots, "free_memory", lambda: 100 * GIB)
    return monkeypatch


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("jobs", "runs", "expected"),
    [(None, 18, (8, 1, 1)), (None, 3, (3, 2, 2)), (2, 18, (2, 4, 4)), (20, 18, (18, 1, 1)), (1, 1, (1, 8, 8))],
)
def test_jobs_share_the_cores(cache: Cache, jobs: int | None, runs: int, expected: tuple[int, int, int]) -> None:
    slots = choose_slots(jobs, runs, CPU, cache)
    assert (slots.jobs, slots.threads, slots.workers) == expected


def test_data_that_do_not_fit_are_read_again_and_again(machine: pytest.MonkeyPatch, cache: Cache) -> None:
    machine.setattr(job_slots, "decoded_bytes", lambda _cache: 10 * GIB)
    machine.setattr(job_slots, "free_memory", lambda: 14 * GIB)
    assert choose_slots(None, 18, CPU, cache).jobs == 8  # streamed: they take no room
    machine.setattr(job_slots, "decoded_bytes", lambda _cache: 7 * GIB)
    machine.setattr(job_slots, "free_memory", lambda: 14 * GIB)
    assert choose_slots(None, 18, CPU, cache).jobs == 7  # one copy for all


def test_memory_is_a_limit_but_one_always_runs(machine: pytest.MonkeyPatch, cache: Cache) -> None:
    machine.setattr(job_slots, "free_memory", lambda: int(3.5 * GIB))
    assert choose_slots(None, 18, CPU, cache).jobs == 3
    machine.setattr(job_slots, "free_memory", lambda: 0)
    assert choose_slots(None, 18, CPU, cache).jobs == 1


def test_the_users_threads_are_kept(machine: pytest.MonkeyPatch, cache: Cache) -> None:
    machine.setenv("OMP_NUM_THREADS", "3")
    assert choose_slots(2, 18, CPU, cache).environment(1) == {"OMP_NUM_THREADS": "3", "MKL_NUM_THREADS": "3"}


@pytest.mark.parametrize(("free", "expected"), [(80, 8), (13, 4), (7, 2), (1, 1)])
def test_gpus_are_shared_out(machine: pytest.MonkeyPatch, cache: Cache, free: int, expected: int) -> None:
    machine.setattr(torch.cuda, "device_count", lambda: 2)
    machine.setattr(job_slots, "free_device_memory", lambda _device: free * GIB)
    slots = choose_slots(None, 18, CUDA, cache)
    assert slots.jobs == expected
    assert [slots.environment(slot)["CUDA_VISIBLE_DEVICES"] for slot in range(3)] == ["0", "1", "0"]
    machine.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    assert choose_slots(None, 18, CUDA, cache).environment(1)["CUDA_VISIBLE_DEVICES"] == "7"


def test_a_lone_gpu_needs_no_name() -> None:
    assert "CUDA_VISIBLE_DEVICES" not in JobSlots(2, 4, 4).environment(1)


def test_decoded_bytes_are_those_of_the_records(cache: Cache, float16_cache: Cache) -> None:
    for each in (cache, float16_cache):
        total = 0
        for view in each.views:
            record = each.read(view, 0)
            total += each.count(view) * sum(array.nbytes for array in record.values())
        assert total <= decoded_bytes(each) < total + 1000  # aligned


def test_this_machine_says_what_it_has() -> None:
    assert job_slots.allowed_cores() >= 1

"""What is sent to a GPU arrives as it was, however late the GPU reads it."""

import pytest
import torch

from dukd_cache.system.sending import sent

GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
_LATE = 200_000_000
"""Cycles: a tenth of a second."""


def test_on_a_cpu_nothing_is_copied() -> None:
    tensor = torch.arange(4)
    assert sent(tensor, torch.device("cpu")) is tensor


@GPU
@pytest.mark.parametrize("count", [4, 64, 100_000])
def test_memory_may_be_used_again_at_once(count: int) -> None:
    torch.cuda._sleep(_LATE)
    arrived = []
    for number in range(100):
        tensor = torch.full((count,), number)
        arrived.append(sent(tensor, torch.device("cuda")))
        tensor.fill_(-1)  # as what lies there next would
        del tensor
    assert [tensor.unique().tolist() for tensor in arrived] == [[number] for number in range(100)]


@GPU
def test_what_is_there_stays_there() -> None:
    tensor = torch.arange(4, device="cuda")
    assert sent(tensor, torch.device("cuda")) is tensor

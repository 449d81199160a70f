"""Whether a step's batch fits into memory, said before the first step or in the step, never by a process that is gone.

A GPU refuses what it has no room for. A CPU's memory is promised first and taken later: what takes too much is
killed without a word. So what a step needs at the least is counted before.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from dukd_cache.networks import Network
from dukd_cache.system.errors import SettingError
from dukd_cache.system.memory import obtainable_memory, ran_out
from dukd_cache.system.terminal import say
from dukd_train.errors import RunError

_AT_THE_PEAK = 2.6
"""What a step takes, of what it holds at the least: gradients of outputs and room for convolutions come on top.

Measured: EDSR ×4 of 16 channels and 4 blocks 2.6, SwinIR ×4 of 12 channels 2.5 (growth of the process, batches of 32 to
128)."""


def held_by(student: Network, sides: Sequence[int]) -> int:
    """Bytes that a training step holds at the least for one record of each view: what its gradients need, in float32.

    Counted in a forward pass of a copy, on the CPU, which draws no random numbers for others. `sides` are those of the
    inputs, in pixels.
    """
    network = student.with_module(copy.deepcopy(student.module).train())
    weights = {tensor.untyped_storage().data_ptr() for tensor in network.module.state_dict().values()}
    held: dict[int, Tensor] = {}  # kept, so that no address is used twice

    def keep(tensor: Tensor) -> Tensor:
        if (address := tensor.untyped_storage().data_ptr()) not in weights:
            held[address] = tensor
        return tensor

    with torch.random.fork_rng(devices=[]), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        for side in sides:
            network.forward(torch.zeros(1, 3, side, side))
    return sum(tensor.untyped_storage().nbytes() for tensor in held.values())


def refuse_too_large(batch: int, student: Network, sides: Sequence[int], *, part: float) -> int:
    """Refuse a `batch` of which the CPU's memory cannot hold what a step needs at the least; say so where it may not.

    Returns the bytes that a step may take.

    Args:
        part: of the batch that this machine's processes take, times a half where they compute in 16 bits.

    Raises:
        SettingError: so it is; the line says how many would fit.
    """
    one, free = held_by(student, sides) * part, obtainable_memory()
    had, most = f"{free / 1e9:.1f} GB of memory can be had", int(free / one / _AT_THE_PEAK)
    if one * batch > free:
        held = f"a step holds at least {one * batch / 1e9:.1f} GB, {had}"
        raise SettingError(f"{batch} is too many: {held}: expected at most {most}, or a smaller patch", "setting batch")
    if batch > most:
        say(f"note: a step may take {one * batch * _AT_THE_PEAK / 1e9:.1f} GB, {had}: a batch of {most} would fit")
    return int(one * batch * _AT_THE_PEAK)


@contextmanager
def out_of_memory_is_said(batch: int) -> Iterator[None]:
    """Turn what torch raises where memory runs out into a line.

    Raises:
        RunError: it ran out.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not ran_out(error):
            raise
        raise RunError(f"memory ran out in a step of batch {batch}: take a smaller batch or patch") from error

"""Processes that train together, as torchrun starts them: which one this is, and what they share.

Each takes its share of every batch, gradients are averaged, and so all hold the same weights. Rank 0 leads: it alone
writes files, validates and speaks. A process on its own is a world of one.
"""

import copy
import os
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from dukd_cache.networks import Network
from dukd_cache.networks.devices import choose_device
from dukd_cache.system.errors import DukdError, SettingError, one_line
from dukd_train.errors import LostError

T = TypeVar("T")

_PATIENCE = timedelta(hours=12)
"""How long the others wait while rank 0 validates. (A process that dies is noticed at once.)"""


@dataclass(frozen=True)
class World:
    """This process among those that train together."""

    device: torch.device
    rank: int = 0
    size: int = 1
    here: int = 1
    """How many of them are on this machine."""

    @property
    def leads(self) -> bool:
        """Whether this is rank 0."""
        return self.rank == 0

    def together(self, make: Callable[[], T]) -> T:
        """`make()`, called in every process. Where it fails in one, all end; rank 0 raises what the first one raised.

        Raises:
            DukdError: of the process with the lowest rank that had one.
        """
        if self.size == 1:
            return make()
        value, error = None, None
        try:
            value = make()
        except (DukdError, OSError) as raised:
            error = raised
        errors: list[Exception | None] = [None] * self.size
        dist.all_gather_object(errors, error)
        for each in errors:
            if each is not None:
                raise each
        return value  # type: ignore[return-value]  # it is T where there was no error

    def from_leader(self, make: Callable[[], T]) -> T:
        """What `make()` gives in rank 0, in every process.

        Raises:
            DukdError: that of rank 0.
        """
        values = [self.together(lambda: make() if self.leads else None)]
        if self.size > 1:
            dist.broadcast_object_list(values, src=0)
        return values[0]  # type: ignore[return-value]

    def mean(self, values: Tensor) -> Tensor:
        """The mean over all processes, element by element; each calls it with a tensor of the same shape."""
        if self.size > 1:
            dist.all_reduce(values)
            values /= self.size
        return values

    def shared(self, student: Network) -> Network:
        """`student`, whose gradients will be the means over all processes; its module stays what it is.

        Its weights become those of rank 0.
        """
        if self.size == 1:
            return student
        unused = _has_unused_parameters(student, self.device)
        with warnings.catch_warnings():
            # The argument's new name is younger than the oldest torch that dukd works with.
            warnings.filterwarnings("ignore", ".*broadcast_buffers", FutureWarning)
            # Buffers stay each process's own: a step may pass through the student twice before it goes back.
            wrapped = DistributedDataParallel(student.module, find_unused_parameters=unused, broadcast_buffers=False)
        return student.with_module(wrapped)


class Agreement:
    """A number that every process names once a step; each learns the largest of them, one step later.

    So no step waits for it: it travels while the next step computes.
    """

    def __init__(self, world: World) -> None:
        self._alone = world.size == 1
        self._number = torch.zeros((), dtype=torch.int32)
        self._work: dist.Work | None = None

    def largest(self, number: int) -> int:
        """The largest of the numbers of the last time, 0 at first. A world of one has its own at once."""
        if self._alone:
            return number
        agreed = 0
        if self._work is not None:
            self._work.wait()
            agreed = int(self._number)
        self._number.fill_(number)
        self._work = dist.all_reduce(self._number, dist.ReduceOp.MAX, async_op=True)
        return agreed


@contextmanager
def joined(device: str) -> Generator[World, None, None]:
    """This process in its world, on its device, until the block ends.

    Raises:
        SettingError: there is no such device, there are fewer GPUs than processes, or torchrun's variables say nothing.
        LostError: another process of this world ended.
    """
    if os.environ.get("WORLD_SIZE", "1") == "1":
        yield World(choose_device(device))
        return
    size, here, rank, local = (_of_torchrun(name) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE", "RANK", "LOCAL_RANK"))
    own = choose_device(device)
    if own.type == "cuda":
        if here > torch.cuda.device_count():
            raise SettingError(
                f"torchrun started {here} processes here, expected at most one a GPU, found "
                f"{torch.cuda.device_count()} GPUs"
            )
        own = torch.device("cuda", local)
        torch.cuda.set_device(own)
    # Small things that the processor needs go through gloo, also where gradients go through nccl.
    try:
        dist.init_process_group("cpu:gloo,cuda:nccl" if own.type == "cuda" else "gloo", timeout=_PATIENCE)
    except ValueError as error:  # of the address, which torch reads itself
        raise SettingError(one_line(error), f"WORLD_SIZE={size}", cure="start it with torchrun") from error
    try:
        yield World(own, rank, size, here)
    except RuntimeError as error:
        if not _is_loss(error):
            raise
        ended = f"process {rank} of {size}: another process of this training ended"
        raise LostError(f"{ended}", cure="to resume from the last checkpoint, run the same command again") from error
    finally:
        dist.destroy_process_group()


def _of_torchrun(name: str) -> int:
    """What torchrun told this process in the variable `name`."""
    text = os.environ.get(name, "")
    if not text.isdecimal():
        found = f"{name}={text}" if text else f"{name} is not set, but WORLD_SIZE={os.environ['WORLD_SIZE']}"
        raise SettingError("expected a whole number, as torchrun sets it", found)
    return int(text)


def _is_loss(error: RuntimeError) -> bool:
    """Whether a collective operation failed because another process is gone."""
    return isinstance(error, dist.DistError) or "gloo" in str(error).lower() or "Connection " in str(error)


def _has_unused_parameters(student: Network, device: torch.device) -> bool:
    """Whether the loss does not reach every parameter, which is not how gradients are awaited by default."""
    student = copy.deepcopy(student)
    parameters = [parameter for parameter in student.module.parameters() if parameter.requires_grad]
    output = student.forward(torch.zeros(1, 3, 16, 16, device=device))
    gradients = torch.autograd.grad(output.sum(), parameters, allow_unused=True)
    return any(gradient is None for gradient in gradients)

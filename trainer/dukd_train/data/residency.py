"""Where the records of a run are kept: decided from their size and the memory that is free, and said in one line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from dukd_cache.format.reader import Cache
from dukd_cache.system.errors import SettingError
from dukd_cache.system.memory import free_device_memory, free_memory
from dukd_cache.system.threads import allowed_cores
from dukd_train.data.decoded import Decoded, decoded
from dukd_train.data.rows import Rows, StreamedRows
from dukd_train.data.shared_memory import SharedMemory, shared_memory
from dukd_train.settings import Data


@dataclass(frozen=True)
class Free:
    """Bytes that may be had."""

    device: int | None
    """Of the GPU's memory; None where the CPU computes."""
    memory: int
    """Of main memory, less what training steps take."""
    shared: int
    """Room for new blocks in shared memory; 0 where there is none."""
    there: int = 0
    """What is wanted and lies in shared memory already."""
    processes: int = 1
    """Training processes of this run that want the same."""


@dataclass(frozen=True)
class Choice:
    """Where records are kept."""

    where: Literal["device", "memory", "no"]
    shared: bool
    """Decoded into shared memory (from which they go on to a GPU), else into this process's own."""
    line: str
    """Says so, and why."""


def choose(needed: int, data: Data, free: Free) -> Choice:
    """Where `needed` bytes of records are kept.

    Raises:
        SettingError: they do not fit where `data` says.
    """
    new = needed - free.there
    main = min(_limit(data, free.memory), free.memory)
    shared = new <= min(main, free.shared)
    if data.resident == "no":
        return Choice("no", False, f"{_streamed(data, free.processes)}, as data.resident says")
    limit = main
    if free.device is not None and data.resident != "memory":
        limit = _limit(data, free.device)
        if needed <= limit:
            return Choice("device", shared, f"data: {_size(needed)} resident on the GPU (limit {_size(limit)})")
    if free.device is None or data.resident != "device":
        limit = main
        if shared:
            where = "shared memory" if new else "shared memory already"
            return Choice("memory", True, f"data: {_size(needed)} resident in {where} (limit {_size(limit)})")
        if needed * free.processes <= limit:
            why = f"limit {_size(limit)}; shared memory has room for {_size(free.shared)}"
            return Choice("memory", False, f"data: {_size(needed)} resident in this process's memory ({why})")
    why = f"{_size(needed)} do not fit in {_size(limit)}"
    if data.resident != "auto":
        raise SettingError(f"{why} (data.memory_limit sets another limit)", f"data.resident={data.resident}")
    return Choice("no", False, f"{_streamed(data, free.processes)}: {why}")


def workers(data: Data, processes: int = 1) -> int:
    """Processes that read ahead for each of so many training processes."""
    return max(1, allowed_cores() // processes) if data.workers is None else data.workers


def open_rows(
    cache: Cache,
    targets: Mapping[str, Sequence[str]],
    data: Data,
    device: torch.device,
    processes: int = 1,
    for_steps: int = 0,
) -> tuple[dict[str, Rows], str]:
    """Records of the views in `targets`, kept as `data` says; a line that says where and why.

    Args:
        processes: how many of this machine's train together and want the same.
        for_steps: bytes of main memory that their steps will take, and that are left free.

    Raises:
        SettingError: they do not fit where `data` says.
        CacheError: what is stored is damaged.
    """
    arrays = {view: decoded(cache, view, names) for view, names in targets.items()}
    memory = shared_memory()
    choice = choose(
        sum(each.nbytes for each in arrays.values()), data, _free(arrays, memory, device, processes, for_steps)
    )
    if choice.where == "no":
        return {view: StreamedRows(cache, view, tuple(each.arrays)) for view, each in arrays.items()}, choice.line
    where = device if choice.where == "device" else torch.device("cpu")
    rows: dict[str, Rows] = {}
    for view, each in arrays.items():  # one view after another: what goes on to a GPU lies here once at a time
        rows[view] = each.rows(each.block(memory if choice.shared else None), where)
    return rows, choice.line


def _free(
    arrays: Mapping[str, Decoded], memory: SharedMemory | None, device: torch.device, processes: int, for_steps: int
) -> Free:
    there = sum(each.nbytes for each in arrays.values() if memory and memory.has(each.content))
    return Free(
        device=free_device_memory(device) if device.type == "cuda" else None,
        memory=max(0, free_memory() - for_steps),
        shared=memory.room([each.content for each in arrays.values()]) if memory else 0,
        there=there,
        processes=processes,
    )


def _limit(data: Data, free: int) -> int:
    return free // 2 if data.memory_limit is None else int(data.memory_limit * 1e9)


def _streamed(data: Data, processes: int) -> str:
    count = workers(data, processes)
    by = f"{count} worker{'s' * (count > 1)}" if count else "the training process"
    return f"data: streamed by {by}"


def _size(nbytes: int) -> str:
    if nbytes >= 1e9:
        return f"{nbytes / 1e9:.1f} GB"
    return f"{nbytes / 1e6:.0f} MB" if nbytes >= 1e7 else f"{nbytes / 1e6:.1f} MB"

"""All records of one view, decoded once into a block of bytes: in shared memory, or in this process's own."""

import math
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch

from dukd_cache.format.reader import Cache
from dukd_cache.system.terminal import progress, say, speaks
from dukd_cache.system.threads import in_threads
from dukd_train.data.rows import ResidentRows
from dukd_train.data.shared_memory import Block, SharedMemory

_ALIGNMENT = 64


@dataclass(frozen=True)
class Decoded:
    """Arrays of all records of one view, one after another in a block of bytes."""

    cache: Cache
    view: str
    arrays: dict[str, tuple[tuple[int, ...], np.dtype[np.generic], int]]
    """Shape [N,H,W,3], type and offset of each."""
    nbytes: int

    @property
    def content(self) -> str:
        """Says what the block holds, down to the last byte."""
        arrays = ", ".join(f"{name} {shape} {dtype.str} at {at}" for name, (shape, dtype, at) in self.arrays.items())
        return f"decoded records, version 1: {self.view} of {self.cache.digest}: {arrays}"

    def block(self, memory: SharedMemory | None) -> Block:
        """The records, decoded if nobody did: in `memory`, or (None) in memory of this process's own.

        Raises:
            CacheError: what is stored is damaged.
        """
        if memory:
            return memory.block(self.content, self.nbytes, self.fill, self._tell_that_it_waits)
        block = np.empty(self.nbytes, np.uint8)
        self.fill(block)
        return block

    def of(self, block: Block) -> dict[str, np.ndarray]:
        """The arrays in `block`."""
        found: dict[str, np.ndarray] = {}
        for name, (shape, dtype, at) in self.arrays.items():
            found[name] = block[at : at + math.prod(shape) * dtype.itemsize].view(dtype).reshape(shape)
        return found

    def fill(self, block: Block) -> None:
        """Decode all records into `block`, on all cores."""
        arrays = self.of(block)

        def decode(index: int) -> None:
            record = self.cache.read(self.view, index, tuple(arrays))
            for name, rows in arrays.items():
                rows[index] = record[name]

        count = self.cache.count(self.view)
        with (
            progress(f"loading {self.view}", count, "records") as advance,
            closing(
                in_threads(decode, range(count))
            ) as decoded_so_far,  # bounded: a million futures would take a gigabyte
        ):
            for _ in decoded_so_far:
                advance(1)

    def _tell_that_it_waits(self) -> None:
        if speaks():
            say(f"loading {self.view}: another process does, waiting for it")

    def rows(self, block: Block, device: torch.device) -> ResidentRows:
        """The arrays in `block` as tensors on `device`."""
        return ResidentRows({name: torch.from_numpy(array).to(device) for name, array in self.of(block).items()})


def decoded(cache: Cache, view: str, targets: Sequence[str]) -> Decoded:
    """Of the records of `view`, of which `input` and `targets` are wanted."""
    kinds, count = cache.manifest.view(view).arrays, cache.count(view)
    arrays: dict[str, tuple[tuple[int, ...], np.dtype[np.generic], int]] = {}
    size = 0
    for name in ("input", *targets):
        kind = kinds[name]
        arrays[name] = ((count, *kind.shape), np.dtype(kind.dtype), size)
        size += -(-count * kind.nbytes // _ALIGNMENT) * _ALIGNMENT
    return Decoded(cache, view, arrays, size)

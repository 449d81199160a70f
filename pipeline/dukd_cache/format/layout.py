"""What the arrays of a record look like: decided by the header, so bytes that disagree are refused before decoding."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from dukd_cache.format.manifest import MAX_SHARD_RECORDS, Dtype, Header, View

ArrayName = Literal["input", "teacher", "truth"]

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.float16] | npt.NDArray[np.float32]


@dataclass(frozen=True)
class Kind:
    """Shape and type of one array of a record."""

    side: int
    """H = W, in pixels."""
    dtype: Dtype

    @property
    def shape(self) -> tuple[int, int, int]:
        """[H,W,3]"""
        return (self.side, self.side, 3)

    @property
    def nbytes(self) -> int:
        """Bytes of the pixels, uncompressed."""
        return self.side * self.side * 3 * np.dtype(self.dtype).itemsize


Layout = dict[View, dict[ArrayName, Kind]]
"""The arrays of each view, in the order in which they are stored."""


def layout(header: Header) -> Layout:
    """The arrays that records of the cache have; pairs have no `teacher`, `zoom_in` has no `truth`."""
    found: Layout = {}
    for view in header.spec.views:
        found[view] = {"input": Kind(header.spec.input_side(view), "uint8")}
        if header.teacher is not None:
            found[view]["teacher"] = Kind(header.spec.output_side(view), header.encoding.dtype)
        if view != "zoom_in":
            found[view]["truth"] = Kind(header.spec.output_side(view), "uint8")
    return found


def with_shard_size(header: Header, megabytes: int) -> Header:
    """`header` with shards of as many records as make `megabytes` of pixels before compression; at least one."""
    records = {
        view: min(MAX_SHARD_RECORDS, max(1, megabytes * 1_000_000 // sum(kind.nbytes for kind in arrays.values())))
        for view, arrays in layout(header).items()
    }
    return header.model_copy(update={"encoding": header.encoding.model_copy(update={"shard_records": records})})

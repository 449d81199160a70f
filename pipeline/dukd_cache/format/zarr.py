"""The container of a Zarr store: a shard is a file of each array of a Zarr 3 group.

    zarr.json                    the root group; its attributes hold the cache's header
    base/input/zarr.json         array `input` [N,p,p,3] of the group `base`; so `teacher` and `truth` [N,q,q,3]
    base/input/c/3/0/0/0         shard 3 of that array: a chunk for each record, and their index

Zarr readers take a missing shard for zeros. This reader takes nothing for pixels but bytes that the cache's own index
names by offset, length and hash.

Written here and not by the zarr package, so that bytes do not depend on its version, a record is compressed in the
thread that has it, and a shard is never held in memory whole. Any Zarr 3 reader opens the result.

Source: the Zarr core specification 3.0 and its codecs sharding_indexed, bytes, blosc and crc32c
(zarr-specs.readthedocs.io).
"""

import json
import struct
from collections.abc import Iterable, Mapping
from typing import Any

import google_crc32c
import numpy as np

from dukd_cache.format.container import Container, Packed, Piece
from dukd_cache.format.header import Header, ViewInfo
from dukd_cache.format.index import Entry
from dukd_cache.format.manifest import ShardInfo, number_of
from dukd_cache.format.record import Array, RecordInfo
from dukd_cache.places import Place
from dukd_cache.system.errors import ShardCorrupt

_METADATA = "zarr.json"
_DIMENSIONS = {
    "input": ["record", "input_y", "input_x", "channel"],
    "answer": ["record", "y", "x", "channel"],
}
"""Of one name are those of one length in all arrays of a group: xarray opens no others."""
_NOTHING = b"\xff" * 16
"""Offset and length of a chunk that is not there."""


class Zarr(Container):
    """One file an array of a shard."""

    def files(self, view: ViewInfo, number: int) -> dict[str, str]:
        return {array: f"{view.name}/{array}/c/{number}/0/0/0" for array in sorted(view.arrays)}

    def packed(self, header: Header, view: ViewInfo, info: RecordInfo, arrays: Mapping[str, bytes]) -> Packed:
        del header
        names = sorted(view.arrays)
        pieces = {array: Piece(number, 0, arrays[array]) for number, array in enumerate(names)}
        return Packed(info, [arrays[array] for array in names], pieces)

    def end(self, view: ViewInfo, chunks: Iterable[tuple[int, int]], length: int) -> bytes:
        del length
        return _index([*chunks], view.shard_records)

    def shared_files(self, header: Header) -> dict[str, bytes]:
        nodes: dict[str, dict[str, Any]] = {}
        for view in header.views:
            nodes[view.name] = _group({})
            for name, array in view.arrays.items():
                nodes[f"{view.name}/{name}"] = _array(header, view, array)
        # Readers that list the folder would stumble over manifest and indices: this spares them the listing.
        consolidated = {"kind": "inline", "must_understand": False, "metadata": nodes}
        root = _group({"dukd_cache": header.model_dump(mode="json")}) | {"consolidated_metadata": consolidated}
        return {_METADATA: _json(root)} | {f"{path}/{_METADATA}": _json(node) for path, node in nodes.items()}

    def check(self, header: Header, shard: ShardInfo, entries: Iterable[Entry], place: Place) -> None:
        view, listed = header.view(shard.view), [*entries]
        for array, file in self.files(view, number_of(shard.name)).items():
            chunks = [(entry.members[array].offset, entry.members[array].length) for entry in listed]
            index = _index(chunks, view.shard_records)
            start = sum(chunks[-1])
            if place.read_range(file, start, len(index) + 1) != index:
                raise ShardCorrupt(f"the index at byte {start} is not that of its {len(chunks)} chunks", place.at(file))


def _index(chunks: list[tuple[int, int]], per_shard: int) -> bytes:
    """What ends a shard's file: (offset, length) of every chunk, and a CRC-32C over them."""
    index = b"".join(struct.pack("<QQ", *chunk) for chunk in chunks) + _NOTHING * (per_shard - len(chunks))
    return index + struct.pack("<I", google_crc32c.value(index))


def _group(attributes: dict[str, Any]) -> dict[str, Any]:
    return {"zarr_format": 3, "node_type": "group", "attributes": attributes}


def _array(header: Header, view: ViewInfo, array: Array) -> dict[str, Any]:
    little = {"name": "bytes", "configuration": {"endian": "little"}}
    plain = {"name": "bytes"} if np.dtype(array.dtype).itemsize == 1 else little
    sharding = {
        "chunk_shape": [1, *array.shape],
        "codecs": [plain, *header.encoding.codec_of(array.dtype).zarr(array)],
        "index_codecs": [little, {"name": "crc32c"}],
        "index_location": "end",
    }
    grid = {"chunk_shape": [view.shard_records, *array.shape]}
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [header.total(view), *array.shape],
        "data_type": array.dtype,
        "chunk_grid": {"name": "regular", "configuration": grid},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0 if array.dtype == "uint8" else 0.0,
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
        "dimension_names": _DIMENSIONS["input" if array.side == view.input_side else "answer"],
        "attributes": {},
    }


def _json(node: dict[str, Any]) -> bytes:
    return (json.dumps(node, indent=1, sort_keys=True) + "\n").encode()

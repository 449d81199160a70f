"""The parts of Zarr 3 that the Zarr store writes: metadata documents, chunks, and the index of a shard.

Written here and not by the zarr package, so that bytes do not depend on its version, a record is compressed in the
thread that has it, and a shard is never held in memory whole. Any Zarr 3 reader opens the result.

Source: the Zarr core specification 3.0 and its codecs sharding_indexed, bytes, blosc and crc32c
(zarr-specs.readthedocs.io).
"""

import json
import struct
from typing import Any

import google_crc32c
import numpy as np
from numcodecs import blosc

from dukd_cache.format.layout import Kind, Layout, Pixels
from dukd_cache.format.manifest import Codec, Header, View

METADATA = "zarr.json"

_COMPRESSOR = "zstd"
_LEVEL = 3
_BLOSC_HEADER = struct.Struct("<BBBBIII")
"""Version, version of the compressor, flags, type's size, bytes, bytes of a block, compressed bytes."""
_DIMENSIONS = {
    "input": ["record", "input_y", "input_x", "channel"],
    "answer": ["record", "y", "x", "channel"],
}
"""Of one name are those of one length in all arrays of a group: xarray opens no others."""
_NOTHING = b"\xff" * 16
"""Offset and length of a chunk that is not there."""


def metadata_files(header: Header, layout: Layout, counts: dict[View, int]) -> dict[str, bytes]:
    """All `zarr.json` of a cache, by name below its folder. `counts`: records of each view."""
    nodes: dict[str, dict[str, Any]] = {}
    for view, arrays in layout.items():
        nodes[view] = _group({})
        for name, kind in arrays.items():
            per_shard = header.encoding.shard_records[view]
            dimensions = _DIMENSIONS["input" if name == "input" else "answer"]
            nodes[f"{view}/{name}"] = _array(kind, dimensions, counts[view], per_shard, header.encoding.codec)
    # Readers that list the folder would stumble over manifest and sidecars: this spares them the listing.
    consolidated = {"kind": "inline", "must_understand": False, "metadata": nodes}
    root = _group({"dukd_cache": header.model_dump(mode="json")}) | {"consolidated_metadata": consolidated}
    files = {METADATA: _json(root)}
    return files | {f"{path}/{METADATA}": _json(node) for path, node in nodes.items()}


def encode_chunk(pixels: Pixels, codec: Codec) -> bytes:
    """`pixels` [H,W,3] as a chunk [1,H,W,3]."""
    content = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<"))
    if codec == "raw":
        return content.tobytes()
    # One block a chunk: nothing is left to the number of threads, so equal pixels give equal bytes.
    found: bytes = blosc.compress(content, _COMPRESSOR.encode(), _LEVEL, blosc.BITSHUFFLE, content.nbytes)
    return found


def decode_chunk(content: bytes, codec: Codec, kind: Kind) -> Pixels:
    """The pixels [H,W,3] of a chunk, which are of `kind`. Memory is taken for pixels of `kind` only.

    Raises:
        ValueError: the bytes are not of that kind.
    """
    if codec == "raw":
        if len(content) != kind.nbytes:
            raise ValueError(f"expected {kind.nbytes} bytes of pixels, found {len(content)}")
        return _pixels(content, kind)
    if len(content) < _BLOSC_HEADER.size:
        raise ValueError(f"{len(content)} bytes are no Blosc chunk")
    *_, length, _, compressed = _BLOSC_HEADER.unpack_from(content)
    if (length, compressed) != (kind.nbytes, len(content)):
        raise ValueError(
            f"expected {kind.nbytes} bytes of pixels in {len(content)} bytes, found {length} in {compressed}"
        )
    pixels = bytearray(kind.nbytes)
    try:
        blosc.decompress(content, pixels)
    except RuntimeError as error:
        raise ValueError(str(error)) from error
    return _pixels(pixels, kind)


def shard_index(chunks: list[tuple[int, int]], per_shard: int) -> bytes:
    """What ends a shard's file: (offset, length) of every chunk, and a CRC-32C over them."""
    index = b"".join(struct.pack("<QQ", *chunk) for chunk in chunks) + _NOTHING * (per_shard - len(chunks))
    return index + struct.pack("<I", google_crc32c.value(index))


def _pixels(content: bytes | bytearray, kind: Kind) -> Pixels:
    pixels: Pixels = np.frombuffer(content, np.dtype(kind.dtype).newbyteorder("<")).reshape(kind.shape)
    return pixels.astype(kind.dtype, copy=False)


def _group(attributes: dict[str, Any]) -> dict[str, Any]:
    return {"zarr_format": 3, "node_type": "group", "attributes": attributes}


def _array(kind: Kind, dimensions: list[str], count: int, per_shard: int, codec: Codec) -> dict[str, Any]:
    size = np.dtype(kind.dtype).itemsize
    little = {"name": "bytes", "configuration": {"endian": "little"}}
    inner = [{"name": "bytes"} if size == 1 else little]
    if codec == "blosc":
        settings = {
            "cname": _COMPRESSOR,
            "clevel": _LEVEL,
            "shuffle": "bitshuffle",
            "typesize": size,
            "blocksize": kind.nbytes,
        }
        inner.append({"name": "blosc", "configuration": settings})
    sharding = {
        "chunk_shape": [1, *kind.shape],
        "codecs": inner,
        "index_codecs": [little, {"name": "crc32c"}],
        "index_location": "end",
    }
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [count, *kind.shape],
        "data_type": kind.dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [per_shard, *kind.shape]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0 if kind.dtype == "uint8" else 0.0,
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
        "dimension_names": dimensions,
        "attributes": {},
    }


def _json(node: dict[str, Any]) -> bytes:
    return (json.dumps(node, indent=1, sort_keys=True) + "\n").encode()

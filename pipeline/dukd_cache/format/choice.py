"""From the name of a store to what writes and reads it."""

import re
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

from dukd_cache.format.layout import layout
from dukd_cache.format.manifest import CODECS, VIEWS, Codec, Header, Manifest, ShardInfo, Store, shard_name
from dukd_cache.format.sidecar import sidecar_name
from dukd_cache.format.stores import StoreReader, StoreWriter
from dukd_cache.format.tar import WebDatasetReader, WebDatasetWriter
from dukd_cache.format.zarr import ZarrReader, ZarrWriter, shard_file
from dukd_cache.format.zarr_format import METADATA, metadata_files
from dukd_cache.places import Place
from dukd_cache.system.errors import SettingError


def choose_codec(store: Store, codec: Codec | None) -> Codec:
    """`codec`, or the store's default.

    Raises:
        SettingError: the store cannot compress with it.
    """
    if codec is None:
        return CODECS[store][0]
    if codec not in CODECS[store]:
        raise SettingError(f"--codec {codec}: --store {store} has {', '.join(CODECS[store])}")
    return codec


COMPRESSES: dict[Store, str] = {"webdataset": "imagecodecs", "zarr": "numcodecs"}
"""The library that the bytes of each store depend on, besides Pillow."""


def software(store: Store) -> dict[str, str]:
    """The version of that library, by its name."""
    return {COMPRESSES[store]: version(COMPRESSES[store])}


_OF_A_SHARD = re.compile(rf"({'|'.join(VIEWS)})(?:-([0-9]{{6,}})\.(?:tar|json)|/[a-z]+/c/([0-9]+)/0/0/0)")
"""View and number in the name of a file that may be one of a shard."""


def open_writer(place: Place, header: Header) -> StoreWriter[Any]:
    """The writer of the store that `header` names."""
    if header.encoding.store == "zarr":
        return ZarrWriter(place, header.encoding, layout(header))
    return WebDatasetWriter(place, header.encoding.codec)


def open_reader(place: Place, header: Header) -> StoreReader:
    """The reader of the store that `header` names."""
    if header.encoding.store == "zarr":
        return ZarrReader(place, header.encoding, layout(header))
    return WebDatasetReader(place, layout(header))


def whole_shards(place: Place, header: Header) -> Iterator[ShardInfo]:
    """The shards in `place` that are whole, of a finished cache or not; known by their sidecars."""
    writer = open_writer(place, header)
    for view in header.spec.views:
        for name in place.names(f"{view}-"):
            number = name.removeprefix(f"{view}-").removesuffix(".json")
            if name.endswith(".json") and number.isdecimal() and (shard := writer.finished(view, int(number), None)):
                yield shard


def is_written(name: str, header: Header) -> bool:
    """Whether the store of that cache writes a file of that name below its root: a part of a shard, or metadata."""
    arrays = layout(header)
    if found := _OF_A_SHARD.fullmatch(name):
        view, number = next(view for view in VIEWS if view == found[1]), int(found[2] or found[3])
        shard = shard_name(header.encoding.store, view, number)
        files = [shard_file(view, array, number) for array in arrays.get(view, {})]
        total = header.images.count * header.spec.count(view)
        own = [sidecar_name(shard), *(files if header.encoding.store == "zarr" else [shard])]
        return name in own and view in arrays and number * header.encoding.shard_records.get(view, 0) < total
    groups = [f"{view}/" for view in arrays]
    nodes = ["", *groups, *(f"{view}/{array}/" for view in arrays for array in arrays[view])]
    return header.encoding.store == "zarr" and name in [f"{node}{METADATA}" for node in nodes]


def looks_like_a_shard(name: str) -> bool:
    """Whether readers that go by names would take that file for a part of a shard, in one store or the other."""
    return _OF_A_SHARD.fullmatch(name) is not None


def shared_files(manifest: Manifest) -> dict[str, bytes]:
    """Files that belong to no shard, by name below the root; they follow from the manifest."""
    if manifest.encoding.store != "zarr":
        return {}
    header = Header(**manifest.model_dump(exclude={"shards"}))
    counts = {view: manifest.images.count * manifest.spec.count(view) for view in manifest.spec.views}
    return metadata_files(header, layout(header), counts)


def write_shared_files(place: Place, manifest: Manifest) -> None:
    """Write them into `place`. Done before the manifest is there."""
    for name, content in shared_files(manifest).items():
        place.write(name, content)

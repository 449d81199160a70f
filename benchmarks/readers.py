"""Other ways to keep the records of a cache and to read them at random; those whose package is there."""

import io
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from dukd_cache.format.codecs import CODECS
from dukd_cache.format.reader import Cache

Record = tuple[np.ndarray, ...]
Read = Callable[[list[int]], list[Record]]
"""The records at these positions. `webdataset` cannot choose: it gives as many, in the order of its shuffle buffer."""

_NAMES = ("input", "teacher", "truth")
_CHUNK = 1 << 26
_SHUFFLED = 100
"""Samples in webdataset's buffer."""
_PACKAGES = {"webdataset": "webdataset", "litdata": "litdata", "mosaicml-streaming": "streaming", "opencv": "cv2"}


def missing() -> list[str]:
    """Packages that are not there."""
    return [name for name, module in _PACKAGES.items() if find_spec(module) is None]


def open_all(cache: Cache, folder: Path) -> dict[str, Read]:
    """Write the records of `cache` below `folder` in every way there is; what reads them."""
    ways: dict[str, Callable[[Cache, Path], Read]] = {
        "webdataset": _webdataset,
        "litdata": _litdata,
        "mosaicml-streaming": _mds,
        "PNG files, Pillow": _png_files,
        "PNG files, OpenCV": _png_files_opencv,
    }
    lacking = missing()
    found: dict[str, Read] = {}
    for name, way in ways.items():
        if not any(package in name.lower() for package in lacking):
            found[name] = way(cache, folder / name)
    return found


def _files(cache: Cache) -> Iterator[dict[str, bytes]]:
    """The three images of each record, as they lie in the cache."""
    for index in range(cache.count("base")):
        record = cache.read("base", index)
        yield {name: CODECS["webdataset"]["webp"].encode(record[name], False) for name in _NAMES}


def _decoded(files: Mapping[str, bytes]) -> Record:
    return tuple(_image(io.BytesIO(files[name])) for name in _NAMES)


def _image(file: io.BytesIO | Path) -> np.ndarray:
    with Image.open(file) as image:
        return np.asarray(image)


def _webdataset(cache: Cache, _folder: Path) -> Read:
    """Its own pipeline on this cache's tars."""
    import webdataset

    shards = [str(Path(str(cache.root)) / shard.name) for shard in cache.manifest.shards]
    names = [f"{name}.webp" for name in _NAMES]

    def read(order: list[int]) -> list[Record]:
        pipeline = webdataset.WebDataset(shards, shardshuffle=False).shuffle(_SHUFFLED).decode("rgb8").to_tuple(*names)
        return list(islice(pipeline, len(order)))

    return read


def _litdata(cache: Cache, folder: Path) -> Read:
    from litdata import StreamingDataset
    from litdata.streaming.writer import BinaryWriter

    writer = BinaryWriter(str(folder), chunk_bytes=_CHUNK)
    for index, files in enumerate(_files(cache)):
        writer.add_item(index, files)
    writer.done()
    writer.merge(1)
    dataset = StreamingDataset(str(folder))
    return lambda order: [_decoded(dataset[index]) for index in order]


def _mds(cache: Cache, folder: Path) -> Read:
    from streaming import MDSWriter, StreamingDataset

    columns = dict.fromkeys(_NAMES, "bytes")
    with MDSWriter(out=str(folder), columns=columns, size_limit=_CHUNK) as writer:
        for files in _files(cache):
            writer.write(files)
    dataset = StreamingDataset(local=str(folder), batch_size=1)
    return lambda order: [_decoded(dataset[index]) for index in order]


def _png_files(cache: Cache, folder: Path) -> Read:
    _write_png(cache, folder)
    return lambda order: [tuple(_image(_png(folder, index, name)) for name in _NAMES) for index in order]


def _png_files_opencv(cache: Cache, folder: Path) -> Read:
    """As BasicSR does: the file's bytes, decoded by OpenCV, from BGR to RGB."""
    import cv2

    _write_png(cache, folder)

    def image(path: Path) -> np.ndarray:
        content = np.frombuffer(path.read_bytes(), np.uint8)
        return np.asarray(cv2.cvtColor(cv2.imdecode(content, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB))

    cv2.setNumThreads(1)
    return lambda order: [tuple(image(_png(folder, index, name)) for name in _NAMES) for index in order]


def _write_png(cache: Cache, folder: Path) -> None:
    folder.mkdir()
    for index in range(cache.count("base")):
        record = cache.read("base", index)
        for name in _NAMES:
            Image.fromarray(record[name]).save(_png(folder, index, name))


def _png(folder: Path, index: int, name: str) -> Path:
    return folder / f"{index:06d}_{name}.png"

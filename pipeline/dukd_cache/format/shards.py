"""One writer and one reader of shards, over the containers: files whole or not there, each byte checked when read.

A shard is written data first, then its index, so that an index never names what is not there.
"""

import hashlib
import re
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from dukd_cache.format.codecs import CODECS, decode
from dukd_cache.format.container import Container, Packed
from dukd_cache.format.header import Header, ViewInfo
from dukd_cache.format.index import (
    SUFFIX,
    Entry,
    Index,
    Indices,
    Member,
    Rows,
    end_of,
    from_bytes,
    from_end,
    index_name,
    root_of,
    row_type,
    rows_of,
    to_bytes,
)
from dukd_cache.format.manifest import ShardInfo, number_of, shard_name
from dukd_cache.format.record import Pixels, Record, RecordInfo
from dukd_cache.format.tar import Tar
from dukd_cache.format.zarr import Zarr
from dukd_cache.places import Place
from dukd_cache.system.errors import CacheError, DukdError, ShardCorrupt
from dukd_cache.system.files import naming

CONTAINERS: dict[str, Container] = {"webdataset": Tar(), "zarr": Zarr()}
"""By the store that they are the shards of."""

_BETWEEN = 4096
"""Bytes; more than lies between two arrays of a record in a tar: padding, `<key>.json` and two headers."""


def software(store: str) -> dict[str, str]:
    """The versions of the libraries that the bytes of a store depend on, by name."""
    return {codec.library: version(codec.library) for codec in CODECS[store].values()}


LIBRARIES = {codec.library for codecs in CODECS.values() for codec in codecs.values()}
"""Of all stores."""


class _Content(NamedTuple):
    """What is in the files of a shard that is being written."""

    entries: list[Entry]
    """Of the records that are whole."""
    chunks: list[list[tuple[int, int]]]
    """(start, length) of the records in each file; perhaps one more than there are entries."""


@dataclass(frozen=True)
class ShardWriter:
    """Writes the shards of one cache into `place`."""

    place: Place
    header: Header
    left: Callable[[], Place] | None = None
    """Makes the place to which go, as a shorter shard, the records of one whose writing is interrupted."""

    def encode(self, record: Record) -> Packed:
        """Compress the pixels of `record`, and put it into the form in which it is written. For several threads."""
        header, view = self.header, self.header.view(record.info.view)
        encoded: dict[str, bytes] = {}
        for name, kind in view.arrays.items():
            pixels = record[name]
            if pixels.shape != kind.shape or pixels.dtype != kind.dtype:
                raise ValueError(f"{record.info.key}.{name}: {pixels.dtype} {pixels.shape}, expected {kind}")
            encoded[name] = header.encoding.codec_of(kind.dtype).encode(pixels, name in header.answers)
        return self._container.packed(header, view, record.info, encoded)

    def write(self, view: str, number: int, records: Iterable[Packed]) -> ShardInfo:
        """Write a shard and its index: it is there whole when this returns, or not at all.

        Nothing is removed, and of several who write one shard each replaces it by equal bytes.
        """
        names = _files(self.header, view, number)
        with ExitStack() as shard:
            paths = [shard.enter_context(self.place.new_file(file)) for file in names]
            content = _Content([], [[] for _ in names])
            try:
                self._copy(records, paths, content)
            except BaseException:
                if self.left and content.entries:
                    self._leave(self.left, view, number, paths, content)
                raise
            length, sha256 = self._end(view, paths, content)
        return self._index(self.place, view, number, content.entries, length, sha256)

    def _copy(self, records: Iterable[Packed], paths: Sequence[Path], content: "_Content") -> None:
        ends = [0] * len(paths)
        with ExitStack() as files:
            streams = [files.enter_context(path.open("wb")) for path in paths]
            for record in records:
                entry = Entry(record.info, _members(record, ends))
                for at, part in enumerate(record.parts):
                    streams[at].write(part)
                    content.chunks[at].append((ends[at], len(part)))
                    ends[at] += len(part)
                content.entries.append(entry)

    def _end(self, view: str, paths: Sequence[Path], content: "_Content") -> tuple[int, str]:
        """Write what follows the last record, in the place of what an interrupted write left there."""
        for path, chunks in zip(paths, content.chunks, strict=True):
            whole = chunks[: len(content.entries)]
            end = sum(whole[-1]) if whole else 0
            with path.open("r+b") as stream:
                stream.truncate(end)
                stream.seek(end)
                stream.write(self._container.end(self.header.view(view), whole, end))
        return hash_of_files(paths)

    def _index(
        self, place: Place, view: str, number: int, entries: Sequence[Entry], length: int, sha256: str
    ) -> ShardInfo:
        name = shard_name(self.header.encoding.store, view, number)
        rows = rows_of(self.header, self.header.view(view), entries)
        content = to_bytes(rows, length, sha256)
        place.write(index_name(name), content)
        return Index(rows, length, sha256, root_of(content)).shard_info(name, view)

    def _leave(
        self, left: Callable[[], Place], view: str, number: int, paths: Sequence[Path], content: "_Content"
    ) -> None:
        """As a shard of fewer records, unless an earlier attempt left as many: this one began with them.

        What hinders this costs no more than it would have saved: it is not told.
        """
        with suppress(OSError, DukdError):
            place = left()
            if self._left_in(place, view, number) >= len(content.entries):
                return
            length, sha256 = self._end(view, paths, content)
            for file, path in zip(_files(self.header, view, number), paths, strict=True):
                with place.new_file(file) as copy:
                    shutil.copyfile(path, copy)
            self._index(place, view, number, content.entries, length, sha256)

    def _left_in(self, place: Place, view: str, number: int) -> int:
        """Records of a shard that lie in `place`."""
        name = index_name(shard_name(self.header.encoding.store, view, number))
        try:
            found = from_bytes(place.read(name), row_type(self.header, self.header.view(view)))
        except (OSError, ValueError):
            return 0
        return len(found.rows) if _bytes(_files(self.header, view, number), place.size) == found.bytes else 0

    def finished(
        self, view: str, number: int, records: int, sizes: Mapping[str, int] | None = None
    ) -> ShardInfo | None:
        """The shard, if an earlier build finished it with that many records; else None: it is written anew.

        That is told by the end of its index and the sizes of its files.

        Args:
            sizes: all that `Place.sizes` says of the place; None: each file is asked for.
        """
        kind, name = row_type(self.header, self.header.view(view)), shard_name(self.header.encoding.store, view, number)
        size, (start, length) = self.place.size if sizes is None else sizes.get, end_of(kind, records)
        if size(index_name(name)) != start + length:
            return None
        try:
            end = from_end(self.place.read_range(index_name(name), start, length), kind, records)
        except (OSError, ValueError):
            return None
        found = ShardInfo(name, view, records, *end)
        return found if _bytes(_files(self.header, view, number), size) == found.bytes else None

    def holds(self, shard: ShardInfo) -> bool:
        """Whether the files are those that `shard` tells of. Reads them whole, of the index the end."""
        number = number_of(shard.name)
        if self.finished(shard.view, number, shard.records) != shard:
            return False
        files = _files(self.header, shard.view, number)
        with self.place.local(files) as here:
            return hash_of_files(here.path / name for name in files) == (shard.bytes, shard.sha256)

    @property
    def _container(self) -> Container:
        return CONTAINERS[self.header.encoding.store]


class ShardReader:
    """Reads records of the shards in `place`, each by its offset; safe to share between threads."""

    def __init__(self, place: Place, header: Header) -> None:
        self._place, self._header = place, header
        self._container = CONTAINERS[header.encoding.store]
        self._indices = Indices(header)

    def read(self, shard: ShardInfo, index: int, names: Collection[str] | None = None) -> Record:
        """The record at `index` of `shard`, with the arrays of these names; None: all.

        Raises:
            ShardCorrupt: the stored bytes are not those that were written.
            CacheError: they cannot be read.
        """
        return self.read_from(self._place, shard, index, names)

    def read_from(self, place: Place, shard: ShardInfo, index: int, names: Collection[str] | None = None) -> Record:
        """The same from files that lie in another place."""
        view = self._header.view(shard.view)
        entry = self._entry(place, shard, index)
        files = self._container.files(view, number_of(shard.name))
        wanted: dict[str, dict[str, Member]] = {}
        for array in view.arrays if names is None else names:
            where = wanted.setdefault(files[array], {})[array] = entry.members[array]
            if (end := where.offset + where.length) > shard.bytes:
                raise ShardCorrupt(f"{array} ends at byte {end}, of {shard.bytes}", place.at(files[array]))
        arrays: dict[str, Pixels] = {}
        for file, members in wanted.items():
            for array, content in _slices(place, file, entry.info.key, members).items():
                kind = view.arrays[array]
                codec = self._header.encoding.codec_of(kind.dtype)
                try:
                    arrays[array] = decode(codec, content, kind)
                except ValueError as error:
                    part = ".".join(filter(None, [entry.info.key, array, codec.suffix]))
                    raise ShardCorrupt(f"{part} cannot be decoded: {error}", place.at(file)) from error
        return Record(entry.info, arrays)

    def info(self, shard: ShardInfo, index: int) -> RecordInfo:
        """Where the record at `index` of `shard` comes from, without reading its pixels."""
        return self._entry(self._place, shard, index).info

    def rows(self, shard: ShardInfo) -> Rows:
        """The whole index of `shard`."""
        return self._indices.rows(self._place, shard)

    def stored_bytes(self, shard: ShardInfo, index: int) -> dict[str, int]:
        """What each array of the record at `index` of `shard` takes in the store."""
        return {name: member.length for name, member in self._entry(self._place, shard, index).members.items()}

    def files(self, shard: ShardInfo) -> list[str]:
        """Files of `shard` below the root, without its index, in the order in which they are hashed."""
        return _files(self._header, shard.view, number_of(shard.name))

    def check_structure(self, shard: ShardInfo) -> None:
        """Compare what the shard's files say of their own parts with the index. They are there.

        Raises:
            ShardCorrupt: they differ.
        """
        entries = (self._entry(self._place, shard, index) for index in range(shard.records))
        self._container.check(self._header, shard, entries, self._place)

    def _entry(self, place: Place, shard: ShardInfo, index: int) -> Entry:
        first = number_of(shard.name) * self._header.view(shard.view).shard_records
        return self._indices.entry(place, shard, index, first + index)


def whole_shards(place: Place, header: Header) -> Iterator[tuple[ShardInfo, Rows]]:
    """The shards in `place` that are whole, of a finished cache or not, with their indices."""
    sizes = place.sizes()
    for view in header.view_names:
        for file in sorted(name for name in sizes if name.startswith(f"{view}-") and name.endswith(SUFFIX)):
            number = file.removeprefix(f"{view}-").removesuffix(SUFFIX)
            if not number.isdecimal():
                continue
            try:
                found = from_bytes(place.read(file), row_type(header, header.view(view)))
            except (OSError, ValueError):
                continue
            if _bytes(_files(header, view, int(number)), sizes.get) == found.bytes:
                yield found.shard_info(shard_name(header.encoding.store, view, int(number)), view), found.rows


def is_written(name: str, header: Header) -> bool:
    """Whether a build of that header writes a file of that name below its root: a part of a shard, or metadata."""
    found = _part_of_a_shard(name, header)
    if found is None:
        return name in shared_files(header)
    view, number = found
    shard = shard_name(header.encoding.store, view.name, number)
    own = {index_name(shard), *CONTAINERS[header.encoding.store].files(view, number).values()}
    return name in own and number * view.shard_records < header.total(view)


def files_of_shards(header: Header) -> set[str]:
    """Names below the root of all files that hold records, and of their indices."""
    found: set[str] = set()
    for view in header.views:
        for number in range(-(-header.total(view) // view.shard_records)):
            name = shard_name(header.encoding.store, view.name, number)
            found |= {index_name(name), *_files(header, view.name, number)}
    return found


def looks_like_a_shard(name: str, header: Header) -> bool:
    """Whether readers that go by names would take that file for a part of a shard, in one store or the other."""
    return _part_of_a_shard(name, header) is not None


def _part_of_a_shard(name: str, header: Header) -> tuple[ViewInfo, int] | None:
    """View and number in the name of a file that may be one of a shard."""
    views = "|".join(header.view_names)
    found = re.fullmatch(rf"({views})(?:-([0-9]{{6,}})\.(?:tar|npy)|/[a-z0-9_]+/c/([0-9]+)/0/0/0)", name)
    return (header.view(found[1]), int(found[2] or found[3])) if found else None


def shared_files(header: Header) -> dict[str, bytes]:
    """Files that belong to no shard, by name below the root; they follow from the header."""
    return CONTAINERS[header.encoding.store].shared_files(header)


def write_shared_files(place: Place, header: Header) -> None:
    """Write them into `place`. Done before the manifest is there."""
    for name, content in shared_files(header).items():
        place.write(name, content)


def hash_of_files(paths: Iterable[Path]) -> tuple[int, str]:
    """(bytes, sha256) of files, one after another."""
    total, length = hashlib.sha256(), 0
    for path in paths:
        with naming(path), path.open("rb") as stream:
            while block := stream.read(1 << 20):
                total.update(block)
                length += len(block)
    return length, total.hexdigest()


def _files(header: Header, view: str, number: int) -> list[str]:
    """Files of a shard below the root, each once, in the order in which they are hashed."""
    files = CONTAINERS[header.encoding.store].files(header.view(view), number)
    return [*dict.fromkeys(files.values())]


def _bytes(files: Iterable[str], size: Callable[[str], int | None]) -> int | None:
    """Of files together; None where one is not there."""
    sizes = [size(file) for file in files]
    return None if None in sizes else sum(filter(None, sizes))


def _members(record: Packed, ends: list[int]) -> dict[str, Member]:
    return {
        array: Member(ends[piece.file] + piece.offset, len(piece.content), hashlib.sha256(piece.content).digest())
        for array, piece in record.pieces.items()
    }


def _slices(place: Place, file: str, key: str, wanted: Mapping[str, Member]) -> dict[str, bytes]:
    """The bytes of arrays in one file, by name; read at once where they lie together, as those of a record do."""
    start = min(where.offset for where in wanted.values())
    end = max(where.offset + where.length for where in wanted.values())
    if end - start > sum(where.length + _BETWEEN for where in wanted.values()):
        return {name: _slices(place, file, key, {name: where})[name] for name, where in wanted.items()}
    path = place.at(file)
    try:
        content = place.read_range(file, start, end - start)
    except OSError as error:
        raise CacheError(f"shard cannot be read ({error.strerror})", path) from error
    found: dict[str, bytes] = {}
    for name, where in wanted.items():
        first, last = where.offset - start, where.offset - start + where.length
        if last > len(content):
            raise ShardCorrupt(f"{name} ends at byte {start + last}, the file at {place.size(file)}", path)
        found[name] = content[first:last]
        computed = hashlib.sha256(found[name]).digest()
        if computed != where.sha256:
            raise ShardCorrupt(
                f"{name} at byte {where.offset} ({key}): "
                f"sha256 {where.sha256.hex()[:12]}… stored, {computed.hex()[:12]}… computed",
                path,
            )
    return found

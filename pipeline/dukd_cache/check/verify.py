"""Is a finished cache what was written? Every file, every record; and what to do where it is not."""

import errno
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from dukd_cache.format import manifest
from dukd_cache.format.index import index_name
from dukd_cache.format.lifecycle import reopen
from dukd_cache.format.manifest import MANIFEST, Manifest, ShardInfo
from dukd_cache.format.record import Record, fingerprint
from dukd_cache.format.shards import ShardReader, hash_of_files, looks_like_a_shard, shared_files, write_shared_files
from dukd_cache.places import Address, Place
from dukd_cache.places.choice import place_at
from dukd_cache.places.folder import Folder
from dukd_cache.system.errors import CacheError, ShardCorrupt
from dukd_cache.system.left_overs import is_systems
from dukd_cache.system.threads import in_threads, told

_RECORDS_NAMED = 3


@dataclass(frozen=True)
class Problem:
    """One thing that does not hold, in one line."""

    message: str
    shard: ShardInfo | None = None
    """The shard that has to be written anew."""


def verify(root: Address, *, on_records: Callable[[int], None] = lambda _count: None) -> list[Problem]:
    """All that is wrong with the cache at `root`; empty if it is intact.

    Checked are: manifest, lengths and hashes of shards and indices, decodability, shape, type and fingerprint of every
    record, the shards' own structure (tar headers, Zarr indices and metadata), and that no file is missing, and none
    there that other readers would take for a shard.

    Args:
        on_records: told how many records were checked since it was last told.

    Raises:
        CacheError: there is no finished cache at `root`.
        PlaceError: the address cannot be reached.
    """
    place = place_at(root)
    problems: list[Problem] = []
    found: Manifest | None
    try:
        found = manifest.read(place)
    except CacheError as error:
        if place.size(MANIFEST) is None:
            raise
        problems.append(Problem(str(error)))
        found = manifest.read_despite_damage(place)
    if found is None:
        return problems
    problems += _files(place, found, ShardReader(place, found))
    for shard in found.shards:
        problems += _shard(place, found, shard, on_records)
    return problems


def other_files(root: Address) -> list[str]:
    """Files in a cache that are not of it and do no harm, as named in messages; without those that systems drop.

    Raises:
        CacheError: there is no finished cache at `root`.
    """
    place = place_at(root)
    found = manifest.read(place)
    return [
        place.at(name)
        for name in _strays(place, found, ShardReader(place, found))
        if not looks_like_a_shard(name, found)
    ]


def repair(root: Address, problems: list[Problem]) -> str:
    """Drop what is broken, so that the build's own command writes it anew. Says in one line what was done.

    Files that belong to no cache are left alone.

    Raises:
        BusyError: another process writes there.
    """
    place = place_at(root)
    with place.locked("repair"):
        place.sweep()
        found = manifest.read_despite_damage(place)
        if found is None:
            return f"{place.at(MANIFEST)} cannot be mended: build this cache anew"
        reader = ShardReader(place, found)
        broken = {each.shard.name: each.shard for each in problems if each.shard}
        for shard in broken.values():  # the index first: a build takes a shard with an index for whole
            place.delete([index_name(shard.name), *reader.files(shard)])
        try:
            manifest.read(place)
        except ShardCorrupt:
            whole = False
        else:
            whole = not broken
        if whole:
            write_shared_files(place, found.header)
            return "nothing to build anew"
        reopen(place, found.header)
        records = sum(shard.records for shard in broken.values())
        return (
            f"dropped {len(broken)} of {len(found.shards)} shards ({records} records): give the build's command again"
        )


def _files(place: Place, found: Manifest, reader: ShardReader) -> Iterator[Problem]:
    """Those that belong to no shard, and those that only look as if they did."""
    for name, content in shared_files(found.header).items():
        size = place.size(name)
        if size is None:
            yield Problem(f"{place.at(name)}: missing")
        elif size != len(content) or place.read(name) != content:
            yield Problem(f"{place.at(name)}: not what follows from {MANIFEST}")
    for name in _strays(place, found, reader):
        if looks_like_a_shard(name, found):
            yield Problem(f"{place.at(name)}: stray file, of which the manifest knows nothing: remove it")


def _strays(place: Place, found: Manifest, reader: ShardReader) -> list[str]:
    known = {MANIFEST, *shared_files(found.header)}
    for shard in found.shards:
        known |= {index_name(shard.name), *reader.files(shard)}
    return [name for name in place.names() if name not in known and not any(map(is_systems, name.split("/")))]


def _shard(place: Place, found: Manifest, shard: ShardInfo, on_records: Callable[[int], None]) -> Iterator[Problem]:
    names = [index_name(shard.name), *ShardReader(place, found).files(shard)]
    missing = [name for name in names if place.size(name) is None]
    for name in missing:
        yield Problem(f"{place.at(name)}: missing", shard)
    if missing:
        on_records(shard.records)
        return
    with place.local(names) as folder:
        yield from _whole_shard(folder, found, shard, on_records)


def _whole_shard(
    folder: Folder, found: Manifest, shard: ShardInfo, on_records: Callable[[int], None]
) -> Iterator[Problem]:
    """What is wrong with a shard whose files are all there."""
    reader = ShardReader(folder, found)
    try:
        length, sha256 = hash_of_files(folder.path / name for name in reader.files(shard))
    except OSError as error:
        if error.errno != errno.EIO:  # not a bad sector of the disk: it may pass, and no shard is to be dropped for it
            raise
        yield Problem(f"{error.filename}: cannot be read ({error.strerror})", shard)
        on_records(shard.records)
        return
    if length != shard.bytes:
        yield Problem(f"{folder.at(shard.name)}: {length} bytes, expected {shard.bytes}", shard)
    elif sha256 != shard.sha256:
        yield Problem(f"{folder.at(shard.name)}: sha256 {shard.sha256[:12]}… stored, {sha256[:12]}… computed", shard)
    try:
        reader.rows(shard)  # the whole index, of which a reader reads parts
    except CacheError as error:
        yield Problem(str(error), shard)
        on_records(shard.records)
        return
    if (length, sha256) == (shard.bytes, shard.sha256):
        try:
            reader.check_structure(shard)
        except ShardCorrupt as error:
            yield Problem(str(error), shard)
    named = 0
    for message in told(in_threads(partial(_record, folder, found, reader, shard), range(shard.records)), on_records):
        if message is not None:
            named += 1
            if named <= _RECORDS_NAMED:
                yield Problem(message, shard)
    if named > _RECORDS_NAMED:
        yield Problem(f"{folder.at(shard.name)}: {named - _RECORDS_NAMED} more records like these", shard)


def _record(folder: Folder, found: Manifest, reader: ShardReader, shard: ShardInfo, index: int) -> str | None:
    """What is wrong with one record."""
    try:
        record = reader.read(shard, index)
    except CacheError as error:
        return str(error)
    wrong = _contradiction(record, found)
    return f"{folder.at(shard.name)}: record {record.info.key}: {wrong}" if wrong else None


def _contradiction(record: Record, found: Manifest) -> str | None:
    for answer, name in record.info.fingerprints.items():
        asked = found.answers[answer]
        if not asked.context:  # else it is of pixels that are not stored
            computed = fingerprint(asked.asked, record[asked.of])
            if computed != name:
                return f"fingerprint {name[:12]}… stored, {computed[:12]}… of its {asked.of}"
        pixels = record[answer]
        if pixels.dtype != np.uint8 and not bool(np.all((pixels >= 0) & (pixels <= 1))):
            return f"the answer {answer} is not in [0,1]"
    return None

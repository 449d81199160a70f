"""Is a finished cache what was written? Every file, every record; and what to do where it is not."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from dukd_cache import manifest
from dukd_cache.errors import CacheError, ShardCorrupt
from dukd_cache.files import PARTIAL, write_atomically
from dukd_cache.folder import HEADER
from dukd_cache.manifest import MANIFEST, Header, Manifest, ShardInfo, View
from dukd_cache.record import Record, fingerprint
from dukd_cache.stores import StoreReader
from dukd_cache.stores.choice import open_reader, shared_files, write_shared_files
from dukd_cache.stores.sidecar import hash_of_files, sidecar_name

_RECORDS_NAMED = 3


@dataclass(frozen=True)
class Problem:
    """One thing that does not hold, in one line."""

    message: str
    shard: ShardInfo | None = None
    """The shard that has to be written anew."""


def verify(root: Path, *, on_records: Callable[[int], None] = lambda _count: None) -> list[Problem]:
    """All that is wrong with the cache at `root`; empty where all holds.

    Checked are: manifest, lengths and hashes of shards and sidecars, decodability, shape, type and fingerprint of every
    record, the shards' own structure (tar headers, Zarr indices and metadata), and that no file is missing or strange.

    Args:
        on_records: told how many records were checked since it was last told.

    Raises:
        CacheError: there is no finished cache at `root`.
    """
    problems: list[Problem] = []
    found: Manifest | None
    try:
        found = manifest.read(root)
    except CacheError as error:
        if not (root / MANIFEST).is_file():
            raise
        problems.append(Problem(str(error)))
        found = manifest.read_despite_damage(root)
    if found is None:
        return problems
    reader = open_reader(root, found)
    problems += _files(root, found, reader)
    first: dict[View, int] = {}
    for shard in found.shards:
        problems += _shard(root, found, reader, shard, first.get(shard.view, 0), on_records)
        first[shard.view] = first.get(shard.view, 0) + shard.records
    return problems


def repair(root: Path, problems: list[Problem]) -> str:
    """Drop what is broken, so that the build's own command writes it anew. Says in one line what was done.

    Files that belong to no cache are left alone.
    """
    for left_over in root.rglob(f"*{PARTIAL}"):
        left_over.unlink()
    found = manifest.read_despite_damage(root)
    if found is None:
        return f"{root / MANIFEST} cannot be mended: build this cache anew"
    reader = open_reader(root, found)
    broken = {problem.shard.name: problem.shard for problem in problems if problem.shard}
    for shard in broken.values():  # the sidecar first: a build takes a shard with a sidecar for whole
        for name in (sidecar_name(shard.name), *reader.files(shard)):
            (root / name).unlink(missing_ok=True)
    try:
        manifest.read(root)
    except ShardCorrupt:
        whole = False
    else:
        whole = not broken
    if whole:
        write_shared_files(root, found)
        return "nothing to build anew"
    header = Header(**found.model_dump(exclude={"shards"}))
    write_atomically(root / HEADER, manifest.to_json(header))
    (root / MANIFEST).unlink()
    records = sum(shard.records for shard in broken.values())
    return f"dropped {len(broken)} of {len(found.shards)} shards ({records} records): give the build's command again"


def _files(root: Path, found: Manifest, reader: StoreReader) -> Iterator[Problem]:
    """Files that do not belong here, and those that belong to no shard."""
    shared = shared_files(found)
    for name, content in shared.items():
        if not (root / name).is_file():
            yield Problem(f"{root / name}: missing")
        elif (root / name).stat().st_size != len(content) or (root / name).read_bytes() != content:
            yield Problem(f"{root / name}: not what follows from {MANIFEST}")
    known = {MANIFEST, *shared}
    for shard in found.shards:
        known |= {sidecar_name(shard.name), *reader.files(shard)}
    for folder, _, names in os.walk(root):
        for name in sorted(names):
            path = Path(folder, name)
            if path.relative_to(root).as_posix() not in known:
                yield Problem(f"{path}: stray file, of which the manifest knows nothing")


def _shard(
    root: Path, found: Manifest, reader: StoreReader, shard: ShardInfo, first: int, on_records: Callable[[int], None]
) -> Iterator[Problem]:
    paths = [root / name for name in reader.files(shard)]
    missing = [path for path in (root / sidecar_name(shard.name), *paths) if not path.is_file()]
    for path in missing:
        yield Problem(f"{path}: missing", shard)
    if missing:
        on_records(shard.records)
        return
    length, sha256 = hash_of_files(paths)
    if length != shard.bytes:
        yield Problem(f"{root / shard.name}: {length} bytes, expected {shard.bytes}", shard)
    elif sha256 != shard.sha256:
        yield Problem(f"{root / shard.name}: sha256 {shard.sha256[:12]}… stored, {sha256[:12]}… computed", shard)
    try:
        reader.info(shard, 0)
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
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for message in pool.map(partial(_record, root, found, reader, shard, first), range(shard.records)):
            on_records(1)
            if message is not None:
                named += 1
                if named <= _RECORDS_NAMED:
                    yield Problem(message, shard)
    if named > _RECORDS_NAMED:
        yield Problem(f"{root / shard.name}: {named - _RECORDS_NAMED} more records like these", shard)


def _record(root: Path, found: Manifest, reader: StoreReader, shard: ShardInfo, first: int, index: int) -> str | None:
    """What is wrong with one record."""
    try:
        record = reader.read(shard, index)
    except CacheError as error:
        return str(error)
    wrong = _contradiction(record, found, shard, first + index)
    return f"{root / shard.name}: record {record.info.key}: {wrong}" if wrong else None


def _contradiction(record: Record, found: Manifest, shard: ShardInfo, position: int) -> str | None:
    info = record.info
    if info.view != shard.view or not info.key.startswith(f"{position:08d}_"):
        return f"of {info.view}, found at position {position} of {shard.view}"
    teacher = found.teacher
    name = fingerprint(record.input, teacher.fingerprint if teacher else "", teacher.precision if teacher else "fp32")
    if name != info.fingerprint:
        return f"fingerprint {info.fingerprint[:12]}… stored, {name[:12]}… of its input"
    answer = record.teacher
    if answer is not None and answer.dtype == np.float16 and not bool(np.all((answer >= 0) & (answer <= 1))):
        return "the teacher's answer is not in [0,1]"
    return None

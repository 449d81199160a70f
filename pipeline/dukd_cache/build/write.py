"""plan → teacher → store: the shards of a cache written by an engine, then the manifest that makes them a cache.

A shard is a pure function of the header, the teacher and its images, so anyone may write any of them, at any time and
more than once. A build that was stopped goes on where it was: whole shards stay, and of those that were being written
the answers are kept, unless it was killed. A changed build takes the answers that exist already, and asks the teacher
for the rest.
"""

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, islice
from typing import Protocol

from dukd_cache.build.answer import Teachers, answered, cut_from, take_all_cores
from dukd_cache.build.columns import with_columns
from dukd_cache.build.reuse import Answers, Tally, all_sources
from dukd_cache.build.standing import Shard, begun, commit
from dukd_cache.format.container import Packed
from dukd_cache.format.header import Header
from dukd_cache.format.lifecycle import place_for_open
from dukd_cache.format.manifest import Manifest, ShardInfo
from dukd_cache.format.record import Record
from dukd_cache.format.shards import ShardWriter
from dukd_cache.format.workers import reporting
from dukd_cache.places import Place
from dukd_cache.plan.crops import Plan
from dukd_cache.system.errors import CacheError
from dukd_cache.system.files import FULL
from dukd_cache.system.threads import in_threads, in_threads_by_turns, told

Write = Callable[[Header, Sequence[Shard]], Generator[ShardInfo, None, None]]
"""Writes shards of the cache with that header, in any order."""


@dataclass(frozen=True)
class Work:
    """What an engine needs to write shards."""

    plan: Plan
    teachers: Teachers
    """By the names of their answers."""
    out: Place
    batch_size: int
    """Inputs a teacher answers at once. A batch never spans shards."""
    reuse: tuple[Place, ...] = ()
    """Other caches, finished or not, whose answers may serve."""
    on_records: Callable[[int], None] = lambda _count: None
    """Told how many records were finished since it was last told."""
    tally: Tally = field(default_factory=Tally)
    """Counts what becomes of the records."""
    worker: str = "1-of-1"
    """Name of the one that works here."""


class Engine(Protocol):
    """Where the work is done."""

    elsewhere: bool = False
    """Teachers are asked on other machines: here, none has to answer."""

    def computes_on(self, teachers: Teachers) -> str:
        """What answers are computed on; where it is equal, they are equal bit for bit."""

    def __call__(self, work: Work, header: Header, shards: Sequence[Shard]) -> Generator[ShardInfo, None, None]:
        """Write `shards`, in any order. Closed, it leaves no thread and no process behind.

        Raises:
            ImageError: an image cannot be read. Whole shards written so far stay for the next attempt.
            AnswerError: a teacher answers with numbers that are not finite.
        """


class Local(Engine):
    """In this process. Cutting, asking, encoding and writing overlap where that helps, each bounded by a queue."""

    def computes_on(self, teachers: Teachers) -> str:
        return ", ".join(dict.fromkeys(teacher.computes_on for teacher in teachers.values()))

    def __call__(self, work: Work, header: Header, shards: Sequence[Shard]) -> Generator[ShardInfo, None, None]:
        answers = reusable(work.out, header, work.reuse) if shards else None
        with (
            reporting(work.out, work.worker, work.on_records) as on_records,
            closing(written(replace(work, on_records=on_records), header, shards, answers)) as whole,
        ):
            yield from whole


LOCAL = Local()


def written(
    work: Work, header: Header, shards: Sequence[Shard], answers: Answers | None
) -> Generator[ShardInfo, None, None]:
    """Each of `shards` when it is whole, in their order; `answers` are those that exist already."""
    left = partial(place_for_open, work.out, header) if work.teachers else None
    pieces = cut_from(work.plan, header, work.teachers)
    groups = answered(pieces, header, work.teachers, shards, work.batch_size, answers, work.tally)
    return encoded_into(ShardWriter(work.out, header, left), groups, work.teachers, shards, work.on_records)


def encoded_into(
    writer: ShardWriter,
    groups: Generator[list[Record], None, None],
    teachers: Teachers,
    shards: Sequence[Shard],
    on_records: Callable[[int], None],
) -> Generator[ShardInfo, None, None]:
    """Each of `shards` when it is whole; `groups` are of their records, which `teachers` answer."""
    # Closed here, so that no thread outlives a failure whose traceback still holds the generators.
    with closing(groups), closing(_encoded(writer, groups, teachers)) as encoded:
        for shard in shards:
            its_own = told(islice(encoded, len(shard.positions)), on_records)
            yield writer.write(shard.view.name, shard.number, its_own)


def build(work: Work, header: Header, engine: Engine = LOCAL) -> Manifest:
    """Write the cache that `header` describes, or what is missing of it.

    Raises:
        CacheError: its place holds something else, another build writes there, or the disk is full.
        PlaceError: a place cannot be reached.
        DukdError: what the engine raises.
    """
    return write_all(work.out, header, partial(engine, work), partial(kept, work))


def write_all(out: Place, header: Header, write: Write, on_kept: Callable[[int], None]) -> Manifest:
    """Write what is missing in `out`, and the manifest; `on_kept` is told how many records were there.

    Raises:
        CacheError: as `build`.
        PlaceError: as `build`.
    """
    with room(out), out.locked():
        standing = begun(out, header)
        on_kept(standing.records)
        with closing(write(standing.header, standing.missing)) as written:
            for info in written:
                standing.whole[info.name] = info
        return commit(standing)


def kept(work: Work, records: int) -> None:
    """Count records that lie in whole shards already."""
    work.tally.kept += records
    work.on_records(records)


def _encoded(writer: ShardWriter, groups: Iterable[list[Record]], teachers: Teachers) -> Generator[Packed, None, None]:
    def encode(record: Record) -> Packed:
        return writer.encode(with_columns(record, writer.header.columns))

    if take_all_cores(teachers):
        return in_threads_by_turns(encode, groups)
    return in_threads(encode, chain.from_iterable(groups))


def reusable(out: Place, header: Header, others: Sequence[Place]) -> Answers | None:
    """What was answered before, for this cache or for others."""
    places = all_sources(out, others) if header.answers else []
    return Answers(places, header) if places else None


@contextmanager
def room(out: Place) -> Iterator[None]:
    """A full disk in the block becomes a CacheError that says how to go on."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise CacheError(
            os.strerror(error.errno),
            error.filename or out,
            cure="make room, then run the same command again",
        ) from error

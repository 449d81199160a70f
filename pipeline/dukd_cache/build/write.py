"""plan → teacher → store. Cutting, asking, encoding and writing overlap where that helps, each bounded by a queue.

A build that was stopped goes on where it was: whole shards stay, open ones are done again. A changed build takes the
answers that exist already, and asks the teacher for the rest.
"""

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from functools import cached_property
from itertools import chain, islice

from dukd_cache.build.answer import Shard, Teachers, answered, take_all_cores
from dukd_cache.build.reuse import Answers, Tally, all_sources
from dukd_cache.format import manifest
from dukd_cache.format.container import Packed
from dukd_cache.format.lifecycle import claim, finish
from dukd_cache.format.manifest import Header, Manifest, shard_ranges
from dukd_cache.format.record import Record
from dukd_cache.format.shards import ShardWriter, write_shared_files
from dukd_cache.places import Place
from dukd_cache.plan.crops import Plan
from dukd_cache.system.errors import CacheError
from dukd_cache.system.files import FULL
from dukd_cache.system.threads import in_threads, in_threads_by_turns, told


def build(
    plan: Plan,
    header: Header,
    teachers: Teachers,
    out: Place,
    *,
    batch_size: int,
    on_records: Callable[[int], None] = lambda _count: None,
    reuse: Iterable[Place] = (),
    tally: Tally | None = None,
) -> Manifest:
    """Write the cache that `header` describes into `out`, or what is missing of it.

    Args:
        teachers: by the names of their answers.
        batch_size: inputs a teacher answers at once. A batch never spans shards.
        on_records: told how many records were finished since it was last told.
        reuse: other caches, finished or not, whose answers may serve.
        tally: counts what becomes of the records.

    Raises:
        CacheError: `out` holds something else, another build writes there, or the disk is full.
        PlaceError: `out`, or one of `reuse`, cannot be reached.
        ImageError: an image cannot be read. Whole shards written so far stay for the next attempt.
    """
    tally = tally or Tally()
    writer = ShardWriter(out, header)
    reusable = _Reusable(out, header, reuse)
    with _room(out), out.locked():
        claim(out, header)
        shards = shards_of(header)
        whole = [writer.finished(shard.view.name, shard.number, len(shard.positions)) for shard in shards]
        missing = [shard for shard, done in zip(shards, whole, strict=True) if done is None]
        kept = sum(done.records for done in whole if done)
        tally.kept += kept
        on_records(kept)
        answers = reusable.answers if missing else None
        # Closed here, so that no thread outlives a failure whose traceback still holds the generators.
        with (
            closing(answered(plan, header, teachers, missing, batch_size, answers, tally)) as groups,
            closing(_encoded(writer, groups, teachers)) as encoded,
        ):
            written = []
            for shard, done in zip(shards, whole, strict=True):
                its_own = told(islice(encoded, len(shard.positions)), on_records)
                written.append(done or writer.write(shard.view.name, shard.number, its_own))
        finished = Manifest(**dict(header), shards=tuple(written))
        write_shared_files(out, header)
        manifest.write(finished, out)
        finish(out)
    return finished


def shards_of(header: Header) -> list[Shard]:
    """All shards of a cache, in the order they are written."""
    return [
        Shard(view, number, positions)
        for view in header.views
        for number, positions in enumerate(shard_ranges(header.total(view), view.shard_records))
    ]


def _encoded(writer: ShardWriter, groups: Iterable[list[Record]], teachers: Teachers) -> Generator[Packed, None, None]:
    if take_all_cores(teachers):
        return in_threads_by_turns(writer.encode, groups)
    return in_threads(writer.encode, chain.from_iterable(groups))


class _Reusable:
    """Answers to reuse, looked for when the first of them is needed."""

    def __init__(self, out: Place, header: Header, others: Iterable[Place]) -> None:
        self._out, self._header, self._others = out, header, tuple(others)

    @cached_property
    def answers(self) -> Answers | None:
        places = all_sources(self._out, self._others)
        return Answers(places, self._header) if self._header.answers and places else None


@contextmanager
def _room(out: Place) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise CacheError(
            os.strerror(error.errno),
            error.filename or out,
            cure="make room, then the same command goes on where this one stopped",
        ) from error

"""One more answer in each record of a finished cache: its shards are written again, with the other answers as they are.

The new shards are staged beside the old ones, which serve until all of the new are whole; then they change places. Only
that last step leaves the cache unfinished where it is interrupted, and it needs neither teacher nor images to go on.
"""

from collections.abc import Callable
from contextlib import closing

from dukd_cache.build.answer import Teachers, answered, stored_in
from dukd_cache.build.reuse import Tally
from dukd_cache.build.standing import Standing, commit
from dukd_cache.build.write import encoded_into, room
from dukd_cache.format import manifest
from dukd_cache.format.header import AnswerInfo, Header
from dukd_cache.format.lifecycle import interrupted, staged, unstage
from dukd_cache.format.manifest import Manifest
from dukd_cache.format.reader import Cache
from dukd_cache.format.shards import ShardWriter
from dukd_cache.places import Place
from dukd_cache.system.errors import CacheError

WORK = "addition of an answer"
"""What a second writer is told."""


def add_answer(
    source: Cache,
    header: Header,
    teachers: Teachers,
    batch_size: int,
    tally: Tally,
    on_records: Callable[[int], None] = lambda _count: None,
) -> Manifest:
    """Make the cache `source` that which `header` describes, with the answers of `teachers`, which it lacks.

    Args:
        batch_size: inputs a teacher answers at once. A batch never spans shards.
        tally: counts what becomes of the records.
        on_records: told how many records were finished since it was last told.

    Raises:
        BusyError: another process writes there.
        ShardCorrupt: a record is damaged. The cache stays as it is, as for all that follows.
        AnswerError: a teacher answers with numbers that are not finite.
        CacheError: the disk is full.
        PlaceError: the place cannot be reached.
    """
    out = source.place
    with room(out), out.locked(WORK):
        if manifest.opened(out)[1] != source.digest:
            raise CacheError("another cache now than when it was opened", out)
        stage = staged(out, header)
        stage.sweep()
        standing = Standing(stage, header)
        tally.kept += standing.records
        on_records(standing.records)
        stage.delete(standing.broken)
        groups = answered(stored_in(source), header, teachers, standing.missing, batch_size, None, tally)
        writer = ShardWriter(stage, header)
        with closing(encoded_into(writer, groups, teachers, standing.missing, on_records)) as written:
            for _ in written:
                pass
        unstage(out, header)
        return commit(Standing(out, header))


def finish_addition(out: Place, info: AnswerInfo) -> None:
    """End the change of places that was interrupted in `out`, if there is one that adds answers like these.

    Raises:
        BusyError: another process writes there.
        PlaceError: the place cannot be reached.
    """

    def adds(header: Header) -> bool:
        return any((each.asked, each.of) == (info.asked, info.of) for each in header.answers.values())

    if header := interrupted(out, adds):
        with room(out), out.locked(WORK):
            unstage(out, header)
            commit(Standing(out, header))

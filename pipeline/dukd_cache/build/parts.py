"""A build by several processes, on one machine or many: each writes its part of the shards, the last one commits.

Parts run at once or one after another, and their number may change between attempts: what is whole stays, whoever
wrote it. Two that write the same shard write the same bytes.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager

from dukd_cache.build.standing import Standing, commit, shards_of
from dukd_cache.build.write import LOCAL, Engine, Work, kept, room
from dukd_cache.format import manifest
from dukd_cache.format.header import Header
from dukd_cache.format.index import index_name
from dukd_cache.format.lifecycle import header_of
from dukd_cache.format.manifest import MANIFEST, Manifest, shard_name
from dukd_cache.places import Place
from dukd_cache.settings.part import Part
from dukd_cache.system.errors import BusyError, CacheError
from dukd_cache.system.lock import PART
from dukd_cache.system.terminal import tell_once

START = "start of a build by parts"
"""What the one is at that comes first: the images are identified once for all."""

_LOOK_S = 1.0
"""Between two looks whether the first one is done."""


@contextmanager
def joined(out: Place, start: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """Write into `out` together with other parts; `start` is called by one that is alone there, before it joins.

    What the block is given says that no part has anything left to write.

    Raises:
        BusyError: a whole build writes there, or what `start` raises.
    """
    while True:
        try:
            with out.locked(START):
                start()
        except BusyError as other:
            if other.work == START:
                tell_once(f"{out}: waiting for another part, which identifies the images for all")
                time.sleep(_LOOK_S)
                continue
            if other.work != PART:
                raise
        with ExitStack() as inside:
            try:
                free = inside.enter_context(out.joined())
            except BusyError:  # one that came in between; what it is at shows in the next turn
                time.sleep(_LOOK_S)
                continue
            yield free
            return


def build_part(
    work: Work, header: Header, part: Part, free: Callable[[], None], engine: Engine = LOCAL
) -> Manifest | None:
    """Write what is missing of `part` of the shards; `work.out` is joined. The manifest, if all are whole then.

    Raises:
        CacheError: others write another cache there, or compute on something else.
        DukdError: what the engine raises.
    """
    out = work.out
    with room(out):
        there = header_of(out)
        if there is None or not there.like(header):
            raise CacheError("parts of another cache are built here", out, cure="choose another folder")
        own = Standing(out, there, part.of(shards_of(there)))
        if own.missing and there.computed not in (None, header.computed):
            raise CacheError(
                f"other parts compute on {there.computed}, this one on {header.computed or 'workers of several kinds'}",
                out,
                cure="compute alike, or give `mixed_workers=true` to all: answers may then differ by a level",
            )
        try:
            return _written(work, own, free, engine)
        except CacheError:  # in a store, the lock goes with the last part: this one may still have been at its end
            if out.size(MANIFEST) is None or not (finished := manifest.read(out)).header.like(header):
                raise
            return finished


def _written(work: Work, own: Standing, free: Callable[[], None], engine: Engine) -> Manifest | None:
    out, header = own.out, own.header
    kept(work, own.records)
    with closing(engine(work, header, own.missing)) as written:
        for _ in written:
            pass
    if not _all_named(out, header):
        return None
    standing = Standing(out, header)
    if standing.missing:
        return None
    finished = commit(standing)
    free()
    return finished


def _all_named(out: Place, header: Header) -> bool:
    """Whether there is an index of each shard: one list of names, where to read all of them costs a request each."""
    there, store = out.sizes(), header.encoding.store
    return all(index_name(shard_name(store, shard.view.name, shard.number)) in there for shard in shards_of(header))

"""How far a cache is: which of its shards are whole, and which are missing. Loads no teacher and no image."""

from collections.abc import Sequence
from dataclasses import dataclass

from dukd_cache.format import manifest
from dukd_cache.format.header import Header, ViewInfo
from dukd_cache.format.index import index_name
from dukd_cache.format.lifecycle import claim, finish, refuse_other_kind, reopen
from dukd_cache.format.manifest import MANIFEST, Manifest, ShardInfo, shard_name, shard_ranges
from dukd_cache.format.shards import ShardWriter, write_shared_files
from dukd_cache.places import Place
from dukd_cache.system.threads import in_threads

_LOOKED_AT_ONCE = 16
"""Indices: in a store each is a request, which takes the time of a round trip."""


@dataclass(frozen=True)
class Shard:
    """A shard to write: records `positions` of the stream of `view`."""

    view: ViewInfo
    number: int
    positions: range


def shards_of(header: Header) -> list[Shard]:
    """All shards of a cache, in the order they are written."""
    return [
        Shard(view, number, positions)
        for view in header.views
        for number, positions in enumerate(shard_ranges(header.total(view), view.shard_records))
    ]


class Standing:
    """How far a cache is, or `shards` of it. Of a finished one shards are whole that are those of its manifest."""

    def __init__(self, out: Place, header: Header, shards: Sequence[Shard] | None = None) -> None:
        self.out, self.header = out, header
        self.shards = shards_of(header) if shards is None else shards
        writer, sizes = ShardWriter(out, header), out.sizes()
        known = {*manifest.read(out).shards} if MANIFEST in sizes else None

        def finished(shard: Shard) -> ShardInfo | None:
            found = writer.finished(shard.view.name, shard.number, len(shard.positions), sizes)
            return found if known is None or found in known else None

        found = in_threads(finished, self.shards, _LOOKED_AT_ONCE)
        self.whole = {info.name: info for info in found if info is not None}
        """By their names."""
        self.broken = [name for shard in self.missing if (name := index_name(self.name(shard))) in sizes]
        """Indices that are there and not of a whole shard."""

    def name(self, shard: Shard) -> str:
        """Of that shard's file."""
        return shard_name(self.header.encoding.store, shard.view.name, shard.number)

    @property
    def missing(self) -> list[Shard]:
        """Shards that are not whole, in the order in which they are written."""
        return [shard for shard in self.shards if self.name(shard) not in self.whole]

    @property
    def records(self) -> int:
        """In whole shards."""
        return sum(info.records for info in self.whole.values())


def begun(out: Place, header: Header) -> Standing:
    """How far `out` is, which is locked, once it is `claim`ed for the cache that `header` describes.

    A finished cache that lost shards is unfinished from then on, and goes on only with workers of its own kind, or
    with those of any.

    Raises:
        CacheError: as `claim`, or something was lost and these workers are of another kind.
    """
    standing = Standing(out, claim(out, header))
    lost = bool(standing.missing) and out.size(MANIFEST) is not None
    if lost and standing.header.computed not in (None, header.computed):
        refuse_other_kind(out, standing.header, header)
        standing.header = header
    # Here only, where nobody else writes: what a shard's writer removed late could be another's.
    out.delete(standing.broken)
    if lost:
        reopen(out, standing.header)
    return standing


def commit(standing: Standing) -> Manifest:
    """Make whole shards a finished cache. Of several who do so at once, each does the same."""
    out, header = standing.out, standing.header
    finished = Manifest.of(header, (standing.whole[standing.name(shard)] for shard in standing.shards))
    write_shared_files(out, header)
    out.sweep()
    manifest.write(finished, out)
    finish(out)
    return finished

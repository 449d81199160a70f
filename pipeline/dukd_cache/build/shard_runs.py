"""Shards that are to be written by many, as runs of those that follow one another; again where a worker died."""

from collections import Counter, deque
from collections.abc import Sequence

from dukd_cache.build.standing import Shard
from dukd_cache.format.manifest import ShardInfo, shard_name
from dukd_cache.format.shards import ShardWriter
from dukd_cache.system.errors import CacheError

DEATHS = 3
"""Of workers at one shard: more would not help."""


class ShardRuns:
    """Who gives them out, and hears of them."""

    def __init__(self, shards: Sequence[Shard], most: int, writer: ShardWriter) -> None:
        self._shards, self._most, self._writer = shards, most, writer
        self._given = 0
        self._again: deque[list[Shard]] = deque()
        self._deaths: Counter[str] = Counter()
        self._twice: dict[str, tuple[Shard, ShardInfo | None]] = {}
        """What more than one worker was asked for."""
        self.left = len(shards)
        """Shards that nobody told of yet."""

    def take(self, workers: int) -> list[Shard]:
        """The next run, none where all are given out; short towards the end, so that no worker waits for another."""
        if self._again:
            return self._again.popleft()
        size = max(1, min(self._most, (len(self._shards) - self._given) // max(1, workers)))
        ahead = self._shards[self._given : self._given + size]
        run = [
            shard
            for number, shard in enumerate(ahead, ahead[0].number if ahead else 0)
            if shard.number == number and shard.view.name == ahead[0].view.name
        ]
        self._given += len(run)
        return run

    def lost(self, shards: list[Shard]) -> None:
        """These were asked of a worker that died, at the first of them as far as is known.

        Raises:
            CacheError: so did others.
        """
        if not shards:
            return
        name = self._name(shards[0])
        self._deaths[name] += 1
        if self._deaths[name] == DEATHS:
            cure = "look for its images, or give each worker more memory; then run the same command again"
            raise CacheError(f"{DEATHS} workers died at this shard", self._writer.place.at(name), cure)
        self._twice |= {self._name(shard): (shard, None) for shard in shards}
        self._again.extend(filter(None, (shards[:1], shards[1:])))

    def whole(self, info: ShardInfo) -> None:
        """This one was told of. When all are, those that were asked for twice are looked at.

        A worker that was taken for dead may have written late, one of another kind also other bytes.
        """
        self.left -= 1
        if info.name in self._twice:
            self._twice[info.name] = (self._twice[info.name][0], info)
        if not self.left:
            twice, self._twice = self._twice, {}
            for shard, found in twice.values():
                if found is None or not self._writer.holds(found):
                    self.left += 1
                    self.lost([shard])

    def _name(self, shard: Shard) -> str:
        return shard_name(self._writer.header.encoding.store, shard.view.name, shard.number)

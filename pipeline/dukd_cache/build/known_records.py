"""Which records of a plan a build would find answered, told without reading a pixel.

A build compares pixels, which takes as long as cutting them all. Here records are compared by where they are cut: hash
of the image file, view and place. That tells the same, except that LR files of the user's own may have changed unseen:
then it is the most that can be reused.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from dukd_cache.build.reuse import Source, Tally, all_sources, useful_shards
from dukd_cache.build.write import shards_of
from dukd_cache.format.lifecycle import header_of
from dukd_cache.format.manifest import Header, View
from dukd_cache.format.record import RecordInfo
from dukd_cache.format.stores import StoreWriter
from dukd_cache.places import Place
from dukd_cache.plan.crops import Plan, box_side
from dukd_cache.system.errors import CacheError

E = TypeVar("E")
U64 = npt.NDArray[np.uint64]

_IMAGES_AT_ONCE = 4096
_ODD = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F))
"""Multipliers that spread x and y over 64 bits."""


@dataclass(frozen=True)
class Existing:
    """What is there already of a cache that is to be built."""

    plan: Plan
    header: Header
    places: tuple[Place, ...]
    """Whose answers may serve."""
    kept: dict[View, npt.NDArray[np.bool_]]
    """For each shard, whether it is whole and stays."""

    def tally(self, view: View) -> Tally:
        """What would become of the records of `view`."""
        total = self.plan.total(view)
        known = self._known(view)
        kept, per_shard = self.kept[view], self.header.encoding.shard_records[view]
        count, tally = self.plan.spec.count(view), Tally()
        for first in range(0, len(self.plan.images), _IMAGES_AT_ONCE) if len(known) or kept.any() else ():
            keys = self._keys(view, first, first + _IMAGES_AT_ONCE)
            stays = kept[(np.arange(len(keys)) + first * count) // per_shard]
            tally.kept += int(stays.sum())
            if len(known):
                found = known[np.minimum(np.searchsorted(known, keys), len(known) - 1)] == keys
                tally.reused += int((found & ~stays).sum())
        tally.asked = total - tally.kept - tally.reused if self.header.teacher else 0
        return tally

    def _known(self, view: View) -> U64:
        """Keys of all stored records of `view`, sorted."""
        found = [np.empty(0, np.uint64)]
        if self.header.teacher is not None:
            for source in useful_shards(self.places, self.header.teacher, self.header.encoding.dtype):
                if source.shard.view == view and _cut_alike(source.header, self.header, view):
                    found.append(_stored_keys(source))
        return np.unique(np.concatenate(found))

    def _keys(self, view: View, first: int, last: int) -> U64:
        images = self.plan.images[first:last]
        hashes = np.fromiter((int(image.sha256[:16], 16) for image in images), np.uint64, len(images))
        corners = self.plan.corners(view, first, last).astype(np.uint64)
        return _mixed(hashes[:, None], corners[..., 0], corners[..., 1]).reshape(-1)


def existing(plan: Plan, header: Header, store: StoreWriter[E], out: Place, others: Iterable[Place]) -> Existing:
    """What `out`, whose writer is `store`, and the caches `others` hold of the cache that `header` describes."""
    places, same = all_sources(out, others), header_of(out) == header
    if not same:
        places = [out, *places]
    kept: dict[View, list[bool]] = {view: [] for view in plan.spec.views}
    for shard in shards_of(plan, header):
        whole = same and store.finished(shard.view, shard.number, len(shard.positions)) is not None
        kept[shard.view].append(whole)
    return Existing(plan, header, tuple(places), {view: np.array(whole, bool) for view, whole in kept.items()})


def _cut_alike(there: Header, asked: Header, view: View) -> bool:
    """Equal places of equal images hold equal pixels."""
    one, other = there.spec, asked.spec
    return (one.scale, box_side(one, view)) == (other.scale, box_side(other, view)) and (
        view == "zoom_in" or there.images.lr == asked.images.lr
    )


def _stored_keys(source: Source) -> U64:
    try:
        infos = list(_infos(source))
    except (CacheError, ValueError):  # gone or damaged since: its records are asked for again
        return np.empty(0, np.uint64)
    hashes = np.fromiter((int(info.image_sha256[:16], 16) for info in infos), np.uint64, len(infos))
    corners = np.array([(info.x, info.y) for info in infos], np.uint64).reshape(-1, 2)
    return _mixed(hashes, corners[:, 0], corners[:, 1])


def _infos(source: Source) -> Iterator[RecordInfo]:
    reader = source.reader()
    for index in range(source.shard.records):
        yield reader.info(source.shard, index)


def _mixed(image: U64, x: U64, y: U64) -> U64:
    """One number for a place of an image; another place has another one, but for about 1 in 10¹¹ among a million."""
    mixed: U64 = image ^ (x * _ODD[0] + np.uint64(1)) ^ ((y + np.uint64(1)) * _ODD[1])
    return mixed

"""plan → teacher → store. Cutting, asking, encoding and writing overlap, each bounded by a queue.

A build that was stopped goes on where it was: whole shards stay, open ones are done again. A changed build takes the
answers that exist already, and asks the teacher for the rest.
"""

import errno
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np

from dukd_cache import manifest
from dukd_cache.errors import CacheError, ImageError
from dukd_cache.folder import claim, finish
from dukd_cache.images import Scene, read_scene
from dukd_cache.lock import locked
from dukd_cache.manifest import Header, Manifest, ShardInfo, View
from dukd_cache.plan import Crop, Plan, shard_ranges
from dukd_cache.prefetch import prefetch, spread, told
from dukd_cache.record import Answer, Record, fingerprint, info_of
from dukd_cache.reuse import Answers, Tally, all_sources
from dukd_cache.stores import StoreWriter
from dukd_cache.stores.choice import write_shared_files
from dukd_cache.teacher import Teacher
from dukd_cache.views import Cut, cut

_BATCHES_AHEAD = 4

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

E = TypeVar("E")


@dataclass(frozen=True)
class Shard:
    """A shard to write: records `positions` of the stream of `view`."""

    view: View
    number: int
    positions: range


def build(
    plan: Plan,
    header: Header,
    teacher: Teacher | None,
    store: StoreWriter[E],
    out: Path,
    *,
    batch_size: int,
    on_records: Callable[[int], None] = lambda _count: None,
    reuse: Iterable[Path] = (),
    tally: Tally | None = None,
) -> Manifest:
    """Write the cache that `header` describes into `out`, or what is missing of it.

    Args:
        batch_size: inputs the teacher answers at once. A batch never spans shards.
        on_records: told how many records were finished since it was last told.
        reuse: other caches, finished or not, whose answers may serve.
        tally: counts what becomes of the records.

    Raises:
        CacheError: `out` holds something else, another build writes there, or the disk is full.
        ImageError: an image cannot be read. Whole shards written so far stay for the next attempt.
    """
    tally = tally or Tally()
    reusable = _Reusable(out, header, reuse)
    with _room(out), locked(out):
        claim(out, header)
        shards: list[ShardInfo] = []
        for shard in shards_of(plan, header):
            done = store.finished(shard.view, shard.number, len(shard.positions))
            if done is None:
                # Closed here, so that no thread outlives a failure whose traceback still holds the generators.
                with (
                    closing(_records(plan, header, teacher, shard, batch_size, reusable.answers, tally)) as records,
                    closing(spread(store.encode, records)) as encoded,
                ):
                    done = store.write(shard.view, shard.number, told(encoded, on_records))
            else:
                tally.kept += done.records
                on_records(done.records)
            shards.append(done)
        finished = Manifest(**header.model_dump(), shards=tuple(shards))
        write_shared_files(out, finished)
        manifest.write(finished, out)
        finish(out)
    return finished


def shards_of(plan: Plan, header: Header) -> list[Shard]:
    """All shards of a cache, in the order they are written."""
    return [
        Shard(view, number, positions)
        for view in plan.spec.views
        for number, positions in enumerate(shard_ranges(plan.total(view), header.encoding.shard_records[view]))
    ]


class _Reusable:
    """Answers to reuse, looked for when the first of them is needed."""

    def __init__(self, out: Path, header: Header, others: Iterable[Path]) -> None:
        self._out, self._header, self._others = out, header, tuple(others)
        all_sources(out, self._others)  # a wrong --reuse is told at once

    @cached_property
    def answers(self) -> Answers | None:
        teacher, folders = self._header.teacher, all_sources(self._out, self._others)
        return Answers(folders, teacher, self._header.encoding.dtype) if teacher and folders else None


@contextmanager
def _room(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK_FULL:
            raise
        raise CacheError(
            f"{out}: {os.strerror(error.errno)}; make room, then the same command goes on where this one stopped"
        ) from error


@dataclass(frozen=True)
class _Piece:
    """A cut, with its answer where one is stored already."""

    cut: Cut
    fingerprint: str
    answer: Answer | None


def _records(
    plan: Plan,
    header: Header,
    teacher: Teacher | None,
    shard: Shard,
    batch_size: int,
    answers: Answers | None,
    tally: Tally,
) -> Generator[Record, None, None]:
    """The records of one shard, the teacher asked batch by batch in a thread of its own."""
    crops = plan.crops(shard.view, shard.positions.start, shard.positions.stop)
    # Both are closed here, so that no thread is left when the program ends by a signal: one that dies inside torch
    # takes the process with it.
    with (
        closing(
            prefetch(_grouped(_looked_up(_cuts(crops, plan), header, answers), batch_size), _BATCHES_AHEAD)
        ) as groups,
        closing(
            prefetch((_answered(teacher, group, header, batch_size) for group in groups), _BATCHES_AHEAD)
        ) as answered,
    ):
        position = shard.positions.start
        for group, new in answered:
            if teacher is not None:
                tally.asked += new
                tally.reused += len(group) - new
            for piece in group:
                info = info_of(piece.cut.crop, position, piece.fingerprint)
                yield Record(info, piece.cut.input, piece.answer, piece.cut.truth)
                position += 1


def _looked_up(cuts: Iterable[Cut], header: Header, answers: Answers | None) -> Iterator[_Piece]:
    name = header.teacher.fingerprint if header.teacher else ""
    precision = header.teacher.precision if header.teacher else "fp32"
    for piece in cuts:
        key = fingerprint(piece.input, name, precision)
        yield _Piece(piece, key, answers.find(key, piece.input) if answers else None)


def _grouped(pieces: Iterable[_Piece], batch_size: int) -> Iterator[list[_Piece]]:
    """Groups that each hold `batch_size` pieces without an answer, the last fewer; any number with one."""
    group: list[_Piece] = []
    missing = 0
    for piece in pieces:
        group.append(piece)
        missing += piece.answer is None
        if missing == batch_size:
            yield group
            group, missing = [], 0
    if group:
        yield group


def _answered(
    teacher: Teacher | None, group: list[_Piece], header: Header, batch_size: int
) -> tuple[list[_Piece], int]:
    """The group with all its answers, and how many of them the teacher gave.

    It is always asked for a whole batch, filled up with repeats: networks round differently in batches of other sizes,
    so an answer would otherwise depend on what else was missing.
    """
    missing = [place for place, piece in enumerate(group) if piece.answer is None]
    if teacher is None or not missing:
        return group, 0
    filled = [missing[place % len(missing)] for place in range(batch_size)]
    answers = teacher(np.stack([group[place].cut.input for place in filled]), header.encoding.dtype)
    for place, answer in zip(missing, answers, strict=False):
        group[place] = replace(group[place], answer=answer)
    return group, len(missing)


def _cuts(crops: Iterable[Crop], plan: Plan) -> Iterator[Cut]:
    """Crops of one image follow one another: its pixels are read once."""
    name, scene = None, None
    for crop in crops:
        if scene is None or crop.image.name != name:
            name, scene = crop.image.name, _scene(crop, plan)
        yield cut(crop, plan.spec, scene)


def _scene(crop: Crop, plan: Plan) -> Scene:
    image, scale = crop.image, plan.spec.scale
    scene = read_scene(image.path, image.lr, scale)
    if scene.lr.shape[:2] != (image.height // scale, image.width // scale):
        raise ImageError(
            f"{image.path}: changed since its header was read: expected {image.width}×{image.height} pixels, "
            f"found about {scene.hr.shape[1]}×{scene.hr.shape[0]}"
        )
    return scene

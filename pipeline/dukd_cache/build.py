"""plan → teacher → store. Cutting, asking, encoding and writing overlap, each bounded by a queue.

A build that was stopped goes on where it was: whole shards stay, open ones are done again.
"""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from pydantic import ValidationError

from dukd_cache import manifest
from dukd_cache.errors import CacheError, ImageError
from dukd_cache.files import PARTIAL, write_atomically
from dukd_cache.images import Scene, read_scene
from dukd_cache.manifest import Header, Manifest, ShardInfo, View
from dukd_cache.plan import Crop, Plan, shard_ranges
from dukd_cache.prefetch import prefetch
from dukd_cache.record import Record, fingerprint, info_of
from dukd_cache.stores import StoreWriter
from dukd_cache.stores.choice import write_shared_files
from dukd_cache.teacher import Teacher
from dukd_cache.views import Cut, cut

HEADER = "building.json"
"""What an unfinished cache is going to be; removed when the manifest is there."""

_BATCHES_AHEAD = 4

T = TypeVar("T")
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
) -> Manifest:
    """Write the cache that `header` describes into `out`, or what is missing of it.

    Args:
        batch_size: inputs the teacher answers at once. A batch never spans shards.
        on_records: told how many records were finished since it was last told.

    Raises:
        CacheError: `out` holds something else.
        ImageError: an image cannot be read. Whole shards written so far stay for the next attempt.
    """
    claim(out, header)
    shards: list[ShardInfo] = []
    for shard in shards_of(plan, header):
        done = store.finished(shard.view, shard.number, len(shard.positions))
        if done is None:
            # Closed here, so that no thread outlives a failure whose traceback still holds the generators.
            with (
                closing(_records(plan, header, teacher, shard, batch_size)) as records,
                closing(_encoded(records, store)) as encoded,
            ):
                done = store.write(shard.view, shard.number, _told(encoded, on_records))
        else:
            on_records(done.records)
        shards.append(done)
    finished = Manifest(**header.model_dump(), shards=tuple(shards))
    write_shared_files(out, finished)
    manifest.write(finished, out)
    (out / HEADER).unlink(missing_ok=True)
    return finished


def shards_of(plan: Plan, header: Header) -> list[Shard]:
    """All shards of a cache, in the order they are written."""
    return [
        Shard(view, number, positions)
        for view in plan.spec.views
        for number, positions in enumerate(shard_ranges(plan.total(view), header.encoding.shard_records[view]))
    ]


def claim(out: Path, header: Header) -> None:
    """Make `out` the folder of the cache that `header` describes.

    Raises:
        CacheError: it holds another cache, finished or not, or files that are no cache.
    """
    if out.exists() and not out.is_dir():
        raise CacheError(f"{out}: expected a folder, found a file")
    if (out / manifest.MANIFEST).is_file():
        _same(out, manifest.read(out), header)
    elif (out / HEADER).is_file():
        try:
            begun = Header.model_validate_json((out / HEADER).read_bytes())
        except ValidationError as error:
            raise CacheError(f"{out / HEADER}: not the header of a cache; choose another --out") from error
        _same(out, begun, header)
    elif out.is_dir() and any(path.name != HEADER + PARTIAL for path in out.iterdir()):
        raise CacheError(f"{out}: holds something that is no cache; choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    for left_over in out.rglob(f"*{PARTIAL}"):
        left_over.unlink()
    if not (out / manifest.MANIFEST).is_file():
        write_atomically(out / HEADER, manifest.to_json(header))


def _same(out: Path, there: Header, asked: Header) -> None:
    found, wanted = there.model_dump(exclude={"shards"}), asked.model_dump()
    for section, value in wanted.items():
        if found[section] == value:
            continue
        here = found[section]
        if isinstance(value, dict) and isinstance(here, dict):
            key = next(key for key in {**value, **here} if here.get(key) != value.get(key))
            section, here, value = f"{section}.{key}", here.get(key), value.get(key)
        raise CacheError(
            f"{out}: holds a cache with {section} = {_short(here)}, asked for {_short(value)}; choose another --out"
        )


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}…"


def _records(
    plan: Plan, header: Header, teacher: Teacher | None, shard: Shard, batch_size: int
) -> Generator[Record, None, None]:
    """The records of one shard, the teacher asked batch by batch in a thread of its own."""
    crops = plan.crops(shard.view, shard.positions.start, shard.positions.stop)
    batches = prefetch(_batched(_cuts(crops, plan), batch_size), _BATCHES_AHEAD)
    answered = prefetch((_answer(teacher, batch, header) for batch in batches), _BATCHES_AHEAD)
    position = shard.positions.start
    for batch in answered:
        for piece, answer in batch:
            name = fingerprint(
                piece.input,
                header.teacher.fingerprint if header.teacher else "",
                header.teacher.precision if header.teacher else "fp32",
            )
            yield Record(info_of(piece.crop, position, name), piece.input, answer, piece.truth)
            position += 1


def _answer(teacher: Teacher | None, batch: list[Cut], header: Header) -> list[tuple[Cut, np.ndarray | None]]:
    if teacher is None:
        return [(piece, None) for piece in batch]
    answers = teacher(np.stack([piece.input for piece in batch]), header.encoding.dtype)
    return list(zip(batch, answers, strict=True))


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


def _batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    batch: list[T] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _encoded(records: Iterable[Record], store: StoreWriter[E]) -> Generator[E, None, None]:
    """Records encoded on all cores, in order, a bounded number of them ahead."""
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[E]] = deque()
        for record in records:
            waiting.append(pool.submit(store.encode, record))
            if len(waiting) > 4 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _told(records: Iterable[E], on_records: Callable[[int], None]) -> Iterator[E]:
    for record in records:
        yield record
        on_records(1)

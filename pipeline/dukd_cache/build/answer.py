"""crops, or stored records → records with teachers' answers: cutting runs ahead, a GPU is asked by a thread of its own.

One chain serves all shards of a build, so that the teacher does not wait at the end of one for the next to begin. A
teacher on a CPU takes all cores while it answers: there, asking and encoding take turns.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType

import numpy as np

from dukd_cache.build.reuse import Answers, Tally
from dukd_cache.build.standing import Shard
from dukd_cache.build.teacher import Teacher
from dukd_cache.format.header import AnswerInfo, Header
from dukd_cache.format.reader import Cache
from dukd_cache.format.record import Pixels, Record, RecordInfo, fingerprint, key_of
from dukd_cache.pictures.sources import Scene, scene_of
from dukd_cache.plan.crops import Crop, Cut, Plan, cut
from dukd_cache.system.arrays import U8
from dukd_cache.system.errors import AnswerError
from dukd_cache.system.threads import in_threads, on_one_core, prefetch, usable_cores

_BATCHES_AHEAD = 2
"""Cut and waiting for the teacher; and as many answered and waiting to be encoded."""


Teachers = Mapping[str, Teacher]
"""By the names of their answers; none for a cache of pairs."""


@dataclass(frozen=True)
class Piece:
    """A record before teachers are asked about it."""

    crop: object
    """Where it is cut, for people."""
    info: RecordInfo
    arrays: dict[str, Pixels]
    question: Callable[[AnswerInfo], U8]
    """What the teacher is asked whose answers are described."""
    answers: dict[str, Pixels]
    """Those that are known; their fingerprints are in `info`."""


Pieces = Callable[[Shard], Iterable[Piece]]
"""What a shard is to hold, in its order."""


@dataclass(frozen=True)
class _Question:
    """What a teacher was asked."""

    indices: list[int]
    """Which pieces of the group it is about."""
    wait: Callable[[], Pixels]
    """Waits for the answers to them; what fills the batch up is last."""


@dataclass(frozen=True)
class _Group:
    """Pieces of one shard, which have all answers once those that were asked for have come."""

    pieces: list[Piece]
    asked: dict[str, _Question]

    def records(self) -> list[Record]:
        """The pieces as records, without their columns.

        Raises:
            AnswerError: a teacher answers with numbers that are not finite.
        """
        answers = [dict(piece.answers) for piece in self.pieces]
        for name, question in self.asked.items():
            try:
                found = question.wait()
            except AnswerError as error:
                first = self.pieces[question.indices[error.indices[0] % len(question.indices)]].crop
                raise error.about(first) from error
            for index, answer in zip(question.indices, found, strict=False):
                answers[index][name] = answer
        both = zip(self.pieces, answers, strict=True)
        return [Record(piece.info, {**piece.arrays, **given}) for piece, given in both]


def answered(
    pieces_of: Pieces,
    header: Header,
    teachers: Teachers,
    shards: Iterable[Shard],
    batch_size: int,
    answers: Answers | None,
    tally: Tally,
) -> Generator[list[Record], None, None]:
    """The records of `shards`, one after another, in the groups in which they are answered; without their columns.

    Args:
        batch_size: inputs a teacher answers at once. A batch never spans shards.
        answers: those that exist already.
        tally: counts where answers come from.

    Raises:
        ImageError: an image cannot be read.
        AnswerError: a teacher answers with numbers that are not finite.
    """
    cutting = on_one_core(_groups(pieces_of, header, shards, batch_size, answers))
    # Both are closed here, so that no thread is left when the program ends by a signal: one that dies inside torch
    # takes the process with it.
    with (
        closing(prefetch(cutting, _BATCHES_AHEAD)) as groups,
        closing(_asking(teachers, groups, header, batch_size)) as asked,
    ):
        for group in asked:
            new = sum(len(question.indices) for question in group.asked.values())
            tally.asked += new
            tally.reused += len(group.pieces) * len(teachers) - new
            yield group.records()


def take_all_cores(teachers: Teachers) -> bool:
    """Whether nothing else can be computed while they answer."""
    return any(teacher.takes_all_cores for teacher in teachers.values())


def _asking(
    teachers: Teachers, groups: Iterable[list[Piece]], header: Header, batch_size: int
) -> Generator[_Group, None, None]:
    asked = (_asked(teachers, group, header, batch_size) for group in groups)
    return asked if take_all_cores(teachers) else prefetch(asked, _BATCHES_AHEAD)


def cutters(plan: Plan, teachers: Teachers) -> int:
    """Threads that cut crops: what is degraded is so on all cores, unless `teachers` take them."""
    return usable_cores() if plan.spec.degradation and not take_all_cores(teachers) else 1


def cut_from(plan: Plan, header: Header, teachers: Teachers) -> Pieces:
    """Pieces of images."""
    workers = cutters(plan, teachers)

    def pieces(shard: Shard) -> Iterator[Piece]:
        start = shard.positions.start
        crops = plan.crops(shard.view, start, shard.positions.stop)
        with closing(_cuts(crops, plan, header, workers)) as cuts:
            for position, piece in enumerate(cuts, start):
                info = info_of(piece.crop, position, {}, piece.drawn)
                yield Piece(piece.crop, info, {**piece.arrays}, piece.question, {})

    return pieces


def stored_in(cache: Cache) -> Pieces:
    """Pieces of the records of a cache, with the answers that it holds."""
    answers = cache.manifest.answers

    def pieces(shard: Shard) -> Iterator[Piece]:
        for position in shard.positions:
            record = cache.read(shard.view.name, position)
            known = {name: pixels for name, pixels in record.items() if name in answers}
            arrays = {name: pixels for name, pixels in record.items() if name not in answers}
            where = f"{cache.root}: record {record.info.key} of {record.info.view}"
            yield Piece(where, record.info, arrays, partial(_stored_question, arrays), known)

    return pieces


def _stored_question(arrays: Mapping[str, Pixels], info: AnswerInfo) -> U8:
    """Without surroundings: these are not stored."""
    return np.asarray(arrays[info.of], np.uint8)


def _groups(
    pieces_of: Pieces, header: Header, shards: Iterable[Shard], batch_size: int, answers: Answers | None
) -> Iterator[list[Piece]]:
    for shard in shards:
        yield from _grouped(_looked_up(pieces_of(shard), header, answers), len(header.answers), batch_size)


def _looked_up(pieces: Iterable[Piece], header: Header, answers: Answers | None) -> Iterator[Piece]:
    for piece in pieces:
        known = piece.info.fingerprints
        keys = {
            name: known.get(name) or fingerprint(info.asked, piece.question(info))
            for name, info in sorted(header.answers.items())
        }
        found = {
            name: answer
            for name, key in keys.items()
            if answers and (answer := answers.find(name, key, piece.arrays[header.answers[name].of])) is not None
        }
        info = piece.info.model_copy(update={"fingerprints": keys})
        yield replace(piece, info=info, answers=found | piece.answers)


def _grouped(pieces: Iterable[Piece], wanted: int, batch_size: int) -> Iterator[list[Piece]]:
    """Groups that each hold `batch_size` pieces without all `wanted` answers, the last fewer; any number with them."""
    group: list[Piece] = []
    missing = 0
    for piece in pieces:
        group.append(piece)
        missing += len(piece.answers) < wanted
        if missing == batch_size:
            yield group
            group, missing = [], 0
    if group:
        yield group


def _asked(teachers: Teachers, pieces: list[Piece], header: Header, batch_size: int) -> _Group:
    """The teachers set to work on what has no answer yet.

    They are always asked for a whole batch, filled up with repeats: networks round differently in batches of other
    sizes, so an answer would otherwise depend on what else was missing.
    """
    asked: dict[str, _Question] = {}
    for name, teacher in teachers.items():
        missing = [index for index, piece in enumerate(pieces) if name not in piece.answers]
        if missing:
            filled = [missing[index % len(missing)] for index in range(batch_size)]
            inputs = np.stack([pieces[index].question(header.answers[name]) for index in filled])
            asked[name] = _Question(missing, teacher.ask(inputs, header.dtype_of(name)))
    return _Group(pieces, asked)


def _cuts(crops: Iterable[Crop], plan: Plan, header: Header, workers: int) -> Generator[Cut, None, None]:
    answers = [*header.answers.values()]

    def one(placed: tuple[Crop, Scene]) -> Cut:
        return cut(placed[0], plan.spec, placed[1], answers)

    placed = _placed(crops, plan.spec.scale)
    return in_threads(one, placed, workers) if workers > 1 else (one(each) for each in placed)


def _placed(crops: Iterable[Crop], scale: int) -> Iterator[tuple[Crop, Scene]]:
    """Crops of one image follow one another: its pixels are read once."""
    name, scene = None, None
    for crop in crops:
        if scene is None or crop.image.name != name:
            name, scene = crop.image.name, scene_of(crop.image, scale)
        yield crop, scene


def info_of(
    crop: Crop, position: int, fingerprints: dict[str, str], columns: Mapping[str, float] = MappingProxyType({})
) -> RecordInfo:
    """The `RecordInfo` of the record at `position` in its view's stream."""
    return RecordInfo(
        key=key_of(position, crop.image.sha256, crop.index),
        view=crop.view.name,
        image=crop.image.name,
        image_sha256=crop.image.sha256,
        crop=crop.index,
        x=crop.x,
        y=crop.y,
        fingerprints=fingerprints,
        columns={**columns},
    )

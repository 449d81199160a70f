"""crops → records with the teacher's answers: cutting runs ahead, a GPU is asked by a thread of its own.

One chain serves all shards of a build, so that the teacher does not wait at the end of one for the next to begin. A
teacher on a CPU takes all cores while it answers: there, asking and encoding take turns.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from dukd_cache.build.reuse import Answers, Tally
from dukd_cache.build.teacher import Teacher
from dukd_cache.format.manifest import Header, ViewInfo
from dukd_cache.format.record import Pixels, Record, RecordInfo, fingerprint, key_of
from dukd_cache.pictures.sources import scene_of
from dukd_cache.plan.crops import Crop, Cut, Plan, cut
from dukd_cache.system.errors import AnswerError
from dukd_cache.system.threads import on_one_core, prefetch

_BATCHES_AHEAD = 2
"""Cut and waiting for the teacher; and as many answered and waiting to be encoded."""


@dataclass(frozen=True)
class Shard:
    """A shard to write: records `positions` of the stream of `view`."""

    view: ViewInfo
    number: int
    positions: range


Teachers = Mapping[str, Teacher]
"""By the names of their answers; none for a cache of pairs."""


@dataclass(frozen=True)
class _Piece:
    """A cut, with the answers that are stored already."""

    cut: Cut
    info: RecordInfo
    answers: dict[str, Pixels]


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

    pieces: list[_Piece]
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
                first = self.pieces[question.indices[error.indices[0] % len(question.indices)]].cut.crop
                raise error.about(first) from error
            for index, answer in zip(question.indices, found, strict=False):
                answers[index][name] = answer
        both = zip(self.pieces, answers, strict=True)
        return [Record(piece.info, {**piece.cut.arrays, **given}) for piece, given in both]


def answered(
    plan: Plan,
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
    cutting = on_one_core(_groups(plan, header, shards, batch_size, answers))
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
    teachers: Teachers, groups: Iterable[list[_Piece]], header: Header, batch_size: int
) -> Generator[_Group, None, None]:
    asked = (_asked(teachers, group, header, batch_size) for group in groups)
    return asked if take_all_cores(teachers) else prefetch(asked, _BATCHES_AHEAD)


def _groups(
    plan: Plan, header: Header, shards: Iterable[Shard], batch_size: int, answers: Answers | None
) -> Iterator[list[_Piece]]:
    for shard in shards:
        crops = plan.crops(shard.view, shard.positions.start, shard.positions.stop)
        pieces = _looked_up(_cuts(crops, plan, header), shard.positions.start, header, answers)
        yield from _grouped(pieces, len(header.answers), batch_size)


def _looked_up(cuts: Iterable[Cut], start: int, header: Header, answers: Answers | None) -> Iterator[_Piece]:
    for position, piece in enumerate(cuts, start):
        keys = {name: fingerprint(info.asked, piece.question(info)) for name, info in header.answers.items()}
        found = {
            name: answer
            for name, key in keys.items()
            if answers and (answer := answers.find(name, key, piece.arrays[header.answers[name].of])) is not None
        }
        yield _Piece(piece, info_of(piece.crop, position, keys), found)


def _grouped(pieces: Iterable[_Piece], wanted: int, batch_size: int) -> Iterator[list[_Piece]]:
    """Groups that each hold `batch_size` pieces without all `wanted` answers, the last fewer; any number with them."""
    group: list[_Piece] = []
    missing = 0
    for piece in pieces:
        group.append(piece)
        missing += len(piece.answers) < wanted
        if missing == batch_size:
            yield group
            group, missing = [], 0
    if group:
        yield group


def _asked(teachers: Teachers, pieces: list[_Piece], header: Header, batch_size: int) -> _Group:
    """The teachers set to work on what has no answer yet.

    They are always asked for a whole batch, filled up with repeats: networks round differently in batches of other
    sizes, so an answer would otherwise depend on what else was missing.
    """
    asked: dict[str, _Question] = {}
    for name, teacher in teachers.items():
        missing = [index for index, piece in enumerate(pieces) if name not in piece.answers]
        if missing:
            filled = [missing[index % len(missing)] for index in range(batch_size)]
            inputs = np.stack([pieces[index].cut.question(header.answers[name]) for index in filled])
            asked[name] = _Question(missing, teacher.ask(inputs, header.dtype_of(name)))
    return _Group(pieces, asked)


def _cuts(crops: Iterable[Crop], plan: Plan, header: Header) -> Iterator[Cut]:
    """Crops of one image follow one another: its pixels are read once."""
    name, scene = None, None
    for crop in crops:
        if scene is None or crop.image.name != name:
            name, scene = crop.image.name, scene_of(crop.image, plan.spec.scale)
        yield cut(crop, plan.spec.scale, scene, header.answers.values())


def info_of(crop: Crop, position: int, fingerprints: dict[str, str]) -> RecordInfo:
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
    )

"""crops → records with the teacher's answers: cutting runs ahead, a GPU is asked by a thread of its own.

One chain serves all shards of a build, so that the teacher does not wait at the end of one for the next to begin. A
teacher on a CPU takes all cores while it answers: there, asking and encoding take turns.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np

from dukd_cache.build.reuse import Answers, Tally
from dukd_cache.build.teacher import Teacher
from dukd_cache.format.manifest import Header, View
from dukd_cache.format.record import Answer, Record, RecordInfo, fingerprint
from dukd_cache.pictures.sources import Scene, read_scene
from dukd_cache.plan.crops import Crop, Plan
from dukd_cache.plan.views import Cut, cut
from dukd_cache.system.errors import AnswerError, ImageError
from dukd_cache.system.threads import on_one_core, prefetch

_BATCHES_AHEAD = 2
"""Cut and waiting for the teacher; and as many answered and waiting to be encoded."""


@dataclass(frozen=True)
class Shard:
    """A shard to write: records `positions` of the stream of `view`."""

    view: View
    number: int
    positions: range


@dataclass(frozen=True)
class _Piece:
    """A cut, with its answer where one is stored already."""

    cut: Cut
    position: int
    """Of its record in the view's stream."""
    fingerprint: str
    answer: Answer | None


@dataclass(frozen=True)
class _Group:
    """Pieces of one shard, all with answers once those to `asked` have come."""

    pieces: list[_Piece]
    asked: list[int]
    """Which of the pieces the teacher was asked about."""
    answers: Callable[[], Answer] | None
    """Waits for what it says of them; None where it was asked nothing."""

    def records(self) -> list[Record]:
        """The pieces as records.

        Raises:
            AnswerError: the teacher answers with numbers that are not finite.
        """
        if self.answers is not None:
            try:
                answers = self.answers()
            except AnswerError as error:
                first = self.pieces[self.asked[error.places[0] % len(self.asked)]].cut.crop
                raise AnswerError(f"{first}: {error}") from error
            for place, answer in zip(self.asked, answers, strict=False):  # what fills the batch up is last
                self.pieces[place] = replace(self.pieces[place], answer=answer)
        return [
            Record(
                info_of(piece.cut.crop, piece.position, piece.fingerprint),
                piece.cut.input,
                piece.answer,
                piece.cut.truth,
            )
            for piece in self.pieces
        ]


def answered(
    plan: Plan,
    header: Header,
    teacher: Teacher | None,
    shards: Iterable[Shard],
    batch_size: int,
    answers: Answers | None,
    tally: Tally,
) -> Generator[list[Record], None, None]:
    """The records of `shards`, one after another, in the groups in which they are answered.

    Args:
        batch_size: inputs the teacher answers at once. A batch never spans shards.
        answers: those that exist already.
        tally: counts where answers come from.

    Raises:
        ImageError: an image cannot be read.
        AnswerError: the teacher answers with numbers that are not finite.
    """
    cutting = on_one_core(_groups(plan, header, shards, batch_size, answers))
    # Both are closed here, so that no thread is left when the program ends by a signal: one that dies inside torch
    # takes the process with it.
    with (
        closing(prefetch(cutting, _BATCHES_AHEAD)) as groups,
        closing(_asking(teacher, groups, header, batch_size)) as asked,
    ):
        for group in asked:
            if teacher is not None:
                tally.asked += len(group.asked)
                tally.reused += len(group.pieces) - len(group.asked)
            yield group.records()


def _asking(
    teacher: Teacher | None, groups: Iterable[list[_Piece]], header: Header, batch_size: int
) -> Generator[_Group, None, None]:
    asked = (_asked(teacher, group, header, batch_size) for group in groups)
    return asked if teacher is not None and teacher.takes_all_cores else prefetch(asked, _BATCHES_AHEAD)


def _groups(
    plan: Plan, header: Header, shards: Iterable[Shard], batch_size: int, answers: Answers | None
) -> Iterator[list[_Piece]]:
    for shard in shards:
        crops = plan.crops(shard.view, shard.positions.start, shard.positions.stop)
        pieces = _looked_up(_cuts(crops, plan), shard.positions.start, header, answers)
        yield from _grouped(pieces, batch_size)


def _looked_up(cuts: Iterable[Cut], start: int, header: Header, answers: Answers | None) -> Iterator[_Piece]:
    for position, piece in enumerate(cuts, start):
        key = fingerprint(piece.input, header.teacher)
        yield _Piece(piece, position, key, answers.find(key, piece.input) if answers else None)


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


def _asked(teacher: Teacher | None, pieces: list[_Piece], header: Header, batch_size: int) -> _Group:
    """The teacher set to work on what has no answer yet.

    It is always asked for a whole batch, filled up with repeats: networks round differently in batches of other sizes,
    so an answer would otherwise depend on what else was missing.
    """
    missing = [place for place, piece in enumerate(pieces) if piece.answer is None]
    if teacher is None or not missing:
        return _Group(pieces, [], None)
    filled = [missing[place % len(missing)] for place in range(batch_size)]
    inputs = np.stack([pieces[place].cut.input for place in filled])
    return _Group(pieces, missing, teacher.ask(inputs, header.encoding.dtype))


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


def info_of(crop: Crop, position: int, fingerprint: str) -> RecordInfo:
    """The `RecordInfo` of the record at `position` in its view's stream."""
    return RecordInfo(
        key=f"{position:08d}_{crop.image.sha256[:16]}_{crop.index:04d}",
        view=crop.view,
        image=crop.image.name,
        image_sha256=crop.image.sha256,
        crop=crop.index,
        x=crop.x,
        y=crop.y,
        fingerprint=fingerprint,
    )

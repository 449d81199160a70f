"""A few records asked before the work: do the teacher's answers come nearer to the truth than bicubic's?

Where they do not, its students would learn from wrong answers. The likely cause is told, as far as a few more questions
about one record show it. PSNR here is over all pixels of all records of a view together, in RGB: a flat patch, where
one level of 255 makes 10 dB, counts for no more than its error.

Where inputs are degraded, PSNR below bicubic's says nothing of a teacher: one record is asked, and only an answer that
is far off is told, or that another range of values would better.

Shapes: N records, C = 3, p input side, q = s·p output side.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from dukd_cache.build.teacher import Teacher
from dukd_cache.format.header import AnswerInfo, ViewInfo
from dukd_cache.format.reader import Cache, evenly
from dukd_cache.format.record import Dtype, Pixels
from dukd_cache.pictures.bicubic import upscale
from dukd_cache.pictures.levels import levels, psnr
from dukd_cache.pictures.sources import Scene, scene_of
from dukd_cache.plan.crops import Crop, Cut, Plan, cut
from dukd_cache.system.errors import AnswerError, WeightsError

IMAGES = 8
"""From how many images records are taken, evenly spread over all of them."""

_SHARPER = 1.1
"""So many times bicubic's differences between neighbours: answers that add detail. (On photographs DCTLSA has 1.5 times
as many, nearer to the truth; Real-ESRGAN's animation network 1.4, farther from it.)"""

_FAR = 6.0
"""So many dB below bicubic are no answers to degraded inputs that only invent detail: Real-ESRGAN's are within 3."""

_CLEARLY = 3.0
"""dB that a right range or order gains on a record, where it is not better than bicubic there. (The wrong order of
channels gains Real-ESRGAN up to 1.3.)"""

ONLY = "the teacher"

Levels = npt.NDArray[np.float64]
"""[N,q,q,3] in 0…255."""


@dataclass(frozen=True)
class Tried:
    """One record that was asked on trial, or that a finished cache holds."""

    input: Pixels
    answer: Pixels
    truth: Pixels


def scenes_of(plan: Plan) -> dict[int, Scene]:
    """Some images, by their index in the plan.

    Raises:
        ImageError: an image cannot be read.
    """
    return {number: scene_of(plan.images[number], plan.spec.scale) for number in _chosen(plan)}


def sample_of(plan: Plan) -> Plan:
    """A plan of these images alone, which is asked on trial as the whole one is."""
    return Plan([plan.images[number] for number in _chosen(plan)], plan.spec)


def _chosen(plan: Plan) -> list[int]:
    return sorted({number * len(plan.images) // IMAGES for number in range(IMAGES)})


def cuts_of(
    plan: Plan, view: ViewInfo, scenes: dict[int, Scene], most: int, answers: Collection[AnswerInfo]
) -> list[Cut]:
    """Up to `most` records of `view`, spread over the images of `scenes`, to be asked about for `answers`."""
    each = min(max(1, most // len(scenes)), view.crops)
    return [
        cut(crop, plan.spec, scenes[number], answers)
        for number in list(scenes)[:most]
        for crop in _first(plan, view, number, each)
    ]


def asked(teacher: Teacher, cuts: Sequence[Cut], batch: int, dtype: Dtype) -> Pixels:
    """Answers to `batch` inputs, those of `cuts` in turn.

    Raises:
        AnswerError: the teacher answers with numbers that are not finite.
    """
    try:
        return teacher(np.stack([cuts[index % len(cuts)].question(teacher.info) for index in range(batch)]), dtype)
    except AnswerError as error:
        raise error.about(cuts[error.indices[0] % len(cuts)].crop) from error


def spoken(name: str, among: Collection[str]) -> str:
    """The teacher whose answers are called `name`, for people."""
    return ONLY if len(among) == 1 else f"teacher {name}"


def doubts(plan: Plan, teacher: Teacher, who: str = ONLY) -> Iterator[str]:
    """One line for each view of `plan` to which `teacher` answers worse than bicubic, on a few records asked for that.

    Raises:
        ImageError: an image cannot be read.
        AnswerError: the teacher answers with numbers that are not finite.
    """
    scenes, degraded = scenes_of(plan), bool(plan.spec.degradation)
    views = plan.spec.views
    if degraded:  # the smallest inputs are answered soonest
        views = tuple(sorted((each for each in views if "truth" in each.arrays), key=lambda each: each.input_side)[:1])
    for view in views:
        if degraded:
            cuts = _most_contrast(plan, view, scenes, [teacher.info])
        else:
            cuts = cuts_of(plan, view, scenes, IMAGES, [teacher.info])
        tried = tried_of(cuts, asked(teacher, cuts, len(cuts), "uint8"), teacher.info.of)
        if tried and (line := doubt(view.name, tried, teacher.info, teacher, who, degraded=degraded)):
            yield line


def doubts_of(cache: Cache) -> Iterator[str]:
    """The same of a finished cache, on a few of its records.

    Raises:
        CacheError: what is stored is damaged.
    """
    degraded = bool(cache.manifest.degradation.steps)
    for name, info in cache.manifest.answers.items():
        for view in cache.manifest.views:
            if {name, "truth"} <= view.arrays.keys():
                records = [cache.read(view.name, index) for index in evenly(cache.count(view.name), IMAGES)]
                tried = [Tried(each[info.of], each[name], each["truth"]) for each in records]
                if line := doubt(view.name, tried, info, who=spoken(name, cache.manifest.answers), degraded=degraded):
                    yield line


def doubts_about(cache: Cache, teacher: Teacher, who: str) -> Iterator[str]:
    """The same of another teacher, which is asked about a few records of a finished cache.

    Raises:
        CacheError: what is stored is damaged.
        AnswerError: the teacher answers with numbers that are not finite.
    """
    degraded = bool(cache.manifest.degradation.steps)
    for view in cache.manifest.views:
        records = [cache.read(view.name, index) for index in evenly(cache.count(view.name), 1 if degraded else IMAGES)]
        try:
            answers = teacher(np.stack([each[teacher.info.of] for each in records]), "uint8")
        except AnswerError as error:
            key = records[error.indices[0]].info.key
            raise error.about(f"{cache.root}: record {key} of {view.name}") from error
        both = zip(records, answers, strict=True)
        tried = [Tried(each[teacher.info.of], answer, each["truth"]) for each, answer in both if "truth" in each]
        if tried and (line := doubt(view.name, tried, teacher.info, teacher, who, degraded=degraded)):
            yield line


def tried_of(cuts: Iterable[Cut], answers: Iterable[Pixels], of: str) -> list[Tried]:
    """Those of `cuts` that have a truth; they were asked about their arrays `of`."""
    both = zip((piece.arrays for piece in cuts), answers, strict=False)
    return [Tried(arrays[of], answer, arrays["truth"]) for arrays, answer in both if "truth" in arrays]


def doubt(
    view: str,
    tried: Sequence[Tried],
    info: AnswerInfo,
    teacher: Teacher | None = None,
    who: str = ONLY,
    *,
    degraded: bool = False,
) -> str | None:
    """One line where the answers are farther from the truth than bicubic, with the likely cause; else None.

    Args:
        teacher: may be asked more, to find the cause.
        who: what it is called.
        degraded: inputs of the cache are: only answers that are far off count.
    """
    truth = _stacked([each.truth for each in tried])
    side = len(tried[0].input)
    bicubic = _stacked([upscale(np.asarray(each.input, np.uint8), len(each.truth) // side) for each in tried])
    answers = _stacked([each.answer for each in tried])
    reached, usual = psnr(answers, truth), psnr(bicubic, truth)
    if reached >= usual:
        return None
    expected = degraded and reached >= usual - _FAR
    worst = int(np.argmax(_errors(answers, truth) - _errors(bicubic, truth)))
    one = slice(worst, worst + 1)
    enough, of_bicubic = psnr(answers[one], truth[one]), psnr(bicubic[one], truth[one])
    if not expected:
        enough = min(max(enough, of_bicubic), max(enough + _CLEARLY, of_bicubic - _FAR))
    if teacher and (other := _taking_otherwise(teacher, tried[worst], truth[one], enough, only_values=expected)):
        cause = other
    elif expected:
        return None
    elif (side + 2 * info.context) % info.window:
        better, around = sides_beside(side, info.window, info.context), with_context(info.context)
        cause = f"inputs of {side}×{side}{around} are no multiple of its window of {info.window}: take {better}"
    elif _detail(answers) > _SHARPER * _detail(bicubic):
        cause = "it adds detail that is not there, as teachers trained for looks (GANs) or for degraded images do"
    else:
        cause = "is it trained for such images, and for LR images that are made like these?"
    return (
        f"{who} is worse than bicubic on {view}: {reached:.2f} dB to the truth, bicubic {usual:.2f} "
        f"(PSNR of {len(tried)} record{'s' * (len(tried) > 1)}); {cause}"
    )


def whole_windows(side: int, window: int, context: int = 0) -> int:
    """`side`, or the next one that makes a multiple of `window` with `context` pixels at both ends."""
    return -(-(side + 2 * context) // window) * window - 2 * context


def sides_beside(side: int, window: int, context: int = 0) -> str:
    """The sides below and above `side` that make a multiple of `window` with their context, for people."""
    above = whole_windows(side, window, context)
    return f"{above - window} or {above}" if above > window else f"{above}"


def no_whole_windows(sides: Mapping[str, int], window: int, context: int, who: str) -> Iterator[str]:
    """A line for each of `sides`, by the settings that say them, that makes no whole windows of the teacher `who`."""
    for said, side in sides.items():
        if (side + 2 * context) % window:
            whole, better = whole_windows(side, window, context) + 2 * context, sides_beside(side, window, context)
            yield (
                f"{said}={side}:{with_context(context)} no multiple of {who}'s window of {window}, so its inputs "
                f"are mirrored to {whole} pixels and its answers are worse than at {better}"
            )


def with_context(context: int) -> str:
    """For people."""
    return f" with {context} pixels around" if context else ""


def _most_contrast(plan: Plan, view: ViewInfo, scenes: dict[int, Scene], answers: Collection[AnswerInfo]) -> list[Cut]:
    """One record, chosen among the first of each image."""
    clean = replace(plan.spec, degradation=())  # cut in no time
    first = {number: next(iter(_first(plan, view, number, 1))) for number in scenes}
    contrast = {number: cut(crop, clean, scenes[number]).arrays["truth"].std() for number, crop in first.items()}
    number = max(contrast, key=contrast.__getitem__)
    return [cut(first[number], plan.spec, scenes[number], answers)]


def _first(plan: Plan, view: ViewInfo, number: int, most: int) -> Iterable[Crop]:
    start = number * view.crops
    return plan.crops(view, start, start + most)


def _taking_otherwise(teacher: Teacher, tried: Tried, truth: Levels, reached: float, only_values: bool) -> str | None:
    """What the teacher seems to take, if it then comes nearer to the truth [1,q,q,3] of a record than `reached`."""
    takes = teacher.network.takes
    values = 256 - takes.values
    inputs = torch.from_numpy(np.stack([tried.input])).to(teacher.device)
    inputs_NCpp = inputs.permute(0, 3, 1, 2).float().div(255)
    of_values = f"its values seem to run from 0 to {values}, and dukd asks with 0 to {takes.values}"
    order = "bgr" if takes.channels == "rgb" else "rgb"
    of_order = f"its channels seem to be in the order {order}, and dukd asks with {takes.channels}"
    both = {"values": values, "channels": order}
    plainly = teacher.info.model_copy(update={"context": 0, "self_ensemble": 1})
    others = ((["values"], of_values), (["channels"], of_order), ([*both], f"{of_values}; {of_order}"))
    for other, said in others[:1] if only_values else others:
        update = {name: both[name] for name in other}
        network = replace(teacher.network, takes=takes.model_copy(update=update))
        try:
            answers_NCqq = replace(teacher, network=network, info=plainly).answers(inputs_NCpp).mul(255)
        except (WeightsError, AnswerError):  # it does not take that
            continue
        answers: Levels = answers_NCqq.permute(0, 2, 3, 1).double().cpu().numpy()
        if psnr(answers, truth) > reached:
            settings = " ".join(f"`teacher_takes.NAME.{name}={value}`" for name, value in update.items())
            return f"{said}: {settings}"
    return None


def _errors(pictures: Levels, truth: Levels) -> Levels:
    """Mean square of each, [N]."""
    found: Levels = np.square(pictures - truth).mean(axis=(1, 2, 3))
    return found


def _detail(pictures: Levels) -> float:
    """Mean difference of neighbouring pixels."""
    return float(np.abs(np.diff(pictures, axis=1)).mean() + np.abs(np.diff(pictures, axis=2)).mean())


def _stacked(pictures: Sequence[npt.NDArray[np.generic]]) -> Levels:
    return levels(np.stack(pictures))

"""Ask the teacher again about records of a cache, and compare.

Shapes: N records, p input side, q = scale · p.
"""

import random
from collections.abc import Callable

import numpy as np

from dukd_cache.build.teacher import Teacher
from dukd_cache.build.trial import spoken
from dukd_cache.check.surroundings import Surroundings
from dukd_cache.check.verify import Problem
from dukd_cache.format.header import AnswerInfo
from dukd_cache.format.reader import Cache
from dukd_cache.format.record import Dtype, Record
from dukd_cache.system.errors import AnswerError, CacheError

_BATCH = 8


def tolerance(info: AnswerInfo, dtype: Dtype) -> float:
    """How far two answers to one input may lie apart, in levels of 255.

    The order of a sum depends on the size of the batch and on the device, so answers differ in their last digits. In
    fp32 that is far less than a level: it shows only where a rounding flips, by one level of uint8 or one step of
    float16 (1/2048 below 1; two are allowed); 1/16 of a level is far more than the last digits of float32. fp16
    resolves 1/8 of a level near white and bf16 a whole one, and the differences of several layers add up: 2 and 4. What
    is made smaller is rounded to levels then, whatever it is stored as.
    """
    if info.precision == "fp32":
        return {"uint8": 1.0, "float16": 255 / 1024, "float32": 1 / 16}["uint8" if info.smaller > 1 else dtype]
    return {"fp16": 2.0, "bf16": 4.0}[info.precision]


def ask_again(
    cache: Cache,
    name: str,
    teacher: Teacher,
    sample: int,
    *,
    around: Surroundings | None = None,
    on_records: Callable[[int], None] = lambda _count: None,
) -> list[Problem]:
    """What `teacher` answers otherwise than the cache has it as `name`, among `sample` records drawn evenly from all.

    Args:
        around: needed where its answers have context.

    Raises:
        AnswerError: the teacher answers with numbers that are not finite.
        ImageError: the surroundings of a record cannot be cut again.
    """
    problems: list[Problem] = []
    for view, indices in _drawn(cache, name, sample).items():
        for start in range(0, len(indices), _BATCH):
            problems += _compared(cache, name, teacher, view, indices[start : start + _BATCH], around)
            on_records(len(indices[start : start + _BATCH]))
    return problems


def _drawn(cache: Cache, name: str, sample: int) -> dict[str, list[int]]:
    counts = [(view.name, cache.count(view.name)) for view in cache.manifest.views if name in view.arrays]
    total = sum(count for _, count in counts)
    drawn: dict[str, list[int]] = {view: [] for view, _ in counts}
    for position in sorted(random.Random(cache.digest).sample(range(total), min(sample, total))):
        for view, count in counts:
            if position < count:
                drawn[view].append(position)
                break
            position -= count
    return drawn


def _compared(
    cache: Cache, name: str, teacher: Teacher, view: str, indices: list[int], around: Surroundings | None
) -> list[Problem]:
    records: list[tuple[int, Record]] = []
    problems: list[Problem] = []
    for index in indices:
        try:
            records.append((index, cache.read(view, index)))
        except CacheError as error:
            problems.append(Problem(str(error), cache.shard(view, index)))
    if not records:
        return problems
    dtype, of, who = (
        cache.manifest.dtype_of(name),
        cache.manifest.answers[name].of,
        spoken(name, cache.manifest.answers),
    )
    allowed = tolerance(teacher.info, dtype)
    levels = 1 if dtype == "uint8" else 255
    try:
        questions = [around.question(record, name) if around else record[of] for _, record in records]
        answers_Nqq3 = teacher(np.stack(questions), dtype)
    except AnswerError as error:
        key = records[error.indices[0]][1].info.key
        raise error.about(f"{cache.root}: record {key} of {view}") from error
    for (index, record), answer in zip(records, answers_Nqq3, strict=True):
        off = float(np.abs(answer.astype(np.float32) - record[name].astype(np.float32)).max()) * levels
        if not off <= allowed:
            shard = cache.shard(view, index)
            problems.append(
                Problem(
                    f"{cache.place.at(shard.name)}: record {record.info.key}: {who} answers otherwise, "
                    f"off by {off:.3g} of 255 levels where {allowed:.3g} is allowed",
                    shard,
                )
            )
    return problems

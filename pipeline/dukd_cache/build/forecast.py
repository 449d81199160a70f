"""What a build would do, and how long it would take: measured on a few records, nothing written to the cache."""

import os
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dukd_cache.build.answer import Teachers, info_of
from dukd_cache.build.columns import with_columns
from dukd_cache.build.reuse import Tally
from dukd_cache.build.teacher import Teacher
from dukd_cache.build.trial import asked, cuts_of, doubt, scenes_of, spoken, tried_of
from dukd_cache.format.header import Header, ViewInfo
from dukd_cache.format.index import row_type
from dukd_cache.format.manifest import shard_ranges
from dukd_cache.format.record import Dtype, Pixels, Record
from dukd_cache.format.shards import ShardWriter
from dukd_cache.places import Address, Place
from dukd_cache.places.folder import Folder
from dukd_cache.plan.crops import Cut, Plan
from dukd_cache.system.tables import markdown_table
from dukd_cache.system.terminal import duration

_SLOW_BATCH_S = 3.0
"""A first batch that takes longer is measure enough; a shorter one warms up."""
_DISK_SAMPLE = 32_000_000
"""Bytes."""


@dataclass(frozen=True)
class Cost:
    """Of one record of a view. Seconds."""

    cutting: float
    teacher: dict[str, float]
    """By answer."""
    encoding: float
    """Of one core."""
    bytes: float


@dataclass(frozen=True)
class Sample:
    """What was measured."""

    records: int
    reading: float
    """Seconds an image: decoding, and making its LR image."""
    disk: float | None
    """Seconds a byte; None where nothing can be measured without writing."""
    views: dict[str, Cost]
    doubts: tuple[str, ...] = ()
    """A line for each view to which the teacher answers worse than bicubic."""


@dataclass(frozen=True)
class Forecast:
    """What a build would do."""

    images: int
    records: dict[str, int]
    tallies: dict[str, dict[str, Tally]]
    """By view and answer."""
    sample: Sample
    cores: int
    on_gpu: bool
    notes: tuple[str, ...] = ()
    """What could be better about settings and teacher, a line each."""
    cutters: int = 1
    """Threads that cut crops."""

    def bytes(self, view: str) -> float:
        """That all records of `view` take."""
        return self.records[view] * self.sample.views[view].bytes

    @property
    def stages(self) -> dict[str, float]:
        """Seconds that each part would take by itself; they overlap."""
        parts = dict.fromkeys(("reading images", "teacher", "encoding"), 0.0)
        if self.sample.disk is not None:
            parts["disk"] = 0.0
        for view, tallies in self.tallies.items():
            cost, new = self.sample.views[view], self.records[view] - Tally.together(tallies.values()).kept
            parts["reading images"] += self.images * self.sample.reading * new / self.records[view]
            parts["reading images"] += new * cost.cutting / self.cutters
            parts["teacher"] += sum(tallies[name].asked * seconds for name, seconds in cost.teacher.items())
            parts["encoding"] += new * cost.encoding / self.cores
            if self.sample.disk is not None:
                parts["disk"] += new * cost.bytes * self.sample.disk
        return parts

    @property
    def bottleneck(self) -> str:
        """The part that takes longest."""
        return max(self.stages, key=self.stages.__getitem__)

    @property
    def seconds(self) -> float:
        """That the build would take. On a CPU the teacher shares the cores with reading and encoding."""
        stages = self.stages
        shared = stages["teacher"] + stages["encoding"] + stages["reading images"] / self.cores
        return max(*stages.values(), 0 if self.on_gpu else shared)


def measure_sample(
    plan: Plan,
    header: Header,
    teachers: Teachers,
    out: Place,
    batch: int,
) -> Sample:
    """Cut, ask, encode and write a few records: shards in a temporary folder, `out`'s disk by a file without a name.

    Args:
        batch: inputs a teacher answers at once.

    Raises:
        ImageError: an image cannot be read.
        AnswerError: the teacher answers with numbers that are not finite.
    """
    started = time.perf_counter()
    scenes = scenes_of(plan)
    for scene in scenes.values():
        scene.lr  # noqa: B018  # made when it is looked at: here, so that it is counted once an image
    reading = (time.perf_counter() - started) / len(scenes)
    costs: dict[str, Cost] = {}
    doubts: list[str] = []
    records, degraded = 0, bool(plan.spec.degradation)
    for view in header.views:
        shards = shard_ranges(header.total(view), view.shard_records)
        batches = sum(-(-len(shard) // batch) for shard in shards)  # none spans shards, and all are filled up
        started = time.perf_counter()
        cuts = cuts_of(plan, view, scenes, batch, header.answers.values())
        cutting = (time.perf_counter() - started) / len(cuts)
        asking, answers = dict[str, float](), dict[str, list[Pixels]]()
        for name, teacher in teachers.items():
            answers[name], seconds = _asked(teacher, cuts, header.dtype_of(name), batch)
            asking[name] = seconds * batches / header.total(view)
            tried, who = tried_of(cuts, answers[name], teacher.info.of), spoken(name, teachers)
            if tried and (line := doubt(view.name, tried, teacher.info, teacher, who, degraded=degraded)):
                doubts.append(line)
        costs[view.name] = Cost(cutting, asking, *_stored(header, view, cuts, answers))
        records += len(cuts)
    return Sample(records, reading, _disk(out), costs, tuple(doubts))


def _asked(teacher: Teacher, cuts: list[Cut], dtype: Dtype, batch: int) -> tuple[list[Pixels], float]:
    """Answers to `cuts`, and the teacher's seconds a batch."""
    for _ in range(2):
        started = time.perf_counter()
        answers = asked(teacher, cuts, batch, dtype)
        seconds = time.perf_counter() - started
        if seconds > _SLOW_BATCH_S and not teacher.compiled:
            break
    return [answers[index % batch] for index in range(len(cuts))], seconds


def _stored(header: Header, view: ViewInfo, cuts: list[Cut], answers: dict[str, list[Pixels]]) -> tuple[float, float]:
    """Core seconds to encode a record, and bytes that it takes with its share of the index; in a temporary folder.

    What a shard takes beside its records, whatever their number, is much where these few are alone in one.
    """
    keys = dict.fromkeys(answers, "0" * 64)
    records = []
    for index, piece in enumerate(cuts):
        arrays = {**piece.arrays, **{name: found[index] for name, found in answers.items()}}
        records.append(Record(info_of(piece.crop, index, keys, piece.drawn), arrays))
    with tempfile.TemporaryDirectory(prefix="dukd-plan-") as folder:
        writer = ShardWriter(Folder(Path(folder)), header)
        started = time.perf_counter()
        encoded = [writer.encode(with_columns(record, header.columns)) for record in records]
        seconds = (time.perf_counter() - started) / len(cuts)
        writer.write(view.name, 0, encoded)
        stored = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    row, total = row_type(header, view).itemsize, header.total(view)
    bytes_of_records = sum(row + sum(map(len, each.parts)) for each in encoded)
    shards = len(shard_ranges(total, view.shard_records))
    return seconds, bytes_of_records / len(cuts) + (stored - bytes_of_records) * shards / total


def _disk(out: Place) -> float | None:
    """Seconds a byte, to write and fsync beside `out`, on the same disk; None where that cannot be done."""
    if not isinstance(out, Folder):
        return None
    above = next(folder for folder in out.path.absolute().parents if folder.is_dir())
    if out.path.exists() and out.path.stat().st_dev != above.stat().st_dev:
        return None
    block = os.urandom(1_000_000)
    try:
        with tempfile.TemporaryFile(dir=above) as stream:  # without a name: nobody sees it
            started = time.perf_counter()
            for _ in range(_DISK_SAMPLE // len(block)):
                stream.write(block)
            stream.flush()
            os.fsync(stream.fileno())
            return (time.perf_counter() - started) / _DISK_SAMPLE
    except OSError:  # a full disk, or no permission: `build` says so, and a plan may be wanted all the same
        return None


def facts(forecast: Forecast, out: Address) -> dict[str, Any]:
    """What `table` says, in seconds and bytes; JSON-able."""
    return {
        "out": str(out),
        "images": forecast.images,
        "views": {
            view: {
                "records": forecast.records[view],
                **asdict(Tally.together(tallies.values())),
                "answers": {name: asdict(tally) for name, tally in tallies.items() if name},
                "bytes": round(forecast.bytes(view)),
                "bytes_per_record": round(forecast.sample.views[view].bytes, 1),
            }
            for view, tallies in forecast.tallies.items()
        },
        "seconds": round(forecast.seconds, 3),
        "stages": {part: round(seconds, 3) for part, seconds in forecast.stages.items()},
        "bytes": round(sum(map(forecast.bytes, forecast.tallies))),
        "bottleneck": forecast.bottleneck,
        "measured_records": forecast.sample.records,
        "notes": list(forecast.notes),
    }


def table(forecast: Forecast, out: Address) -> str:
    """For people."""
    several = any(len(tallies) > 1 for tallies in forecast.tallies.values())
    headings = ("view", *("teacher",) * several, "records", "kept", "reused", "to ask", "MB", "bytes/record")
    rows = [
        (
            *(view, *(name,) * several, forecast.records[view], tally.kept, tally.reused, tally.asked),
            *(f"{forecast.bytes(view) / 1e6:.1f}", f"{forecast.sample.views[view].bytes:.0f}"),
        )
        for view, tallies in forecast.tallies.items()
        for name, tally in tallies.items()
    ]
    parts = ", ".join(f"{part} {duration(seconds)}" for part, seconds in forecast.stages.items())
    unknown = "" if forecast.sample.disk is not None else "; writing it not measured"
    return "\n".join(
        [
            f"{out}: {forecast.images} images; nothing is written",
            markdown_table(headings, rows),
            f"time       about {duration(forecast.seconds)}; the parts overlap: {parts}{unknown}",
            f"size       about {sum(map(forecast.bytes, forecast.tallies)) / 1e6:.1f} MB",
            f"bottleneck {forecast.bottleneck}  (measured on {forecast.sample.records} records)",
        ]
    )

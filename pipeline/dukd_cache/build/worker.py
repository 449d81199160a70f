"""A worker of a cluster: it holds the teachers, and writes the shards that it is given."""

import os
import socket
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from importlib.metadata import version

import torch

from dukd_cache.build.answer import Teachers
from dukd_cache.build.reuse import Tally
from dukd_cache.build.standing import Shard
from dukd_cache.build.teacher import software
from dukd_cache.build.trial import doubts, spoken
from dukd_cache.build.write import LOCAL, Work, reusable, written
from dukd_cache.format.header import AnswerInfo, Header
from dukd_cache.format.lifecycle import header_of
from dukd_cache.format.manifest import ShardInfo
from dukd_cache.format.shards import LIBRARIES
from dukd_cache.format.workers import reporting
from dukd_cache.places import Place
from dukd_cache.plan.crops import Plan
from dukd_cache.system.errors import CacheError, DukdError, WeightsError
from dukd_cache.system.threads import SHARE

Load = Callable[[], Teachers]
"""Loads the teachers of a worker. It is sent there."""


@dataclass(frozen=True)
class Hello:
    """What a worker says of itself."""

    host: str
    computes_on: str
    answers: tuple[AnswerInfo, ...]
    """Which its teachers give."""
    versions: dict[str, str]


@dataclass(frozen=True)
class Job:
    """What a worker has to know once."""

    out: Place
    header: Header
    reuse: tuple[Place, ...]
    batch_size: int
    sample: Plan | None
    """On which the teachers are tried first; None: another worker does that."""


@dataclass(frozen=True)
class Whole:
    """A shard that a worker wrote."""

    info: ShardInfo
    tally: Tally
    """Of the records since the last one."""


def versions(answers: Iterable[AnswerInfo]) -> dict[str, str]:
    """Of all libraries that the bytes of a cache with these answers depend on, by name."""
    return software(answers) | {library: version(library) for library in ("numpy", *LIBRARIES)}


class Worker:
    """One of them. Its calls come one after another."""

    def __init__(self, name: str, threads: int, load: Load) -> None:
        os.environ[SHARE] = str(threads)
        torch.set_num_threads(threads)
        self._load, self._name = load, name
        self._host = socket.gethostname()
        self._who = f"worker {name} on {self._host}"
        self._until_left = ExitStack()

    def hello(self) -> Hello:
        """Load the teachers."""
        try:
            self._teachers = self._load()
        except DukdError as error:
            raise error.about(self._who) from error
        answers = tuple(teacher.info for teacher in self._teachers.values())
        return Hello(self._host, LOCAL.computes_on(self._teachers), answers, versions(answers))

    def write(self, job: Job | None, plan: Plan, shards: list[Shard]) -> Generator[str | Whole, None, None]:
        """The first time with the job. Doubts about the teachers, if wanted; then each shard when it is whole."""
        if job:
            self._job = job
        self._look()
        if job:
            self._begin(job)
            for name, teacher in self._teachers.items():
                yield from doubts(job.sample, teacher, spoken(name, self._teachers)) if job.sample else ()
        out, header, tally = self._job.out, self._job.header, Tally()
        work = Work(plan, self._teachers, out, self._job.batch_size, on_records=self._on_records, tally=tally)
        with closing(written(work, header, shards, self._answers)) as whole:
            for info in whole:
                yield Whole(info, replace(tally))
                tally.asked = tally.reused = 0

    def leave(self) -> None:
        """There is nothing more to do."""
        self._until_left.close()

    def _look(self) -> None:
        """Whoever gave the job may be dead by now, and another build have begun there."""
        there = header_of(self._job.out)
        if there is None or not there.like(self._job.header):
            raise CacheError(f"{self._who} does not see what is built there: the folder must be shared", self._job.out)

    def _begin(self, job: Job) -> None:
        for name, info in job.header.answers.items():
            if self._teachers[name].info.asked != info.asked:
                raise WeightsError(f"{info.file} is another network than where the build began", self._who)
        self._answers = reusable(job.out, job.header, job.reuse)
        self._on_records = self._until_left.enter_context(reporting(job.out, self._name, lambda _count: None))

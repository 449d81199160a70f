"""Shards written by the workers of a Ray cluster, which may grow, shrink and lose machines meanwhile.

A worker is an actor that holds the teachers; a task is a run of shards that follow one another, each told of when it is
whole. Nothing is retried by Ray: what a lost worker had not told of is given to others. All machines see the weights,
the images and the cache under the same paths.
"""

import sys
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from dukd_cache.build.answer import Teachers
from dukd_cache.build.shard_runs import DEATHS, ShardRuns
from dukd_cache.build.standing import Shard, shards_of
from dukd_cache.build.trial import sample_of
from dukd_cache.build.worker import Hello, Job, Load, Whole, Worker, versions
from dukd_cache.build.write import Engine, Work
from dukd_cache.format.header import Header
from dukd_cache.format.manifest import ShardInfo
from dukd_cache.format.shards import ShardWriter
from dukd_cache.places import Place
from dukd_cache.places.folder import Folder
from dukd_cache.settings.choices import Device
from dukd_cache.settings.model import Positive, Settings, Weight
from dukd_cache.system.errors import CacheError, DukdError, SettingError
from dukd_cache.system.ray_cluster import connected
from dukd_cache.system.terminal import say, tell_once
from dukd_cache.system.threads import allowed_cores, prefetch

T = TypeVar("T")

_LOOK_S = 1.0
"""The longest that nothing is looked at: whether this ends, and what the cluster has room for."""
_PATIENCE_S = 15.0
"""Without any worker, before that is said."""
_TO_END_S = 10.0


class OfRay(Settings):
    """What is asked of a cluster."""

    ray_address: str | None = None
    """`host:6379`, or `auto`; None: a cluster of this machine alone, while the build lasts."""
    workers: Positive | None = None
    """At most; None: as many as it has room for, also when it grows."""
    cpus_per_worker: Positive = 1
    """Threads, too: answers may depend on their number."""
    gpus_per_worker: Weight | None = None
    """None: 1 where there are GPUs and the teacher may use them."""
    shards_per_task: Positive = 4


@contextmanager
def on_ray(load: Load, asked: OfRay, device: Device, any_kind: bool) -> Iterator[Engine]:
    """The workers of a cluster.

    Args:
        device: that of the workers.
        any_kind: workers may compute on several kinds of machines.

    Raises:
        DukdError: there is no such cluster, or no Ray.
    """
    # Ray tells of dead workers on standard output, which is for what was asked for.
    with redirect_stdout(sys.stderr), connected(asked.ray_address, allowed_cores()) as ray:
        gpus = asked.gpus_per_worker
        if gpus is None:
            gpus = float(device == "cuda" or (device == "auto" and ray.cluster_resources().get("GPU", 0) >= 1))
        crew = _Crew(ray, load, asked, gpus, any_kind)
        if asked.ray_address is None and not crew.room():
            raise SettingError(f"this machine has no room for a worker of {crew.share}", "`engine=ray`")
        try:
            yield _OnRay(crew, asked.shards_per_task)
        finally:
            crew.end()


@dataclass(eq=False)
class _Member:
    """A worker, seen from here."""

    name: str
    actor: Any
    heard: Any
    """What its next word comes by; None: it waits for work."""
    host: str = ""
    """Empty before its first word."""
    used: bool = True
    began: bool = False
    shards: list[Shard] = field(default_factory=list)
    """Asked of it, and not told of yet."""


class _Lost(Exception):
    """A worker died, or its machine."""


class _Crew:
    """The workers of a build. Used by one thread."""

    def __init__(self, ray: Any, load: Load, asked: OfRay, gpus: float, any_kind: bool) -> None:
        self._ray, self._load, self._asked, self._gpus, self._any_kind = ray, load, asked, gpus, any_kind
        self._actor = ray.remote(Worker).options(num_cpus=asked.cpus_per_worker, num_gpus=gpus, max_restarts=0)
        self.share = f"{asked.cpus_per_worker} CPU" + (f" and {gpus:g} GPU" if gpus else "")
        """What each takes, for people."""
        self._hired = self._died_early = self._room = 0
        self._looked = self._alone = 0.0
        self.members: list[_Member] = []
        self.computes_on: str | None = None
        """What the first worker said."""

    def hire(self, most: int) -> None:
        """Ask for as many workers as there is room for, but no more than `most`."""
        now = time.monotonic()
        if not self.members or any(member.host and member.used for member in self.members):
            self._alone = now
        if now - self._looked > _LOOK_S:
            self._looked, self._room = now, self.room()
        unused = sum(not member.used for member in self.members)  # they stay where others would come again
        limit = max(1, self._room) if self._asked.workers is None else self._asked.workers + unused
        for _ in range(min(limit, most + unused) - len(self.members)):
            name, self._hired = f"ray-{self._hired}", self._hired + 1
            actor = self._actor.remote(name, self._asked.cpus_per_worker, self._load)
            self.members.append(_Member(name, actor, actor.hello.remote()))
        if now - self._alone > _PATIENCE_S:
            tell_once(f"waiting for a worker: each takes {self.share} of the cluster's nodes")

    def ask(self, member: _Member, *task: Any) -> None:
        """Give it a task."""
        member.heard = member.actor.write.options(num_returns="streaming").remote(*task)

    def free(self) -> list[_Member]:
        """Who waits for work."""
        return [member for member in self.members if member.used and member.heard is None]

    def speaking(self) -> Iterator[_Member]:
        """Who says something within some time."""
        by = {member.heard: member for member in self.members if member.heard is not None}
        if not by:
            time.sleep(_LOOK_S)
        ready = self._ray.wait([*by], timeout=_LOOK_S)[0] if by else ()
        yield from (by[heard] for heard in ready)

    def hear(self, member: _Member) -> str | Whole | None:
        """What it says; None where that was its first word, or that it has done its task.

        Raises:
            _Lost: it is dead, and no member any more.
            DukdError: what it raised. So for what the system refuses there.
        """
        errors = self._ray.exceptions
        try:
            if member.host:
                try:
                    said: str | Whole = self._ray.get(next(member.heard))
                    return said
                except StopIteration:
                    member.heard = None
                    return None
            self._welcome(member, self._ray.get(member.heard))
        except errors.RayTaskError as error:
            member.heard = None  # its task has ended: it can leave
            if isinstance(error.cause, DukdError | OSError):
                raise error.cause from error
            raise RuntimeError(f"worker {member.name} on {member.host or 'a node'}: {error}") from None
        except errors.RayError as error:
            self._ray.kill(member.actor)
            self.members.remove(member)
            if not member.host:
                self._died_early += 1
                if self._died_early == DEATHS:
                    raise CacheError(f"{DEATHS} workers died one after another before they could begin") from error
            raise _Lost from error
        return None

    def end(self) -> None:
        """Those that wait for work leave; others are killed. Returns when all are gone."""
        left = [member.actor.leave.remote() for member in self.members]
        for member in self.members:
            if member.heard is not None:
                self._ray.kill(member.actor)
        if left:
            self._ray.wait(left, num_returns=len(left), timeout=_TO_END_S)
        for member in self.members:
            self._ray.kill(member.actor)
        self.members.clear()

    def _welcome(self, member: _Member, hello: Hello) -> None:
        member.host, member.heard, self._died_early = hello.host, None, 0
        here = versions(hello.answers)
        other = [f"{name} {found}" for name, found in hello.versions.items() if here.get(name) != found]
        if self.computes_on is None and not other:
            self.computes_on = hello.computes_on
        if self.computes_on not in (None, hello.computes_on) and not self._any_kind:
            other.append(f"computes on {hello.computes_on}, others on {self.computes_on}")
        if other:
            member.used = False
            say(f"worker {member.name} on {member.host} is not used: {', '.join(other)}")

    def room(self) -> int:
        """How many workers fit on the nodes, whatever else runs there."""
        shares = {"CPU": float(self._asked.cpus_per_worker), "GPU": self._gpus}
        wanted = {kind: share for kind, share in shares.items() if share}
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        return sum(min(int(node.get(kind, 0) / share + 1e-6) for kind, share in wanted.items()) for node in nodes)


class _OnRay(Engine):
    """Gives out shards, and hears of them. Ray is called in a thread of its own.

    In the main thread it would swallow the exceptions of signal handlers.
    """

    elsewhere = True

    def __init__(self, crew: _Crew, shards_per_task: int) -> None:
        self._crew, self._shards_per_task = crew, shards_per_task
        self._ended = False

    def computes_on(self, teachers: Teachers) -> str:
        """What the first worker says."""
        with closing(self._apart(self._first(), 1)) as found:
            return next(found) if teachers else ""

    def __call__(self, work: Work, header: Header, shards: Sequence[Shard]) -> Generator[ShardInfo, None, None]:
        with closing(self._apart(self._written(work, header, shards), 100)) as said:
            for each in said:
                if isinstance(each, str):
                    say(each)
                    continue
                work.tally.asked += each.tally.asked
                work.tally.reused += each.tally.reused
                work.on_records(each.info.records)
                yield each.info

    def _apart(self, items: Iterator[T], ahead: int) -> Generator[T, None, None]:
        def end() -> None:
            self._ended = True

        self._ended = False
        return prefetch(items, ahead, end)

    def _first(self) -> Iterator[str]:
        while self._crew.computes_on is None and not self._ended:
            self._crew.hire(1)
            for member in self._crew.speaking():
                with suppress(_Lost):
                    self._crew.hear(member)
        yield self._crew.computes_on or ""

    def _written(self, work: Work, header: Header, shards: Sequence[Shard]) -> Iterator[str | Whole]:
        crew, runs = self._crew, ShardRuns(shards, self._shards_per_task, ShardWriter(work.out, header))
        sample = sample_of(work.plan) if len(shards) == len(shards_of(header)) else None  # else it was begun before
        job = Job(_absolute(work.out), header, work.reuse, work.batch_size, sample)
        try:
            while runs.left and not self._ended:
                crew.hire(runs.left)
                for member in crew.free():
                    member.shards = runs.take(len(crew.members))
                    if not member.shards:
                        break
                    first, last = (member.shards[at].positions for at in (0, -1))
                    part = work.plan.part(member.shards[0].view, first.start, last.stop)
                    crew.ask(member, None if member.began else job, part, member.shards)
                    if not member.began:
                        member.began, job = True, replace(job, sample=None)
                for member in crew.speaking():
                    try:
                        said = crew.hear(member)
                    except _Lost:
                        say(f"worker {member.name} was lost")
                        runs.lost(member.shards)
                        continue
                    if isinstance(said, Whole):
                        del member.shards[0]
                        runs.whole(said.info)
                    if said is not None:
                        yield said
        finally:
            crew.end()


def _absolute(place: Place) -> Place:
    """For processes that work in other folders."""
    return Folder(place.path.absolute(), str(place)) if isinstance(place, Folder) else place

"""Runs that differ in their seed alone, taken together; and which of these groups can be compared with which."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dukd_cache.settings.roles import flat, within
from dukd_train.report.finished_runs import Run
from dukd_train.settings import FREE, OF_METHOD, Method, with_role

BASELINES: tuple[Method, ...] = ("scratch", "kd")
"""Methods that the others are compared with."""


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed alone, or a single run."""

    name: str
    """What the names of the runs share, or the name of the only one; unique in a report."""
    runs: tuple[Run, ...]
    """In the order of their seeds."""

    @property
    def method(self) -> str:
        """Of every run."""
        return self.runs[0].config.method

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of the runs."""
        return tuple(run.config.seed for run in self.runs)


def group_runs(runs: Sequence[Run], taken: Collection[str] = ()) -> list[Group]:
    """Every run in one group, in the order of the first run of each; no group is called one of `taken`.

    A run that repeats another, seed and all, says nothing of the spread: it becomes a group of its own.
    """
    members: dict[tuple[str, int], list[Run]] = {}
    seen: dict[tuple[str, int], int] = {}
    for run in runs:
        settings = repr(sorted(_without(settings_of(run), ("seed",)).items()))
        repeats = seen.get((settings, run.config.seed), 0)
        seen[settings, run.config.seed] = repeats + 1
        members.setdefault((settings, repeats), []).append(run)
    names = [_shared_name(of_group) for of_group in members.values()]
    unique = [
        name if names.count(name) == 1 and name not in taken else of_group[0].name
        for name, of_group in zip(names, members.values(), strict=True)
    ]
    return [
        Group(name, tuple(sorted(of_group, key=lambda run: run.config.seed)))
        for name, of_group in zip(unique, members.values(), strict=True)
    ]


def apart(groups: Sequence[Group]) -> list[Group]:
    """What a figure shows: the groups, or, where there is but one, each of its runs."""
    return [*groups] if len(groups) > 1 else [Group(run.name, (run,)) for group in groups for run in group.runs]


def baseline(group: Group, groups: Sequence[Group], method: Method) -> Group | None:
    """The group trained by `method` that equals `group` in all but what makes its method, nearest first."""
    ours, of_method = settings_of(group.runs[0]), with_role(OF_METHOD)
    near: list[tuple[int, Group]] = []
    for other in groups:
        theirs = settings_of(other.runs[0])
        if other.method != method or other is group or _without(ours, of_method) != _without(theirs, of_method):
            continue
        near.append((sum(ours.get(path) != theirs.get(path) for path in ours | theirs), other))
    return min(near, key=lambda pair: pair[0])[1] if near and group.method != method else None


def of_another_cache(group: Group, other: Group) -> bool:
    """Whether two groups were trained from other records: by the digests of their caches, else by their places."""
    digests = {each.runs[0].facts.get("cache_digest") for each in (group, other)}
    return len({each.runs[0].config.cache for each in (group, other)} if None in digests else digests) > 1


def settings_of(run: Run) -> dict[str, Any]:
    """The settings of a run by their dotted paths, less those that change nothing in what is learnt; former ones, too.

    A cache may have been built anew between two runs: the digest beside its place tells. So may weights to start from.
    Runs may start from students that differ in their seed alone, too: their name stands there without it.
    """
    without_effect = [name for name in with_role(FREE) if name not in with_role(OF_METHOD)]  # another cache has one
    settings = _without(flat(run.config.model_dump(mode="json")), without_effect)
    settings["cache"] = f"{settings['cache']} {run.facts.get('cache_digest', '')[:12]}".rstrip()
    if init := settings["student.init"]:
        seedless, fingerprint = _seedless(init, run.config.seed), run.facts.get("init_fingerprint", "")[:12]
        settings["student.init"] = seedless if seedless != init else f"{init} {fingerprint}".rstrip()
    return {**settings, **run.earlier}


def differing_settings(groups: Sequence[Group]) -> dict[str, list[Any]]:
    """The settings, but for the seed, in which the groups are not all alike: path → value of each group."""
    settings = [_without(settings_of(group.runs[0]), ("seed",)) for group in groups]
    paths = dict.fromkeys(path for each in settings for path in each)
    values = {path: [each.get(path) for each in settings] for path in paths}
    return {path: found for path, found in values.items() if any(value != found[0] for value in found)}


def _without(settings: Mapping[str, Any], groups: Sequence[str]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if not within(name, groups)}


def _shared_name(runs: Sequence[Run]) -> str:
    """`kd` for kd-s0 and kd-s1, `method=kd` for method=kd,seed=0 and method=kd,seed=1; else the method."""
    if len(runs) == 1:
        return runs[0].name
    seedless = {_seedless(run.name, run.config.seed).strip("-_,./ ") for run in runs}
    shared = seedless.pop()
    return shared if shared and not seedless else runs[0].config.method


def _seedless(name: str, seed: int) -> str:
    return re.sub(rf"(^|[-_,./ ])(seed|s)?[-_= ]?{seed}(?=$|[-_,./ ])", "", name)

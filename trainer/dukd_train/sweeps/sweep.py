"""A grid of runs from one cache, several at once, and their report.

A sweep's folder holds a run folder for each point of the grid, `settings/` and `logs/` with a file for each, and
`report/`. Given again, finished runs are left alone and others go on.
"""

import os
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dukd_cache import networks
from dukd_cache.format.reader import Cache
from dukd_cache.networks.devices import choose_device
from dukd_cache.settings.model import dump
from dukd_cache.system.errors import DukdError, SettingError, WeightsError
from dukd_cache.system.files import make_folder, try_folder, write_atomically
from dukd_cache.system.terminal import say
from dukd_train.core.run import check
from dukd_train.errors import RunError
from dukd_train.keeping import late_scores, run_folder
from dukd_train.report.compare import PAGE, check_out, compare
from dukd_train.scoring.evaluate import check_pairs, pair_images
from dukd_train.sweeps.grid import Point
from dukd_train.sweeps.job_slots import JobSlots, choose_slots
from dukd_train.sweeps.jobs import Job, State, run_all
from dukd_train.sweeps.overview import Overview

SETTINGS, LOGS, REPORT = "settings", "logs", "report"
"""Folders of a sweep beside those of its runs."""


@dataclass(frozen=True)
class ReportWanted:
    """What `compare` is told at the end."""

    hr: Mapping[str, Path] | None
    """By default the validation sets of the runs."""
    teacher: Path | None


def sweep(points: Sequence[Point], out: Path, jobs: int | None, wanted: ReportWanted) -> str:
    """Train all points that are not trained yet, `jobs` at once; return the table of the report.

    Raises:
        DukdError: anything the user can mend, before the first run starts.
        RunError: runs failed; the others are finished and compared.
    """
    sets = _check(points, out, wanted)
    for folder in (SETTINGS, LOGS):
        make_folder(out / folder)
    first = points[0].config
    slots = choose_slots(jobs, len(points), choose_device(first.device), Cache(first.cache))
    everyone = [_job(point, out, slots) for point in points]
    say(f"sweep: {len(everyone)} runs, {slots.jobs} at once, {slots.threads} threads each")
    with Overview() as overview:
        overview.show(everyone)
        run_all(everyone, slots, dict(os.environ), overview.show)
    return _conclude(everyone, out, wanted, sets)


def _check(points: Sequence[Point], out: Path, wanted: ReportWanted) -> bool:
    """Refuse at once what would fail hours later; return whether there are images to compare the students on."""
    scales, known = set[int](), set[Hashable]()
    try_folder(out)
    for point in points:
        try:
            scales.add(check(point.config, out / point.name, known))
        except DukdError as error:
            raise SettingError(str(error), point.name) from error
    if len(scales) > 1:
        raise SettingError(f"caches of scales {', '.join(map(str, sorted(scales)))} in one sweep", "`grid`")
    (scale,) = scales
    check_out(out / REPORT)
    for folder in (wanted.hr or {}).values():
        check_pairs(pair_images(folder, scale))
    if wanted.teacher and (found := networks.load(wanted.teacher).scale) != scale:
        raise WeightsError(f"expected a network of scale {scale}, found scale {found}", wanted.teacher)
    return bool(wanted.hr) or any(point.config.validation.sets for point in points)


def _job(point: Point, out: Path, slots: JobSlots) -> Job:
    config = point.config
    if config.data.workers is None:
        config = config.model_copy(update={"data": config.data.model_copy(update={"workers": slots.workers})})
    path = out / SETTINGS / f"{point.name}.yaml"
    write_atomically(path, dump(config).encode())
    facts = run_folder.finished(out / point.name, point.config)
    scored = facts and not late_scores.missing(point.config, out / point.name, facts["steps"], facts["scale"])
    return Job(
        name=point.name,
        settings=path,
        folder=out / point.name,
        log=out / LOGS / f"{point.name}.log",
        steps=point.config.steps,
        finished=bool(scored),
    )


def _conclude(jobs: Sequence[Job], out: Path, wanted: ReportWanted, sets: bool) -> str:
    table, compared = "", None
    finished = [job.folder for job in jobs if job.state is State.FINISHED]
    if not sets:
        say("sweep: no report: no validation set in the settings, no HR images given")
    elif finished:
        compared = compare(finished, out / REPORT, hr=wanted.hr, teacher=wanted.teacher)
        table = f"{compared.table}\n{out / REPORT / PAGE}"
    failed = [job for job in jobs if job.state is State.FAILED]
    if table and (failed or (compared and compared.skipped)):
        print(table)
    if failed:
        named = ", ".join(f"{job.name} ({job.log})" for job in failed)
        raise RunError(f"{len(failed)} of {len(jobs)} runs failed: {named}")
    if compared:
        compared.end()
    return table

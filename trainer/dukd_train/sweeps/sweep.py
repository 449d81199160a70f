"""A grid of runs from one cache, several at once, and their report.

A sweep's folder holds a run folder for each point of the grid, `settings/` and `logs/` with a file for each, and
`report/`. Given again, finished runs are left alone and others go on. Several machines may each do a part of it; all
that they know of one another lies in that folder.
"""

from collections.abc import Hashable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from dukd_cache import networks
from dukd_cache.format.reader import Cache
from dukd_cache.pictures.sources import LrFolder
from dukd_cache.settings.model import dump
from dukd_cache.settings.part import Part
from dukd_cache.system.errors import CacheError, DukdError, SettingError, WeightsError
from dukd_cache.system.files import make_folder, try_folder, write_atomically
from dukd_cache.system.lock import locked
from dukd_cache.system.tables import show
from dukd_cache.system.terminal import say
from dukd_train.core.resume import finished
from dukd_train.core.run import check
from dukd_train.errors import RunError
from dukd_train.keeping import late_scores, run_folder
from dukd_train.report.compare import PAGE, Compared, check_out, compare
from dukd_train.report.finished_runs import image_sets
from dukd_train.scoring.evaluate import check_pairs, pair_images
from dukd_train.sweeps.engine import Opening, this_machine
from dukd_train.sweeps.grid import Point, one_scale
from dukd_train.sweeps.jobs import Job, run_all
from dukd_train.sweeps.overview import Overview
from dukd_train.sweeps.run_process import State

SETTINGS, LOGS, REPORT = "settings", "logs", "report"
"""Folders of a sweep beside those of its runs."""

WHOLE = Part(1, 1)
"""All points."""

_REPORT_LOCK = "report.lock"
_NAMED = 3
_LAST = "the part that ends last makes it, or a sweep of all"


@dataclass(frozen=True)
class ReportWanted:
    """What `compare` is told at the end."""

    hr: Mapping[str, Path] = field(default_factory=dict)
    """By default the validation sets of the runs."""
    lr_only: Mapping[str, Path] = field(default_factory=dict)
    """Images without HR."""
    teacher: Path | None = None


def sweep(
    points: Sequence[Point],
    out: Path,
    jobs: int | None,
    wanted: ReportWanted,
    part: Part = WHOLE,
    opening: Opening = this_machine,
) -> str:
    """Train the points of `part` that are not trained yet, `jobs` at once; return the table of the report.

    The report is made where all runs of the other parts are finished; elsewhere there is no table.

    Raises:
        DukdError: anything the user can mend, before the first run starts.
        RunError: runs failed; the others are finished and compared.
    """
    own = share(part, points)
    sets = _check(points, own, out, wanted)
    with opening(jobs, len(own), points[0].config) as engine, Overview() as overview:
        for folder in (SETTINGS, LOGS):
            make_folder(out / folder)
        mine = _jobs(own, out, engine.slots.workers)
        of_all = f"part {part} of " if part != WHOLE else ""
        say(f"sweep: {of_all}{len(points)} runs, {engine.room}")
        overview.show(mine)
        run_all(mine, engine, overview.show, leave=part != WHOLE)
    return _conclude(points, mine, out, wanted, sets)


def share(part: Part, points: Sequence[Point]) -> list[Point]:
    """Those of `points` that `part` trains: a run goes with the one that it starts from."""
    own = set(part.of([point.name for point in points if not point.after]))
    for point in points:
        if point.after in own:
            own.add(point.name)
    return [point for point in points if point.name in own]


def _check(points: Sequence[Point], own: Sequence[Point], out: Path, wanted: ReportWanted) -> bool:
    """Refuse at once what would fail hours later; return whether there are images to compare the students on.

    Only the folders of our `own` points are looked into: others may be about to be made.
    """
    known = set[Hashable]()
    refuse_other_folder(out)
    try_folder(out)
    for point in own:
        try:
            check(point.config, out / point.name, known)
        except DukdError as error:
            raise SettingError(str(error), point.name) from error
    scale = one_scale({cache: Cache(cache).manifest.scale for cache in {point.config.cache for point in points}})
    check_out(out / REPORT)
    return check_wanted(points, wanted, scale)


def refuse_other_folder(out: Path) -> None:
    """Refuse a folder with files of something else, as a sweep's holds folders: a RunError."""
    if out.is_dir() and not (out / SETTINGS).is_dir():
        for name in (name for name in run_folder.names(out) if (out / name).is_file()):
            raise RunError(f"holds something that is no sweep ({name})", out, cure="choose another `out`")


def check_wanted(points: Sequence[Point], wanted: ReportWanted, scale: int) -> bool:
    """Whether there are images to compare students of `scale` on; a DukdError where no report can be made of them."""
    asked = bool(wanted.hr or wanted.lr_only) or any(point.config.validation.sets for point in points)
    if asked:
        image_sets({point.name: point.config for point in points}, wanted.hr, wanted.lr_only, {})
    for folder in wanted.hr.values():
        check_pairs(pair_images(folder, scale))
    for folder in wanted.lr_only.values():
        check_pairs(pair_images(None, scale, LrFolder(folder)))
    if wanted.teacher and (found := networks.load_any(wanted.teacher).scale) != scale:
        raise WeightsError(f"expected a network of scale {scale}, found scale {found}", wanted.teacher)
    return asked


def _jobs(points: Sequence[Point], out: Path, workers: int) -> list[Job]:
    jobs: dict[str, Job] = {}
    for point in points:
        jobs[point.name] = _job(point, out, workers, jobs.get(point.after))
    return [*jobs.values()]


def _job(point: Point, out: Path, workers: int, after: Job | None) -> Job:
    config = point.config
    if config.data.workers is None:
        config = config.model_copy(update={"data": config.data.model_copy(update={"workers": workers})})
    path = out / SETTINGS / f"{point.name}.yaml"
    write_atomically(path, dump(config).encode())
    return Job(
        name=point.name,
        settings=path,
        folder=out / point.name,
        log=out / LOGS / f"{point.name}.log",
        steps=point.config.steps,
        finished=_finished(point, out) and (after is None or after.state is State.FINISHED),
        after=after,
    )


def _finished(point: Point, out: Path) -> bool:
    """Whether its run is done and scored as its settings ask for.

    Raises:
        RunError: it was another run, or of what its cache held before.
    """
    folder, config = out / point.name, point.config
    if not (folder / run_folder.FACTS).is_file():
        return False
    facts = finished(config, folder, Cache(config.cache), allow_changes=False)
    return facts is not None and not late_scores.missing(config, folder, facts["steps"], facts["scale"])


def _conclude(points: Sequence[Point], mine: Sequence[Job], out: Path, wanted: ReportWanted, sets: bool) -> str:
    ended = {job.name: job.state for job in mine if job.state is not State.WAITING}
    states = {point.name: ended.get(point.name) or _state_elsewhere(point, out) for point in points}
    trained = [name for name, state in states.items() if state is State.FINISHED]
    missing = [name for name, state in states.items() if state is State.WAITING]
    failed = [job for job in mine if job.state is State.FAILED]
    table, compared = "", None
    if missing:
        named = ", ".join(missing[:_NAMED]) + (", …" if len(missing) > _NAMED else "")
        say(f"sweep: no report yet: {len(missing)} of {len(points)} runs are not finished elsewhere ({named}); {_LAST}")
    elif not sets:
        say("sweep: no report: no validation set in the settings, no images given")
    elif trained:
        compared = _compare([out / name for name in trained], out, wanted)
        table = f"{compared.table}\n{out / REPORT / PAGE}" if compared else ""
    if table and (failed or (compared and compared.skipped)):
        show(table)
    if failed:
        named = ", ".join(f"{job.name} ({job.log})" for job in failed)
        raise RunError(f"{len(failed)} of {len(mine)} runs failed: {named}")
    if compared:
        compared.end()
    return table


def _state_elsewhere(point: Point, out: Path) -> State:
    return State.FINISHED if _finished(point, out) else State.WAITING


def _compare(runs: Sequence[Path], out: Path, wanted: ReportWanted) -> Compared | None:
    """None where another part is at it, which saw all finished at the same time."""
    with ExitStack() as held:
        try:
            held.enter_context(locked(out, _REPORT_LOCK, "report"))
        except CacheError as error:
            say(f"sweep: {error}")
            return None
        return compare(runs, out / REPORT, hr=wanted.hr, lr_only=wanted.lr_only, teacher=wanted.teacher)

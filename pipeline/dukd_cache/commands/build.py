"""What `build` and `plan` do with a prepared cache: build it, or a part of it, or say what that would take."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any, get_args

from dukd_cache.build.answer import Teachers, cutters, take_all_cores
from dukd_cache.build.costs import costs
from dukd_cache.build.forecast import Forecast, measure_sample
from dukd_cache.build.on_ray import OfRay, on_ray
from dukd_cache.build.parts import build_part, joined
from dukd_cache.build.reuse import Tally, check_reusable, existing
from dukd_cache.build.standing import begun, shards_of
from dukd_cache.build.trial import ONLY, doubts, no_whole_windows, spoken
from dukd_cache.build.write import LOCAL, Engine, Work, build
from dukd_cache.commands.config import CacheConfig
from dukd_cache.commands.long_builds import TellsOfDays
from dukd_cache.commands.prepare import Prepared, prepare, sets_of, teachers_of
from dukd_cache.format.lifecycle import IMAGES, check, claim, header_of
from dukd_cache.format.manifest import MANIFEST, Manifest
from dukd_cache.places import Address, Place
from dukd_cache.places.choice import place_at
from dukd_cache.places.folder import Folder
from dukd_cache.plan.screening import left_out_as_before
from dukd_cache.plan.views import VIEWS
from dukd_cache.settings.choices import EngineName
from dukd_cache.settings.part import Part
from dukd_cache.system.errors import ImageError, SettingError, unknown_name
from dukd_cache.system.files import refuse_no_folder
from dukd_cache.system.terminal import Advance, progress, say
from dukd_cache.system.threads import usable_cores


def build_cache(
    config: CacheConfig, out: Address, tally: Tally | None = None, part: Part | None = None, engine: Engine = LOCAL
) -> Manifest | None:
    """Build the cache that `config` asks for at `out`, or `part` of it; None where parts are missing then.

    Args:
        tally: counts what becomes of the records.
        engine: where the work is done.

    Raises:
        DukdError: anything the user can mend.
    """
    place, reuse = place_at(out), tuple(map(place_at, config.reuse))
    check_reusable(reuse)
    if part is not None:
        return _build_part(config, place, out, tally or Tally(), part, engine)
    place.refuse_if_locked()
    made = prepare(config, out, engine)
    _check(made, config, place, engine)
    with _asking(sum(map(made.header.total, made.header.views)), made.teachers) as advance:
        return build(_work(made, config, place, advance, tally or Tally()), made.header, engine)


def _build_part(
    config: CacheConfig, place: Place, out: Address, tally: Tally, part: Part, engine: Engine
) -> Manifest | None:
    made: Prepared | None = None

    def start() -> None:
        """Of several parts one does this, alone: it identifies the images, for all of them."""
        nonlocal made
        there = header_of(place)
        if listed := _listed_in(place):
            with suppress(ImageError):  # they are others than in an earlier attempt
                made = prepare(config, out, engine, listed)
        if made and made.images.skipped and not left_out_as_before(made.images, sets_of(config, out), made.plan.spec):
            made = None  # some were mended since
        if not (made and there and there.like(made.header)):  # else the list may be of other views, or LR files
            made = prepare(config, out, engine)
        _check(made, config, place, engine)
        claim(place, made.header)
        if place.size(MANIFEST) is not None:
            begun(place, made.header)  # it may have lost shards
        if place.size(MANIFEST) is None:
            place.write(IMAGES, made.images.to_bytes())

    with joined(place, start) as free:
        made = made or prepare(config, out, engine, _listed_in(place))
        own = sum(len(shard.positions) for shard in part.of(shards_of(made.header)))
        with _asking(own, made.teachers) as advance:
            work = _work(made, config, place, advance, tally)
            return build_part(replace(work, worker=f"{part.number}-of-{part.count}"), made.header, part, free, engine)


@contextmanager
def engine_of(config: CacheConfig, name: EngineName, part: Part | None = None, **of_ray: Any) -> Iterator[Engine]:
    """The engine of that name, until the block ends; `of_ray` are fields of `OfRay`.

    Raises:
        DukdError: it is not there, or `part` or fields are no use to it.
    """
    if name not in get_args(EngineName):
        raise SettingError(unknown_name("engine", name, get_args(EngineName)))
    if name == "local":
        for field in of_ray:
            raise SettingError("give `engine=ray`, too", f"`{field}`")
        yield LOCAL
        return
    if part is not None:
        raise SettingError("one command gives out all shards: leave `part` out", "`engine=ray`")
    with on_ray(partial(teachers_of, config), OfRay(**of_ray), config.device, config.mixed_workers) as engine:
        yield engine


def _check(made: Prepared, config: CacheConfig, place: Place, engine: Engine) -> None:
    """What can be said against it before the first record; what speaks against it, but not so much, is told."""
    check(place, made.header)
    check_reusable(map(place_at, config.reuse), made.header)
    there = header_of(place)
    begun = any(place.size(name) is not None for name in (MANIFEST, IMAGES))
    if begun and there is not None and there.like(made.header):
        return  # it is finished, and nothing is asked; or another part told it
    for line in (*costs(made.header), *_beside_windows(config, made.teachers)):
        say(line)
    if engine.elsewhere or (there is not None and there.like(made.header)):
        return  # it was begun, and they were asked then
    for name, each in made.teachers.items():
        for line in doubts(made.plan, each, spoken(name, made.teachers)):
            say(line)


def _work(made: Prepared, config: CacheConfig, place: Place, advance: Advance, tally: Tally) -> Work:
    reuse = tuple(map(place_at, config.reuse))
    return Work(made.plan, made.teachers, place, config.batch_size, reuse, advance, tally)


@contextmanager
def _asking(records: int, teachers: Teachers) -> Iterator[Advance]:
    with progress("asking the teacher" if teachers else "cutting pairs", records, "records") as advance:
        yield TellsOfDays(advance, records)


def _listed_in(place: Place) -> bytes | None:
    return None if place.size(IMAGES) is None else place.read(IMAGES)


def planned(config: CacheConfig, out: Address) -> Prepared:
    """What `build_cache` would know before its first record, and had not refused. Writes nothing.

    Raises:
        DukdError: anything the user can mend.
    """
    place = place_at(out)
    if isinstance(place, Folder):
        refuse_no_folder(place.path)
    made = prepare(config, out)
    check(place, made.header)
    check_reusable(map(place_at, config.reuse), made.header)
    return made


def forecast(config: CacheConfig, out: Address) -> Forecast:
    """What `build_cache` would do, from a measured sample. Writes nothing to the cache.

    Raises:
        DukdError: what `build_cache` would raise before its first record.
    """
    place, reuse = place_at(out), [place_at(other) for other in config.reuse]
    made = planned(config, out)
    found = existing(made.plan, made.header, place, reuse)
    tallies = {view.name: found.tallies(view) for view in made.header.views}
    sample = measure_sample(made.plan, made.header, made.teachers, place, config.batch_size)
    on_gpu = bool(made.teachers) and not take_all_cores(made.teachers)
    records = {view.name: made.header.total(view) for view in made.header.views}
    first = made.header.views[0].name
    degrading = f"degradation: {1000 * sample.views[first].cutting:.0f} ms of one core a record of {first}"
    drawn = (degrading,) if config.degradation else ()
    notes = (*drawn, *costs(made.header), *_beside_windows(config, made.teachers), *sample.doubts)
    return Forecast(
        len(made.plan.images),
        records,
        tallies,
        sample,
        usable_cores(),
        on_gpu,
        notes,
        cutters(made.plan, made.teachers),
    )


def _beside_windows(config: CacheConfig, teachers: Teachers) -> Iterator[str]:
    for name, window in {config.answers[name][0]: each.info.window for name, each in teachers.items()}.items():
        yield from between_windows(config, window, spoken(name, config.teacher))


def between_windows(config: CacheConfig, window: int, who: str = ONLY) -> Iterator[str]:
    """One line for each side that was asked for and is no multiple of the window of the teacher `who`."""
    asked = {"patch": config.patch} | {f"views.{view}.patch": config.view(view).patch for view in VIEWS}
    sides = {said: side for said, side in asked.items() if side is not None}
    return no_whole_windows(sides, window, config.context, who)

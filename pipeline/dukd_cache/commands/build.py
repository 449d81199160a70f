"""The settings of a cache, turned into plan, header, teacher and store."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from math import lcm
from typing import Any, get_args

import numpy

from dukd_cache.build import teacher
from dukd_cache.build.answer import Teachers, cutters, take_all_cores
from dukd_cache.build.columns import COLUMNS
from dukd_cache.build.costs import costs
from dukd_cache.build.forecast import Forecast, measure_sample
from dukd_cache.build.on_ray import OfRay, on_ray
from dukd_cache.build.parts import build_part, joined
from dukd_cache.build.reuse import Tally, check_reusable, existing
from dukd_cache.build.standing import begun, shards_of
from dukd_cache.build.trial import ONLY, doubts, no_whole_windows, spoken, whole_windows
from dukd_cache.build.write import LOCAL, Engine, Work, build
from dukd_cache.commands.config import CacheConfig
from dukd_cache.commands.long_builds import TellsOfDays
from dukd_cache.format.codecs import choose_codec
from dukd_cache.format.lifecycle import IMAGES, check, claim, header_of
from dukd_cache.format.manifest import (
    MANIFEST,
    Degradation,
    Encoding,
    Header,
    ImagesInfo,
    Manifest,
    SkippedImage,
)
from dukd_cache.format.shards import software
from dukd_cache.networks.devices import choose_device
from dukd_cache.pictures.degradation.recipe import columns_of
from dukd_cache.pictures.finding import find, prefixes, refuse_shared_files
from dukd_cache.pictures.image_list import Images
from dukd_cache.pictures.known_files import known_images
from dukd_cache.pictures.sources import SourceImage
from dukd_cache.places import Address, Place
from dukd_cache.places.choice import place_at
from dukd_cache.places.folder import Folder
from dukd_cache.plan.crops import CropSpec, Plan
from dukd_cache.plan.screened import HrSet, Screened, screened_from
from dukd_cache.plan.screening import screen
from dukd_cache.plan.views import VIEWS
from dukd_cache.settings.choices import EngineName
from dukd_cache.settings.part import Part
from dukd_cache.settings.takes import USUAL
from dukd_cache.system.errors import ImageError, SettingError, unknown_name
from dukd_cache.system.files import refuse_no_folder
from dukd_cache.system.terminal import Advance, progress, say
from dukd_cache.system.threads import usable_cores

PATCH = 48
"""Side of an LR patch, in pixels: the usual one of SR training."""


@dataclass(frozen=True)
class Prepared:
    """All that is known before the first record."""

    plan: Plan
    header: Header
    teachers: Teachers
    images: Screened


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
    with _asking(sum(map(made.header.total, made.header.views))) as advance:
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
        with _asking(own) as advance:
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
def _asking(records: int) -> Iterator[Advance]:
    with progress("asking the teacher", records, "records") as advance:
        yield TellsOfDays(advance, records)


def _listed_in(place: Place) -> bytes | None:
    return None if place.size(IMAGES) is None else place.read(IMAGES)


def prepare(config: CacheConfig, out: Address, engine: Engine = LOCAL, listed: bytes | None = None) -> Prepared:
    """Load the teachers, identify the images and plan the crops. Writes nothing.

    Args:
        listed: the images as another process identified them (`Screened.to_bytes`): these are looked at, not read.

    Raises:
        ImageError: an image cannot be used, or is another than `listed` says.
        DukdError: anything else the user can mend.
    """
    teachers = _described(config) if engine.elsewhere else teachers_of(config)
    spec = _spec(config, _scale(config, teachers), teachers)
    sets = sets_of(config, out)
    found = _screened(config, sets, spec, listed)
    plan = Plan(found.images, spec)
    computed = f"{engine.computes_on(teachers)}, batches of {config.batch_size}"
    header = _header(config, plan, images_info(found.images, found.skipped), teachers)
    known = header.model_copy(update={"computed": computed}) if teachers and not config.mixed_workers else header
    return Prepared(plan, known, teachers, found)


def _screened(config: CacheConfig, sets: list[HrSet], spec: CropSpec, listed: bytes | None) -> Screened:
    how = "decoding every image once" if config.on_bad_image == "skip" else "reading image headers"
    said = how if listed is None else "looking at images that were identified"
    with (
        known_images() as known,
        progress(said, sum(len(each.files.paths) for each in sets), "images") as advance,
    ):
        if listed is not None:
            found = screened_from(listed, sets, advance, known.facts)
            if found.skipped and config.on_bad_image == "fail":
                name, reason = found.skipped[0].name, found.skipped[0].reason
                cure = "give `on_bad_image=skip`, too"
                raise ImageError(f"was left out where the build began ({reason})", name, cure)
            return found
        return screen(sets, spec, config.on_bad_image, advance, known.facts)


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
    degrading = f"degradation: {1000 * sample.views['base'].cutting:.0f} ms of one core a record of base"
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


def sets_of(config: CacheConfig, out: Address) -> list[HrSet]:
    """The images that `config` names; `out` is none of them."""
    if config.lr and len(config.lr) not in (1, len(config.hr)):
        count = f"{len(config.lr)} folders for {len(config.hr)} of `hr`"
        raise SettingError(f"{count}; expected one, or one for each", "`lr`")
    others = [*config.lr]
    if isinstance(place := place_at(out), Folder):
        others.append(place.path)
    found = [find(hr, others) for hr in config.hr]
    refuse_shared_files(found)
    lr_of = config.lr_folders * (len(config.hr) if len(config.lr) == 1 else 1) or (None,) * len(config.hr)
    roots = prefixes([files.root for files in found])
    return [HrSet(files, lr, prefix) for files, lr, prefix in zip(found, lr_of, roots, strict=True)]


def teachers_of(config: CacheConfig) -> Teachers:
    """By the names of their answers."""
    loaded = {
        name: teacher.load(
            file,
            choose_device(config.device),
            config.precision,
            compiled=config.compile,
            self_ensemble=config.self_ensemble,
            context=config.context,
            takes=config.teacher_takes.get(name, USUAL),
        )
        for name, file in config.teacher.items()
    }
    if config.scale is not None:
        loaded = {name: each.of_scale(config.scale) for name, each in loaded.items()}
    return {answer: loaded[name].about(of) for answer, (name, of) in config.answers.items()}


def _described(config: CacheConfig) -> Teachers:
    """The same for who only has to know what they are: here, nothing has to be able to compute so."""
    found = teachers_of(config.model_copy(update={"device": "cpu", "precision": "fp32", "compile": False}))
    precision = {"precision": config.precision}
    return {name: replace(each, info=each.info.model_copy(update=precision)) for name, each in found.items()}


def _scale(config: CacheConfig, teachers: Teachers) -> int:
    scales = {config.answers[name][0]: each.scale for name, each in teachers.items()}
    if not scales:
        if config.scale is None:
            raise SettingError("no teacher: give `teacher=WEIGHTS`, or `scale=N` for a cache of pairs without one")
        return config.scale
    first, scale = next(iter(scales.items()))
    for name, other in scales.items():
        if other != scale:
            files = config.teacher
            raise SettingError(f"{files[first]} is a teacher of scale {scale}, {files[name]} one of scale {other}")
    return scale


def _spec(config: CacheConfig, scale: int, teachers: Teachers) -> CropSpec:
    window = lcm(*(each.info.window for each in teachers.values()))
    patch = config.patch or whole_windows(PATCH, window, config.context)
    counts = {name: config.crops(name) for name in VIEWS}
    if not teachers and any(count for name, count in counts.items() if VIEWS[name].upcycled):
        raise SettingError("a cache without `teacher` holds pairs only: use `views.zoom_in=0` `views.zoom_out=0`")
    if not any(counts.values()):
        raise SettingError(f"no view left: one of {', '.join(f'`views.{name}`' for name in VIEWS)} must be positive")
    answers = dict.fromkeys(teachers, config.dtype)
    views = []
    for name, view in VIEWS.items():
        if counts[name]:
            usual = whole_windows(view.usual_side(patch, scale), window, config.context) if view.smaller else patch
            side = config.view(name).patch or usual
            views.append(view.info(counts[name], side, scale, answers, config.answers_of))
    return CropSpec(scale, patch, config.seed, tuple(views), config.degradation)


def _beside_windows(config: CacheConfig, teachers: Teachers) -> Iterator[str]:
    for name, window in {config.answers[name][0]: each.info.window for name, each in teachers.items()}.items():
        yield from between_windows(config, window, spoken(name, config.teacher))


def between_windows(config: CacheConfig, window: int, who: str = ONLY) -> Iterator[str]:
    """One line for each side that was asked for and is no multiple of the window of the teacher `who`."""
    asked = {"patch": config.patch} | {f"views.{view}.patch": config.view(view).patch for view in VIEWS}
    sides = {said: side for said, side in asked.items() if side is not None}
    return no_whole_windows(sides, window, config.context, who)


def _header(config: CacheConfig, plan: Plan, images: ImagesInfo, teachers: Teachers) -> Header:
    template, steps = config.lr_template if config.lr else None, config.degradation
    drawn, answers = columns_of(steps) if steps else [], {name: each.info for name, each in teachers.items()}
    header = Header(
        scale=plan.spec.scale,
        patch=plan.spec.patch,
        seed=plan.spec.seed,
        images=images,
        degradation=Degradation(
            kind="drawn" if steps else "files" if template else "bicubic", template=template, steps=steps
        ),
        answers=answers,
        views=plan.spec.views,
        columns={name: COLUMNS[name].kind for name in config.columns} | dict.fromkeys(drawn, "float64"),
        encoding=Encoding(store=config.store, codec=choose_codec(config.store, config.codec)),
        software=teacher.software(answers.values())
        | software(config.store)
        | ({"numpy": numpy.__version__} if steps else {}),
    )
    return header.with_shard_size(config.shard_size)


def images_info(images: Sequence[SourceImage], skipped: tuple[SkippedImage, ...] = ()) -> ImagesInfo:
    """What names the images and, where they are not made from them, their LR files."""
    total, longest = hashlib.sha256(), 0
    for name, sha256, lr_sha256 in Images.of(images).identities():
        total.update(f"{name}\0{sha256}\0{lr_sha256}\n".encode())
        longest = max(longest, len(name.encode()))
    return ImagesInfo(count=len(images), sha256=total.hexdigest(), name_bytes=longest or 1, skipped=skipped)

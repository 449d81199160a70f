"""The settings of a cache, turned into plan, header and teachers: all that is known before the first record."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import lcm

import numpy

from dukd_cache.build import teacher
from dukd_cache.build.answer import Teachers
from dukd_cache.build.columns import COLUMNS
from dukd_cache.build.trial import whole_windows
from dukd_cache.build.write import LOCAL, Engine
from dukd_cache.commands.config import CacheConfig
from dukd_cache.format.codecs import choose_codec
from dukd_cache.format.header import Degradation, Encoding, Header, ImagesInfo, SkippedImage
from dukd_cache.format.shards import software
from dukd_cache.networks.devices import choose_device
from dukd_cache.pictures.degradation.recipe import columns_of
from dukd_cache.pictures.finding import find, prefixes, refuse_shared_files
from dukd_cache.pictures.image_list import Images
from dukd_cache.pictures.known_files import known_images
from dukd_cache.pictures.sources import SourceImage
from dukd_cache.places import Address
from dukd_cache.places.choice import place_at
from dukd_cache.places.folder import Folder
from dukd_cache.plan.crops import CropSpec, Plan
from dukd_cache.plan.screened import HrSet, Screened, screened_from
from dukd_cache.plan.screening import screen
from dukd_cache.plan.views import VIEWS
from dukd_cache.settings.takes import USUAL
from dukd_cache.system.errors import ImageError, SettingError
from dukd_cache.system.terminal import progress

PATCH = 48
"""Side of an LR patch, in pixels: the usual one of SR training."""


@dataclass(frozen=True)
class Prepared:
    """All that is known before the first record."""

    plan: Plan
    header: Header
    teachers: Teachers
    images: Screened


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
    """By the names of their answers.

    Raises:
        WeightsError, SettingError: one cannot be loaded, or asked as `config` says; two are one.
    """
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
    _refuse_twins(loaded)
    return {answer: loaded[name].about(of) for answer, (name, of) in config.answers.items()}


def _refuse_twins(loaded: Teachers) -> None:
    """A second answer of the same network costs as much as the first and says nothing."""
    first: dict[str, str] = {}
    for name, each in loaded.items():
        if (other := first.setdefault(each.info.asked, name)) != name:
            raise SettingError(f"{other} and {name} are the same network, asked alike: leave one out", "`teacher`")


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

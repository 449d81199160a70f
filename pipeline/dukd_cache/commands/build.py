"""What a user asks of `dukd-cache build`, turned into plan, header, teacher and store."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import PIL
import torch
from pydantic import ValidationError

from dukd_cache import __version__
from dukd_cache.build import teacher
from dukd_cache.build.forecast import Forecast, measure
from dukd_cache.build.known_records import existing
from dukd_cache.build.reuse import Tally, all_sources
from dukd_cache.build.trial import doubts, sides_beside, whole_windows
from dukd_cache.build.write import build
from dukd_cache.format.choice import choose_codec, open_writer, software
from dukd_cache.format.layout import with_shard_size
from dukd_cache.format.lifecycle import check, header_of
from dukd_cache.format.manifest import (
    MANIFEST,
    Codec,
    CropSpec,
    Dtype,
    Encoding,
    Header,
    ImagesInfo,
    Manifest,
    Precision,
    SkippedImage,
    Store,
    TeacherInfo,
)
from dukd_cache.networks.devices import choose_device
from dukd_cache.pictures.finding import find, prefixes, refuse_shared_files
from dukd_cache.pictures.known_files import known_images
from dukd_cache.pictures.sources import FileFacts, LrFolder, SourceImage
from dukd_cache.places import Address
from dukd_cache.places.choice import place_at
from dukd_cache.places.folder import Folder
from dukd_cache.plan.crops import Plan
from dukd_cache.plan.screening import HrSet, OnBadImage, screen
from dukd_cache.system.errors import SettingError, wanted
from dukd_cache.system.files import refuse_no_folder
from dukd_cache.system.terminal import progress, say

PATCH = 48
"""Side of an LR patch, in pixels: the usual one of SR training."""


@dataclass(frozen=True)
class BuildJob:
    """One `dukd-cache build`."""

    hr: tuple[Path, ...]
    """Folders of HR images, or lists of them."""
    out: Address
    weights: Path | None
    """The teacher's; None for a cache of pairs to train from scratch."""
    scale: int | None
    """None: the teacher's."""
    lr: tuple[LrFolder, ...]
    """Empty: LR images are made. Else one for each of `hr`, or one for all."""
    patch: int | None
    """None: `PATCH`, or the next multiple of the teacher's window."""
    zoom_out_patch: int | None
    """None: patch // scale, or the next multiple of the teacher's window."""
    base: int
    zoom_in: int
    zoom_out: int
    codec: Codec | None
    """None: the store's default."""
    dtype: Dtype
    precision: Precision
    device: str
    batch_size: int
    shard_size: int
    """Megabytes of pixels a shard, before compression."""
    seed: int
    compile: bool = False
    """The teacher, by torch.compile."""
    store: Store = "webdataset"
    on_bad_image: OnBadImage = "fail"
    reuse: tuple[Address, ...] = ()
    """Other caches, finished or not, whose answers may serve."""


@dataclass(frozen=True)
class Prepared:
    """All that is known before the first record."""

    plan: Plan
    header: Header
    teacher: teacher.Teacher | None


def run(job: BuildJob, tally: Tally | None = None) -> Manifest:
    """Build the cache that `job` asks for; `tally` counts what becomes of the records.

    Raises:
        DukdError: anything the user can mend.
    """
    out, reuse = place_at(job.out), [place_at(other) for other in job.reuse]
    out.refuse_if_locked()
    all_sources(out, reuse)  # refuses what is no cache, before the teacher is asked anything
    made = prepare(job)
    check(out, made.header)
    store = open_writer(out, made.header)
    is_finished = out.size(MANIFEST) is not None and header_of(out) == made.header
    if made.teacher and not is_finished:  # else there is nothing to ask
        for line in (*between_windows(job, made.teacher.info.window), *doubts(made.plan, made.teacher)):
            say(line)
    with progress("asking the teacher", sum(map(made.plan.total, made.plan.spec.views)), "records") as advance:
        return build(
            made.plan,
            made.header,
            made.teacher,
            store,
            out,
            batch_size=job.batch_size,
            on_records=advance,
            reuse=reuse,
            tally=tally,
        )


def prepare(job: BuildJob) -> Prepared:
    """Load the teacher, identify the images and plan the crops. Writes nothing.

    Raises:
        DukdError: anything the user can mend.
    """
    asked = _teacher(job)
    scale = _scale(job, asked)
    spec = _spec(job, scale, asked)
    sets = _sets(job)
    how = "decoding every image once" if job.on_bad_image == "skip" else "reading image headers"
    with known_images() as known:
        with progress(how, sum(len(each.files.paths) for each in sets), "images") as advance:
            found = screen(sets, spec, job.on_bad_image, advance, known.facts)
        info = images_info(found.images, job.lr[0] if job.lr else None, found.skipped, known.facts)
    plan = Plan(found.images, spec)
    return Prepared(plan, _header(job, plan, info, asked.info if asked else None), asked)


def forecast(job: BuildJob) -> Forecast:
    """What `run` would do, from a measured sample. Writes nothing to the cache.

    Raises:
        DukdError: what `run` would raise before its first record.
    """
    out, reuse = place_at(job.out), [place_at(other) for other in job.reuse]
    if isinstance(out, Folder):
        refuse_no_folder(out.path)
    made = prepare(job)
    check(out, made.header)
    store = open_writer(out, made.header)
    found = existing(made.plan, made.header, store, out, reuse)
    tallies = {view: found.tally(view) for view in made.plan.spec.views}
    sample = measure(
        made.plan,
        made.header,
        made.teacher,
        lambda place: open_writer(place, made.header),
        out,
        job.batch_size,
    )
    on_gpu = made.teacher is not None and made.teacher.device.type != "cpu"
    records = {view: made.plan.total(view) for view in tallies}
    notes = (*between_windows(job, made.teacher.info.window), *sample.doubts) if made.teacher else ()
    return Forecast(len(made.plan.images), records, tallies, sample, os.cpu_count() or 1, on_gpu, notes)


def _sets(job: BuildJob) -> list[HrSet]:
    if job.lr and len(job.lr) not in (1, len(job.hr)):
        raise SettingError(f"--lr: {len(job.lr)} folders for {len(job.hr)} of --hr; expected one, or one for each")
    others = [lr.root for lr in job.lr]
    if isinstance(out := place_at(job.out), Folder):
        others.append(out.path)
    found = [find(hr, others) for hr in job.hr]
    refuse_shared_files(found)
    lr_of = job.lr * (len(job.hr) if len(job.lr) == 1 else 1) or (None,) * len(job.hr)
    roots = prefixes([files.root for files in found])
    return [HrSet(files, lr, prefix) for files, lr, prefix in zip(found, lr_of, roots, strict=True)]


def _teacher(job: BuildJob) -> teacher.Teacher | None:
    if job.weights is None:
        return None
    return teacher.load(job.weights, choose_device(job.device), job.precision, compiled=job.compile)


def _scale(job: BuildJob, asked: teacher.Teacher | None) -> int:
    if asked is None:
        if job.scale is None:
            raise SettingError("no teacher: give --teacher WEIGHTS, or --scale N for a cache of pairs without one")
        return job.scale
    if job.scale not in (None, asked.network.scale):
        raise SettingError(f"--scale {job.scale}: {job.weights} is a teacher of scale {asked.network.scale}")
    return asked.network.scale


def _spec(job: BuildJob, scale: int, asked: teacher.Teacher | None) -> CropSpec:
    window = asked.info.window if asked else 1
    patch = whole_windows(PATCH, window) if job.patch is None else job.patch
    if asked is None and (job.zoom_in or job.zoom_out):
        raise SettingError("a cache without --teacher holds pairs only: use --zoom-in 0 --zoom-out 0")
    if not (job.base or job.zoom_in or job.zoom_out):
        raise SettingError("no view left: one of --base, --zoom-in, --zoom-out must be positive")
    try:
        return CropSpec.model_validate(
            {
                "scale": scale,
                "patch": patch,
                "zoom_out_patch": whole_windows(max(1, patch // scale), window)
                if job.zoom_out_patch is None
                else job.zoom_out_patch,
                "base": job.base,
                "zoom_in": job.zoom_in,
                "zoom_out": job.zoom_out,
                "seed": job.seed,
            }
        )
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]).replace("_", "-")
        raise SettingError(f"--{option}: expected {wanted(first)}, got {first['input']}") from error


def between_windows(job: BuildJob, window: int) -> Iterator[str]:
    """One line for each side that was asked for and is no multiple of the teacher's window."""
    for option, side in (("--patch", job.patch), ("--zoom-out-patch", job.zoom_out_patch)):
        if side is not None and side % window:
            yield (
                f"{option} {side}: no multiple of the teacher's window of {window}, so its inputs are mirrored to "
                f"{whole_windows(side, window)} pixels and its answers are worse than at {sides_beside(side, window)}"
            )


def _header(job: BuildJob, plan: Plan, images: ImagesInfo, info: TeacherInfo | None) -> Header:
    codec = choose_codec(job.store, job.codec)
    header = Header(
        spec=plan.spec,
        teacher=info,
        images=images,
        encoding=Encoding(store=job.store, codec=codec, dtype=job.dtype, shard_records={}),
        software={
            "dukd": __version__,
            "pillow": PIL.__version__,
            "torch": torch.__version__,
            "spandrel": version("spandrel"),
        }
        | software(job.store),
    )
    return with_shard_size(header, job.shard_size)


def images_info(
    images: Sequence[SourceImage],
    lr: LrFolder | None,
    skipped: tuple[SkippedImage, ...],
    facts_of: Callable[[Path], FileFacts],
) -> ImagesInfo:
    """What names the images and, where they are not made from them, their LR files; `facts_of` hashes a file."""
    total = hashlib.sha256()
    for image in images:
        lr_sha256 = facts_of(image.lr).sha256 if image.lr else ""
        total.update(f"{image.name}\0{image.sha256}\0{lr_sha256}\n".encode())
    read = lr.template if lr else "bicubic"
    return ImagesInfo(count=len(images), sha256=total.hexdigest(), lr=read, skipped=skipped)

"""What a user asks of `dukd-cache build`, turned into plan, header, teacher and store."""

import hashlib
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import PIL
import torch
from pydantic import ValidationError

from dukd_cache import __version__, teacher
from dukd_cache.build import build
from dukd_cache.errors import SettingError
from dukd_cache.images import LrFolder, SourceImage, find_images, identify, read_scene
from dukd_cache.layout import with_shard_size
from dukd_cache.manifest import (
    Codec,
    CropSpec,
    Dtype,
    Encoding,
    Header,
    ImagesInfo,
    Manifest,
    Precision,
    Store,
    TeacherInfo,
)
from dukd_cache.plan import Plan
from dukd_cache.progress import progress
from dukd_cache.stores.choice import choose_codec, open_writer, software


@dataclass(frozen=True)
class BuildJob:
    """One `dukd-cache build`."""

    hr: Path
    out: Path
    weights: Path | None
    """The teacher's; None for a cache of pairs to train from scratch."""
    scale: int | None
    """None: the teacher's."""
    lr: LrFolder | None
    patch: int
    zoom_out_patch: int | None
    """None: patch // scale."""
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
    store: Store = "webdataset"


def run(job: BuildJob) -> Manifest:
    """Build the cache that `job` asks for.

    Raises:
        DukdError: anything the user can mend.
    """
    asked = _teacher(job)
    scale = _scale(job, asked)
    paths = find_images(job.hr)
    with progress("reading image headers", len(paths), "images") as advance:
        images: list[SourceImage] = []
        for path in paths:
            images.append(identify(job.hr, path, scale, job.lr))
            advance(1)
    spec = _spec(job, scale, asked is not None)
    plan = Plan(tuple(images), spec)
    if job.lr:
        # A wrong scale shows in the first pair: better now than after an hour.
        read_scene(images[0].path, images[0].lr, scale)
    header = _header(job, plan, asked.info if asked else None)
    store = open_writer(job.out, header)
    with progress("asking the teacher", sum(map(plan.total, spec.views)), "records") as advance:
        return build(plan, header, asked, store, job.out, batch_size=job.batch_size, on_records=advance)


def _teacher(job: BuildJob) -> teacher.Teacher | None:
    if job.weights is None:
        return None
    return teacher.load(job.weights, teacher.choose_device(job.device), job.precision)


def _scale(job: BuildJob, asked: teacher.Teacher | None) -> int:
    if asked is None:
        if job.scale is None:
            raise SettingError("no teacher: give --teacher WEIGHTS, or --scale N for a cache of pairs without one")
        return job.scale
    if job.scale not in (None, asked.network.scale):
        raise SettingError(f"--scale {job.scale}: {job.weights} is a teacher of scale {asked.network.scale}")
    return asked.network.scale


def _spec(job: BuildJob, scale: int, has_teacher: bool) -> CropSpec:
    if not has_teacher and (job.zoom_in or job.zoom_out):
        raise SettingError("a cache without --teacher holds pairs only: use --zoom-in 0 --zoom-out 0")
    if not (job.base or job.zoom_in or job.zoom_out):
        raise SettingError("no view left: one of --base, --zoom-in, --zoom-out must be positive")
    try:
        return CropSpec.model_validate(
            {
                "scale": scale,
                "patch": job.patch,
                "zoom_out_patch": max(1, job.patch // scale) if job.zoom_out_patch is None else job.zoom_out_patch,
                "base": job.base,
                "zoom_in": job.zoom_in,
                "zoom_out": job.zoom_out,
                "seed": job.seed,
            }
        )
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]).replace("_", "-")
        raise SettingError(f"--{option}: {first['msg']}, got {first['input']}") from error


def _header(job: BuildJob, plan: Plan, info: TeacherInfo | None) -> Header:
    codec = choose_codec(job.store, job.codec)
    header = Header(
        spec=plan.spec,
        teacher=info,
        images=_images_info(plan.images, job.lr),
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


def _images_info(images: tuple[SourceImage, ...], lr: LrFolder | None) -> ImagesInfo:
    total = hashlib.sha256()
    for image in images:
        lr_sha256 = hashlib.sha256(image.lr.read_bytes()).hexdigest() if image.lr else ""
        total.update(f"{image.name}\0{image.sha256}\0{lr_sha256}\n".encode())
    return ImagesInfo(count=len(images), sha256=total.hexdigest(), lr=lr.template if lr else "bicubic")

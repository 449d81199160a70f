"""Small photo-like images and build jobs that tests make for themselves."""

import json
import os
import struct
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from dukd_cache.build.reuse import Tally
from dukd_cache.build.teacher import Teacher
from dukd_cache.commands.build import build_cache
from dukd_cache.commands.config import CacheConfig
from dukd_cache.commands.prepare import teachers_of
from dukd_cache.format.header import AnswerInfo, Degradation, Encoding, Header, ImagesInfo
from dukd_cache.format.index import Rows, index_name
from dukd_cache.format.reader import Cache
from dukd_cache.format.record import Dtype, Pixels, Record
from dukd_cache.places import object_lock
from dukd_cache.plan.crops import CropSpec
from dukd_cache.plan.views import VIEWS
from dukd_cache.settings.choices import Store
from dukd_cache.settings.model import validated
from dukd_cache.settings.part import Part
from dukd_cache.system.arrays import U8


def photo(width: int, height: int, seed: int = 0) -> U8:
    """Waves, an edge and some grain, u8 [height,width,3]."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    channels = []
    for _ in range(3):
        slope_x, slope_y, phase = [*random.uniform(-0.4, 0.4, 2), random.uniform(0, 6)]
        waves = 127 + 70 * np.sin(slope_x * x + slope_y * y + phase)
        edge = 60 * (x * random.uniform(0.5, 1) + y * random.uniform(-1, 1) > width / 3)
        channels.append(waves + edge - 30 + random.normal(0, 4, x.shape))
    return np.stack(channels, axis=-1).clip(0, 255).astype(np.uint8)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """One of those that a PNG file is made of."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def save_photos(folder: Path, sizes: Iterable[tuple[int, int]]) -> Path:
    """`photo_0.png` … in `folder`, of these widths and heights."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (width, height) in enumerate(sizes):
        Image.fromarray(photo(width, height, seed=number)).save(folder / f"photo_{number}.png")
    return folder


class Asked(NamedTuple):
    """A build, as `run`, `prepare` and `forecast` take it."""

    config: CacheConfig
    out: Any

    def but(self, **changes: Any) -> "Asked":
        """The same with other settings, or elsewhere; `base=3` is `views.base.crops`."""
        out, content = changes.pop("out", self.out), self.config.model_dump(exclude_unset=True)
        for name, value in changes.items():
            view, patch, _ = name.partition("_patch")
            if view in VIEWS:
                content["views"] = content["views"] | {
                    view: content["views"].get(view, {}) | {"patch" if patch else "crops": value}
                }
            else:
                content[name] = value
        return Asked(validated(CacheConfig, content), out)


def build_job(hr: Path, out: Path, weights: Path | None, **changes: Any) -> Asked:
    """A small build of all views that weights allow, changed as asked."""
    small = CacheConfig(
        hr=hr,
        teacher=weights,
        scale=None if weights else 2,
        patch=12,
        views={"base": 6} | dict.fromkeys(("zoom_in", "zoom_out"), 5 if weights else 0),
        codec="webp",
        device="cpu",
        batch_size=4,
        shard_size=1,
    )
    return Asked(small, out).but(**changes)


def crop_spec(
    scale: int = 2,
    patch: int = 12,
    zoom_out_patch: int | None = None,
    seed: int = 0,
    answers: Mapping[str, Dtype] | None = None,
    of: Iterable[str] = ("input",),
    **crops: int,
) -> CropSpec:
    """All views, but for those of 0 crops; zoom-out's input as the command chooses it."""
    counts = {"base": 5, "zoom_in": 4, "zoom_out": 3} | crops
    sides = {"zoom_out": zoom_out_patch or max(1, patch // scale)}
    views = [
        VIEWS[name].info(count, sides.get(name, patch), scale, {"teacher": "uint8"} if answers is None else answers, of)
        for name, count in counts.items()
        if count
    ]
    return CropSpec(scale, patch, seed, tuple(views))


def header_of(
    spec: CropSpec,
    images: ImagesInfo,
    answers: Mapping[str, AnswerInfo],
    per_shard: Mapping[str, int],
    store: Store = "webdataset",
    codec: str = "png",
) -> Header:
    """Of a cache with shards of so many records."""
    views = [view.model_copy(update={"shard_records": per_shard[view.name]}) for view in spec.views]
    return Header(
        scale=spec.scale,
        patch=spec.patch,
        seed=spec.seed,
        images=images,
        degradation=Degradation(kind="bicubic"),
        answers=dict(answers),
        views=tuple(views),
        encoding=Encoding(store=store, codec=codec),
        software={"dukd": "test"},
    )


def with_shards(header: Header, per_shard: Mapping[str, int]) -> Header:
    """The same with shards of so many records."""
    views = [view.model_copy(update={"shard_records": per_shard[view.name]}) for view in header.views]
    return header.model_copy(update={"views": tuple(views)})


def index_of(root: Path, shard: str) -> Rows:
    """All rows of the index of a shard, as `numpy.load` reads them."""
    rows: Rows = np.load(root / index_name(shard))
    return rows


def everything(cache: Cache, view: str) -> list[Record]:
    """All records of a view, in order."""
    return [cache.read(view, index) for index in range(cache.count(view))]


def same(one: npt.NDArray[Any] | None, other: npt.NDArray[Any] | None) -> bool:
    """Both are missing, or both hold the same values of the same type."""
    if one is None or other is None:
        return one is other
    return one.dtype == other.dtype and np.array_equal(one, other)


def equal(one: Record, other: Record) -> bool:
    """The same of the same place."""
    return one.info == other.info and one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)


def files_of(folder: Path) -> dict[str, bytes]:
    """Name → content of every file below `folder`."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def build_alone(
    asked: Asked, tally_file: Path, environment: Mapping[str, str] | None = None, part: Part | None = None
) -> None:
    """What a process of its own does: build, then leave the counts. One thread, so that sums are always the same.

    Parts in a store give signs of life often, and are not waited for long.
    """
    os.environ.update(environment or {})
    if part is not None:
        object_lock.BEAT_S, object_lock.PATIENCE_S = 0.5, 4.0
    torch.set_num_threads(1)
    tally = Tally()
    build_cache(*asked, tally, part)
    tally_file.write_text(json.dumps(asdict(tally)))


@dataclass(frozen=True)
class Held(Teacher):
    """A teacher that does not answer before the file `gate` is there."""

    gate: Path = Path()

    def ask(self, input_Npp3: U8, dtype: Dtype) -> Callable[[], Pixels]:
        while not self.gate.exists():
            time.sleep(0.02)
        return super().ask(input_Npp3, dtype)


def held_teachers(config: CacheConfig, gate: Path, kinds: int = 1) -> dict[str, Teacher]:
    """For workers: that of `config`, which waits for `gate`. Of two kinds, the second that is loaded is the other."""
    if kinds == 2:
        try:
            gate.with_name("first").touch(exist_ok=False)
        except FileExistsError:
            gate.with_name("second").touch()
            torch.set_num_threads(2)
    return {name: Held(**vars(found), gate=gate) for name, found in teachers_of(config).items()}

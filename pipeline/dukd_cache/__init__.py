"""Offline teacher caches for distilling super-resolution networks.

    import dukd_cache

    config = dukd_cache.CacheConfig(hr="photos", teacher="SwinIR_x4.pth", views={"base": 8, "zoom_in": 4})
    print(dukd_cache.plan(config, "cache").seconds)  # measured on a few records; nothing is written
    cache = dukd_cache.build(config, "cache")        # a build that was stopped goes on
    print(cache)                                     # <Cache cache, ×4, base: 800, zoom_in: 400>
    record = cache["base"][0]                        # record["input"], ["teacher"], ["truth"]: u8 [H,W,3]
    table = cache.table("base")                      # columns of all records, for pandas or polars
    tensors = cache.dataset("base")                  # for a DataLoader of PyTorch
    problems = dukd_cache.verify("cache")            # []: every byte and every record holds

All errors are a `DukdError`, of one line. `dukd_train` trains students from a cache; docs/python.md shows more.
"""

import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dukd_cache.system.errors import (
    AnswerError,
    BusyError,
    CacheError,
    DukdError,
    ImageError,
    NoSuchView,
    PlaceError,
    SettingError,
    ShardCorrupt,
    WeightsError,
)
from dukd_cache.system.later import loaded_later

if TYPE_CHECKING:
    from dukd_cache.build.forecast import Forecast
    from dukd_cache.check.verify import Problem
    from dukd_cache.commands.config import CacheConfig
    from dukd_cache.commands.verify import Paths
    from dukd_cache.format.reader import Cache, Reading
    from dukd_cache.format.record import Record
    from dukd_cache.pictures import symmetries
    from dukd_cache.settings.choices import Device, EngineName, Store
else:
    __getattr__ = loaded_later(
        __name__,
        {
            "Cache": "dukd_cache.format.reader",
            "CacheConfig": "dukd_cache.commands.config",
            "Forecast": "dukd_cache.build.forecast",
            "Problem": "dukd_cache.check.verify",
            "Record": "dukd_cache.format.record",
            "symmetries": "dukd_cache.pictures.symmetries",
        },
    )

if sys.platform == "win32":
    raise ImportError("dukd needs locks and signals of POSIX: use it on Linux, macOS or in WSL, not on Windows itself")

__version__ = "0.1.0"

__all__ = [
    "AnswerError",
    "BusyError",
    "Cache",
    "CacheConfig",
    "CacheError",
    "DukdError",
    "Forecast",
    "ImageError",
    "NoSuchView",
    "PlaceError",
    "Problem",
    "Record",
    "SettingError",
    "ShardCorrupt",
    "WeightsError",
    "answer",
    "build",
    "convert",
    "open",
    "plan",
    "symmetries",
    "verify",
]

for _room in ("build", "plan"):  # whoever is first to import a room gives its name to it: before the functions, then
    import_module(f"{__name__}.{_room}")


def open(root: str | Path, reading: "Reading" = "some") -> "Cache":
    """The finished cache at `root`, a folder or an address like `s3://bucket/cache`: a dict of its views.

    Args:
        reading: what of a cache elsewhere will be read: `some` records are fetched one by one; for who reads all,
            `in order` or `in any order`, shards are copied to this machine.

    Raises:
        CacheError: there is no finished cache.
        PlaceError: the address cannot be reached.
    """
    from dukd_cache.format.reader import Cache

    return Cache(root, reading)


def build(
    config: "CacheConfig", out: str | Path, part: str | None = None, engine: "EngineName" = "local", **of_ray: Any
) -> "Cache":
    """Ask the teacher about crops of the images, write its answers to `out`, a folder or an address, and open them.

    A build that was stopped goes on. A changed one takes all answers that still hold from what `out` held before.

    Args:
        part: `3/16` does the third of 16 parts, where many processes call this; `auto`: as what started it says.
        engine: `ray`: by the workers of a Ray cluster, which see the same files.
        of_ray: `ray_address`, `workers`, `cpus_per_worker`, `gpus_per_worker`, `shards_per_task`, as the options of
            the command line.

    Raises:
        CacheError: other parts are not done yet. This one is.
        DukdError: what the user can mend.
    """
    from dukd_cache.commands.build import build_cache, engine_of
    from dukd_cache.settings.part import part_of

    own = None if part is None else part_of(part)
    with engine_of(config, engine, own, **of_ray) as chosen:
        build_cache(config, out, part=own, engine=chosen)
    return open(out)


def answer(root: str | Path, teacher: str | Path, name: str | None = None, **how: Any) -> "Cache":
    """Ask one more teacher about the inputs of the finished cache at `root`; the other answers are not touched.

    One that was stopped goes on; where the answers are there, nothing is done.

    Args:
        teacher: its weights.
        name: of its answers; None: made of the file's.
        how: `precision`, `device`, `compile`, `batch_size`, `self_ensemble`, `dtype`, `mixed_workers`, `takes` and
            `of`, as the options of `dukd-cache answer`.

    Raises:
        DukdError: what the user can mend. The cache stays as it is.
    """
    from dukd_cache.build.reuse import Tally
    from dukd_cache.commands.answer import HowAsked, add
    from dukd_cache.settings.addresses import network_file

    add(root, network_file(str(teacher)), name, HowAsked(**how), Tally())
    return open(root)


def plan(config: "CacheConfig", out: str | Path) -> "Forecast":
    """What `build` would do, its seconds and bytes, measured on a few records. Writes nothing.

    Raises:
        DukdError: what `build` would raise before its first record.
    """
    from dukd_cache.commands.build import forecast

    return forecast(config, out)


def verify(
    root: str | Path,
    teacher: str | Path | None = None,
    sample: int = 64,
    device: "Device" = "auto",
    hr: "Paths" = (),
    lr: "Paths" = (),
) -> "list[Problem]":
    """All that is wrong with the cache at `root`; [] where every byte and every record holds.

    Args:
        teacher: weights to ask again about `sample` of the records, on `device`.
        hr: the images that it was built from, and their `lr` folders: `teacher` is asked about what is cut from them
            again. Needed where its answers have context.

    Raises:
        DukdError: there is no finished cache, or `teacher` is not the one of the cache.
    """
    from dukd_cache.commands.verify import verify_cache
    from dukd_cache.settings.addresses import network_file

    return verify_cache(root, None if teacher is None else network_file(str(teacher)), sample, device, hr, lr)


def convert(
    source: str | Path, out: str | Path, store: "Store", codec: str | None = None, shard_size: int | None = None
) -> "Cache":
    """Write the cache `source` to `out` in another store, without the teacher and without loss.

    Args:
        store: webdataset (tar files) or zarr.
        codec: None is the store's default.
        shard_size: megabytes of pixels a shard, before compression; None keeps the records a shard of `source`.

    Raises:
        DukdError: `source` is no finished cache or is damaged, `out` holds something else, the store has no such codec.
    """
    from dukd_cache.commands.convert import convert_cache

    convert_cache(source, out, store, codec, shard_size)
    return open(out)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]

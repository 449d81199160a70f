"""How long planning takes, and how much memory: `python benchmarks/plan.py [images]`, a million by default.

The images are made up, so what is measured is all that a plan does once each file's hash and size are known: check
sizes, count records and shards, hash the list of images, and place every crop of three views × 8.
"""

import hashlib
import json
import os
import resource
import sys
import time
from pathlib import Path

from dukd_cache.build.standing import shards_of
from dukd_cache.commands.prepare import images_info
from dukd_cache.format.header import Degradation, Encoding, Header
from dukd_cache.pictures.image_list import Folders, GrowingImages, Images
from dukd_cache.pictures.sources import SourceImage
from dukd_cache.plan.crops import CropSpec, Plan
from dukd_cache.plan.views import VIEWS

_CROPS = 8
_AT_ONCE = 4096


def main() -> None:
    """Print the measurements as JSON."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    loaded = _resident()
    images = _images(count)
    listed = _resident()
    started, cpu = time.perf_counter(), time.process_time()
    seconds = {}
    views = tuple(view.info(_CROPS, view.usual_side(48, 4), 4, {"teacher": "uint8"}) for view in VIEWS.values())
    plan = Plan(images, CropSpec(4, 48, 0, views))
    header = Header(
        scale=4,
        patch=48,
        seed=0,
        images=images_info(images),
        degradation=Degradation(kind="bicubic"),
        answers={},
        views=views,
        encoding=Encoding(store="webdataset", codec="webp"),
        software={},
    )
    shards = len(shards_of(header.with_shard_size(128)))
    seconds["plan, header, shards"] = time.process_time() - cpu
    for view in views:
        before = time.process_time()
        for first in range(0, count, _AT_ONCE):
            plan.corners(view, first, min(count, first + _AT_ONCE))
        seconds[f"places of {view.name}"] = time.process_time() - before
    result = {
        "images": count,
        "records": sum(map(plan.total, views)),
        "shards": shards,
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "wall_seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds_by_part": {part: round(value, 1) for part, value in seconds.items()},
        "MiB": {"modules": loaded, "list of images": listed - loaded, "peak, less modules": _peak() - loaded},
        "cpus": os.cpu_count(),
    }
    print(json.dumps(result, indent=1))


def _images(count: int) -> Images:
    growing, folders = GrowingImages(), Folders(Path("/data/photographs"))
    for number in range(count):
        name = f"folder_{number // 1000:04d}/image_{number:08d}.png"
        sha256 = hashlib.sha256(name.encode()).hexdigest()
        width, height = 1200 + number % 800, 900 + number % 700
        growing.add(SourceImage(name, folders.hr / name, sha256, width, height, None), folders, 0)
    return growing.images([folders])


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 2**10


if __name__ == "__main__":
    main()

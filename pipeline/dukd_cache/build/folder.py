"""A cache as folders of PNG pairs, from which other programs train: an export, which no command here reads again.

    exported.json            of which cache; written first
    base/lq/KEY.png          inputs
    base/gt/KEY.png          the teacher's answers; `gt_NAME` for each of several teachers
    base/truth/KEY.png       where records have one; so for any other array
    base/meta_info.txt       names and sizes of the pairs; written when the view is whole

So BasicSR's PairedImageDataset, and those made after it, find them: equal names in two folders, or listed in a file.
"""

import json
from collections.abc import Callable
from contextlib import closing

from dukd_cache.format.codecs import CODECS
from dukd_cache.format.header import ViewInfo
from dukd_cache.format.lifecycle import foreign_name
from dukd_cache.format.manifest import Manifest
from dukd_cache.format.reader import Cache
from dukd_cache.pictures.levels import to_uint8
from dukd_cache.places import Address, Place
from dukd_cache.places.choice import place_at
from dukd_cache.system.errors import CacheError
from dukd_cache.system.threads import in_threads, told

MARK, META = "exported.json", "meta_info.txt"

_PNG = CODECS["webdataset"]["png"]


def write_pairs(source: Cache, out: Address, *, on_records: Callable[[int], None] = lambda _count: None) -> None:
    """Write the records of `source` below `out`, floats rounded to 8 bits. What is there already is kept.

    Args:
        on_records: told how many records were finished since it was last told.

    Raises:
        CacheError: `out` holds something else, or another process writes there.
        PlaceError: `out` cannot be reached.
        ShardCorrupt: a record of `source` is damaged. What was written so far stays.
    """
    place = place_at(out)
    with place.locked("conversion"):
        place.sweep()
        _claim(place, source)
        there = frozenset(place.names())
        for view in source.manifest.views:
            write = _written(source, view, place, there)
            with closing(in_threads(write, range(source.count(view.name)))) as written:
                names = list(told(written, on_records))
            side = source.manifest.scale * view.input_side
            lines = (f"{name} ({side},{side},3)\n" for name in names)
            place.write(f"{view.name}/{META}", "".join(lines).encode())


def folders_of(manifest: Manifest, view: ViewInfo) -> dict[str, str]:
    """Array of a record → name of its folder."""
    answers = [name for name in view.arrays if name in manifest.answers]
    named = {name: "gt" if len(answers) == 1 else f"gt_{name}" for name in answers}
    return {name: named.get(name, "lq" if name == "input" else name) for name in view.arrays}


def _claim(place: Place, source: Cache) -> None:
    mark = (json.dumps({"cache_digest": source.digest, "scale": source.manifest.scale}) + "\n").encode()
    try:
        if place.read(MARK) != mark:
            raise CacheError("holds the pairs of another cache", place, cure="choose another folder")
    except FileNotFoundError:
        if foreign := foreign_name(place):
            raise CacheError(f"holds something else ({foreign})", place, cure="choose another folder") from None
        place.write(MARK, mark)


def _written(source: Cache, view: ViewInfo, place: Place, there: frozenset[str]) -> Callable[[int], str]:
    """From the position of a record to the name of its files, which are there then."""
    folders = folders_of(source.manifest, view)

    def write(position: int) -> str:
        name = f"{source.info(view.name, position).key}.png"
        paths = {array: f"{view.name}/{folder}/{name}" for array, folder in folders.items()}
        if missing := {array: path for array, path in paths.items() if path not in there}:
            record = source.read(view.name, position, missing)
            for array, path in missing.items():
                place.write(path, _PNG.encode(to_uint8(record[array]), array != "input"))
        return name

    return write

"""The folder of a cache while it is built: whose it is, and what it held before.

    manifest.json     of a finished cache
    building.json     what an unfinished cache is going to be
    building.lock     while a process writes
    previous/000/     shards of what the folder held before, with their building.json: sources of answers
                      until the new manifest is there, then removed

When the header changes, the old shards are moved into a new folder below `previous`: first their header goes there,
then they, then the new header takes the old one's place. So at any moment each shard lies beside its header, or its
header is the newest one in `previous`, which is how an interrupted move is known, and finished or undone.
"""

import os
import re
import shutil
from pathlib import Path

from pydantic import ValidationError

from dukd_cache import manifest
from dukd_cache.errors import CacheError
from dukd_cache.files import PARTIAL, sync_folder, write_atomically
from dukd_cache.lock import LOCK
from dukd_cache.manifest import MANIFEST, VIEWS, Header

HEADER = "building.json"
"""What an unfinished cache is going to be; removed when the manifest is there."""

PREVIOUS = "previous"
"""Where shards wait whose answers go into the cache that is being built."""

_OF_A_STORE = re.compile(rf"({'|'.join(VIEWS)})([-.].*)?|zarr\.json")
"""Names that stores give to what they write. Anything else in the folder is the user's and stays."""

_LOST = (("teacher", "fingerprint"), ("teacher", "precision"), ("spec", "scale"), ("spec", "patch"))
"""Where one of these differs, no answer could be reused: the old cache is not given up for that."""


def claim(out: Path, header: Header) -> None:
    """Make `out`, which is locked, the folder of the cache that `header` describes.

    What it held of the same teacher is moved to where `sources` finds it.

    Raises:
        CacheError: it holds a cache none of whose answers could be reused, or files that are no cache.
    """
    check(out, header)
    there = header_of(out)
    for left_over in out.rglob(f"*{PARTIAL}"):
        left_over.unlink()
    if there is not None and there != header:
        _retire(out, there)
    elif there is not None and _move_was_interrupted(out, there):
        _move(_generations(out)[-1], out)
        shutil.rmtree(_generations(out)[-1])
    if not (out / MANIFEST).is_file():
        write_atomically(out / HEADER, manifest.to_json(header))


def check(out: Path, header: Header) -> None:
    """Raise the CacheError that `claim` would raise."""
    if out.exists() and not out.is_dir():
        raise CacheError(f"{out}: expected a folder, found a file")
    there = header_of(out)
    if there is not None:
        _refuse_other(out, there, header)
    elif foreign := _foreign_name(out):
        raise CacheError(f"{out}: holds something that is no cache ({foreign}); choose another folder")


def finish(out: Path) -> None:
    """Remove what only an unfinished cache needs. The manifest is there."""
    (out / HEADER).unlink(missing_ok=True)
    if (out / PREVIOUS).is_dir():
        shutil.rmtree(out / PREVIOUS)


def sources(out: Path) -> list[Path]:
    """The folders of shards that `out` held before, the latest first."""
    return [place for place in reversed(_generations(out)) if header_of(place) is not None]


def header_of(folder: Path) -> Header | None:
    """What the cache in `folder` is, or is going to be; None where there is no cache.

    Raises:
        CacheError: there is a header or a manifest that cannot be read.
    """
    if (folder / MANIFEST).is_file():
        return Header(**manifest.read(folder).model_dump(exclude={"shards"}))
    if not (folder / HEADER).is_file():
        return None
    try:
        return Header.model_validate_json((folder / HEADER).read_bytes())
    except ValidationError as error:
        raise CacheError(f"{folder / HEADER}: not the header of a cache; choose another folder") from error


def _refuse_other(out: Path, there: Header, asked: Header) -> None:
    """Raise a CacheError that names both values where `out` holds a cache of no use for the one asked for."""
    found, wanted = there.model_dump(), asked.model_dump()
    for section, key in _LOST:
        here, value = found[section], wanted[section]
        if here is not None and value is not None:
            section, here, value = f"{section}.{key}", here[key], value[key]
        elif here is value:
            continue
        if here != value:
            raise CacheError(
                f"{out}: holds a cache with {section} = {_short(here)}, asked for {_short(value)}; "
                "choose another folder"
            )


def _foreign_name(out: Path) -> str | None:
    """Something in `out` that no build put there before its header."""
    if not out.is_dir():
        return None
    return next((path.name for path in sorted(out.iterdir()) if path.name not in (HEADER + PARTIAL, LOCK)), None)


def _move_was_interrupted(out: Path, there: Header) -> bool:
    generations = _generations(out)
    return bool(generations) and not (out / MANIFEST).is_file() and header_of(generations[-1]) == there


def _retire(out: Path, there: Header) -> None:
    """Move the shards of `out`, whose header is `there`, below `previous`; or go on with it."""
    generations = _generations(out)
    newest = header_of(generations[-1]) if generations else there
    if generations and newest in (None, there):  # made just before a kill
        place = generations[-1]
    else:
        place = out / PREVIOUS / f"{int(generations[-1].name) + 1 if generations else 0:03d}"
    place.mkdir(parents=True, exist_ok=True)
    write_atomically(place / HEADER, manifest.to_json(there))
    if (out / MANIFEST).is_file():
        write_atomically(out / HEADER, manifest.to_json(there))
        (out / MANIFEST).unlink()
    _move(out, place)


def _move(start: Path, end: Path) -> None:
    """All that stores wrote, from folder to folder of one file system; also what is left of an interrupted move.

    File by file, as a folder cannot take the place of one that is there. Files of equal names are of one header: equal.
    """
    for top in sorted(path for path in start.iterdir() if _OF_A_STORE.fullmatch(path.name)):
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if not path.is_dir():
                target = end / path.relative_to(start)
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(path, target)
        if top.is_dir():
            shutil.rmtree(top)
    sync_folder(end)
    sync_folder(start)


def _generations(out: Path) -> list[Path]:
    """Folders below `previous`, the latest last."""
    return sorted((path for path in (out / PREVIOUS).glob("*") if path.name.isdecimal()), key=lambda p: int(p.name))


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}…"

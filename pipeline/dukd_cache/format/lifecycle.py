"""The folder of a cache while it is built: whose it is, and what it held before.

    manifest.json     of a finished cache
    building.json     what an unfinished cache is going to be
    building.lock     while a process writes
    building.images   which images they are, while parts of a build write: identified once for all of them
    building.workers/ who writes, see `workers`
    building.answers/ what interrupted builds had of the shards that they were writing, below a name for their header
    previous/000/     shards of what the folder held before, with their building.json: sources of answers
                      until the new manifest is there, then removed

Shards of a cache that takes the place of a finished one only when it is whole wait below `previous`, too (`staged`).

When the header changes, the old shards are moved into a new folder below `previous`: first their header goes there,
then they, then the new header takes the old one's place. So at any moment each shard lies beside its header, or its
header is the newest one in `previous`, which is how an interrupted move is known, and finished or undone.
"""

import hashlib
from collections.abc import Callable

from pydantic import ValidationError

from dukd_cache.format import manifest
from dukd_cache.format.header import Header
from dukd_cache.format.manifest import MANIFEST
from dukd_cache.format.shards import files_of_shards, is_written, whole_shards
from dukd_cache.format.workers import WORKERS
from dukd_cache.places import Place
from dukd_cache.system.errors import CacheError
from dukd_cache.system.left_overs import is_systems
from dukd_cache.system.lock import LOCK

HEADER = "building.json"
"""What an unfinished cache is going to be; removed when the manifest is there."""

IMAGES = "building.images"
"""The images of a cache that several parts build, as the first of them found them."""

PREVIOUS = "previous"
"""Where shards wait whose answers go into the cache that is being built."""

OPEN = "building.answers"
"""Where records of shards wait that were not whole when a build was interrupted."""

_LOST = ("scale", "patch")
"""Where one of these differs, no answer could be reused: the old cache is not given up for that."""

_ASKED = ("fingerprint", "precision", "window", "self_ensemble", "context")
"""So for these, of an answer."""


def claim(out: Place, header: Header) -> Header:
    """Make `out`, which is locked, the folder of the cache that `header` describes, and say what it is now.

    That is `header`, but for what answers are computed on. What `out` held of the same teacher is moved to where
    `sources` finds it.

    Raises:
        CacheError: it holds a cache none of whose answers could be reused, or files that are no cache.
    """
    check(out, header)
    return _claimed(out, header)


def staged(out: Place, header: Header) -> Place:
    """Where shards of the cache that `header` describes are put that `out`, which is locked, is to become.

    Until `unstage`, what is finished in `out` stays so, and is of no use to it.
    """
    name = _stage_of(out, header)
    if name is None:
        name = _new_generation(out)
        out.write(f"{name}/{HEADER}", manifest.to_json(header))
    return out.below(name)


def unstage(out: Place, header: Header) -> None:
    """Put what is staged for `header`, all of it whole, in the place of what `out`, which is locked, holds.

    Interrupted, it is to be done again: `interrupted` tells for which header.
    """
    _claimed(out, header)
    if name := _stage_of(out, header):
        _move(out, header, f"{name}/", "")


def interrupted(out: Place, wanted: Callable[[Header], bool]) -> Header | None:
    """The `wanted` header for which `unstage` was interrupted in `out`; None where it was not."""
    there, waiting = header_of(out), [out.below(name) for name in reversed(_generations(out))]
    latest = header_of(waiting[0]) if waiting and out.size(MANIFEST) is None else None
    for stage in waiting:
        header = header_of(stage)
        if header and wanted(header) and latest and there in (header, latest):
            names = {*stage.names(), *(out.names() if there == header else ())}  # else those are of the old cache
            if names >= files_of_shards(header):
                return header
    return None


def _stage_of(out: Place, header: Header) -> str | None:
    return next((name for name in _generations(out) if header_of(out.below(name)) == header), None)


def _new_generation(out: Place) -> str:
    generations = _generations(out)
    return f"{PREVIOUS}/{int(generations[-1].rpartition('/')[2]) + 1 if generations else 0:03d}"


def _claimed(out: Place, header: Header) -> Header:
    there = header_of(out)
    out.sweep()
    if there is not None and not there.like(header):
        _retire(out, there)
    elif there is not None and _move_was_interrupted(out, there):
        newest = _generations(out)[-1]
        _move(out, there, f"{newest}/", "")
        _remove(out, newest)
    if there is not None and there.like(header) and (out.size(MANIFEST) is not None or there.computed is None):
        header = there
    if out.size(MANIFEST) is None:
        out.write(HEADER, manifest.to_json(header))
    return header


def check(out: Place, header: Header) -> None:
    """Raise the CacheError that `claim` would raise."""
    there = header_of(out)
    if there is not None:
        _refuse_other(out, there, header)
        if not there.like(header) or (out.size(MANIFEST) is None and there.computed is not None):
            refuse_other_kind(out, there, header)
    elif foreign := foreign_name(out):
        raise CacheError(f"holds something that is no cache ({foreign})", out, cure="choose another folder")


def reopen(out: Place, header: Header) -> None:
    """Make what is finished in `out` unfinished: it is going to be the cache that `header` describes."""
    out.write(HEADER, manifest.to_json(header))
    out.delete([MANIFEST])


def finish(out: Place) -> None:
    """Remove what only an unfinished cache needs. The manifest is there."""
    out.delete([HEADER, IMAGES])
    for folder in (WORKERS, OPEN):
        out.remove(out.names(f"{folder}/"), folder)
    for name in _generations(out):
        _remove(out, name)
    out.remove([], PREVIOUS)


def sources(out: Place) -> list[Place]:
    """The places of shards that `out` held before, the latest first, then of those that were not whole."""
    left = sorted({name.rpartition("/")[0] for name in out.names(f"{OPEN}/")})
    places = map(out.below, [*reversed(_generations(out)), *left])
    return [place for place in places if header_of(place) is not None]


def place_for_open(out: Place, header: Header) -> Place:
    """Where the records of shards of that header go that are not whole; `sources` finds them there.

    Raises:
        CacheError: the cache is finished: others have written these shards.
    """
    if out.size(MANIFEST) is not None:
        raise CacheError("is finished", out)
    text = manifest.to_json(header)
    place = out.below(f"{OPEN}/{hashlib.sha256(text).hexdigest()[:16]}")
    place.write(HEADER, text)
    return place


def header_of(place: Place) -> Header | None:
    """What the cache in `place` is, or is going to be; None where there is no cache.

    Raises:
        CacheError: there is a header or a manifest that cannot be read.
    """
    if place.size(MANIFEST) is not None:
        return manifest.read(place).header
    try:
        return Header.model_validate_json(place.read(HEADER))
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise CacheError("not the header of a cache", place.at(HEADER), cure="choose another folder") from error


def _refuse_other(out: Place, there: Header, asked: Header) -> None:
    """Raise a CacheError that names both values where `out` holds a cache of no use for the one asked for."""
    pairs = [(name, getattr(there, name), getattr(asked, name)) for name in _LOST]
    kinds = [{info.asked for info in each.answers.values()} for each in (there, asked)]
    if kinds[0].isdisjoint(kinds[1]):  # one answer that serves is enough: the others are asked for again
        for answer in there.answers.keys() & asked.answers.keys():
            one, other = there.answers[answer], asked.answers[answer]
            pairs += [(f"{answer}.{name}", getattr(one, name), getattr(other, name)) for name in _ASKED]
        pairs.append(("answers", ", ".join(there.answers) or None, ", ".join(asked.answers) or None))
    for name, here, value in pairs:
        if here != value:
            raise CacheError(
                f"holds a cache with {name} = {_short(here)}, asked for {_short(value)}",
                out,
                cure="choose another folder",
            )


def refuse_other_kind(place: Place, there: Header, asked: Header) -> None:
    """Refuse to put answers beside those in `place` that may differ from them in a bit.

    Raises:
        CacheError: there are whole shards, or were before, and they were computed on something else.
    """
    mixed = bool(there.answers) and asked.computed not in (None, there.computed)
    held = (place, *map(place.below, _generations(place)))
    if mixed and any(any(whole_shards(each, own)) for each in held if (own := header_of(each))):
        raise CacheError(
            f"holds answers computed on {there.computed or 'workers of several kinds'}, here it is {asked.computed}",
            place,
            cure="compute alike, or give `mixed_workers=true`: answers may then differ by a level",
        )


def foreign_name(out: Place) -> str | None:
    """Something in `out` that neither a system nor, before its header, a build puts there."""
    tops = (name.partition("/")[0] for name in out.names())
    return next((top for top in tops if top != LOCK and not is_systems(top)), None)


def _move_was_interrupted(out: Place, there: Header) -> bool:
    generations = _generations(out)
    return bool(generations) and out.size(MANIFEST) is None and header_of(out.below(generations[-1])) == there


def _retire(out: Place, there: Header) -> None:
    """Move the shards of `out`, whose header is `there`, below `previous`; or go on with it."""
    generations = _generations(out)
    newest = header_of(out.below(generations[-1])) if generations else there
    if generations and newest in (None, there):  # made just before a kill
        name = generations[-1]
    else:
        name = _new_generation(out)
    out.write(f"{name}/{HEADER}", manifest.to_json(there))
    if out.size(MANIFEST) is not None:
        reopen(out, there)
    out.delete([IMAGES])
    out.remove(out.names(f"{WORKERS}/"), WORKERS)
    _move(out, there, "", f"{name}/")


def _move(out: Place, header: Header, start: str, end: str) -> None:
    """All files of the cache that `header` describes from below `start`; also what is left of an interrupted move.

    Files of equal names are of one header: equal.
    """
    names = (name.removeprefix(start) for name in out.names(start))
    out.move([name for name in names if is_written(name, header)], start, end)


def _remove(out: Place, generation: str) -> None:
    """Its shards, then their header, which tells what is theirs. Whatever else lies there stays."""
    if header := header_of(out.below(generation)):
        start = f"{generation}/"
        shards = [name for name in out.names(start) if is_written(name.removeprefix(start), header)]
        out.remove(shards, generation)
        out.remove([f"{generation}/{HEADER}"], generation)


def _generations(out: Place) -> list[str]:
    """What lies below `previous`, as `previous/000`; the latest last."""
    found = {name.split("/")[1] for name in out.names(f"{PREVIOUS}/")}
    return [f"{PREVIOUS}/{name}" for name in sorted(filter(str.isdecimal, found), key=int)]


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}…"

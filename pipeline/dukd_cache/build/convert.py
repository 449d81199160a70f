"""A cache in another store, codec or shard size: the same records, without the teacher."""

from collections.abc import Callable
from contextlib import closing

import PIL

from dukd_cache.format import manifest
from dukd_cache.format.codecs import choose_codec
from dukd_cache.format.container import Packed
from dukd_cache.format.lifecycle import claim, finish, header_of
from dukd_cache.format.manifest import Encoding, Header, Manifest, shard_ranges
from dukd_cache.format.reader import Cache
from dukd_cache.format.shards import LIBRARIES, ShardWriter, software, write_shared_files
from dukd_cache.places import Address, Place
from dukd_cache.places.choice import place_at
from dukd_cache.settings.choices import Store
from dukd_cache.system.errors import CacheError
from dukd_cache.system.threads import in_threads, told


def convert(
    source: Cache, out: Address, header: Header, *, on_records: Callable[[int], None] = lambda _count: None
) -> Manifest:
    """Write the records of `source` into `out`; go on where an earlier attempt stopped.

    Args:
        header: of `converted_header`.
        on_records: told how many records were finished since it was last told.

    Raises:
        CacheError: `out` holds something else.
        PlaceError: `out` cannot be reached.
        ShardCorrupt: a record of `source` is damaged. Whole shards written so far stay for the next attempt.
    """
    place = place_at(out)
    with place.locked():
        _claim(place, header)
        writer = ShardWriter(place, header)
        shards = []
        for view in header.views:
            for number, positions in enumerate(shard_ranges(header.total(view), view.shard_records)):
                done = writer.finished(view.name, number, len(positions))
                if done is None:
                    with closing(in_threads(_recoded(source, writer, view.name), positions)) as encoded:
                        done = writer.write(view.name, number, told(encoded, on_records))
                else:
                    on_records(done.records)
                shards.append(done)
        finished = Manifest(**dict(header), shards=tuple(shards))
        write_shared_files(place, header)
        manifest.write(finished, place)
        finish(place)
    return finished


def converted_header(source: Manifest, store: Store, codec: str | None, shard_size: int | None) -> Header:
    """The header of `source` in another store: all that decides what the records are stays.

    Args:
        codec: None is the store's default.
        shard_size: megabytes of pixels a shard, before compression; None keeps the records a shard of `source`.

    Raises:
        SettingError: the store cannot compress with `codec`.
    """
    versions = {name: text for name, text in source.software.items() if name not in LIBRARIES}
    header = source.header.model_copy(
        update={
            "encoding": Encoding(store=store, codec=choose_codec(store, codec)),
            "software": versions | {"pillow": PIL.__version__} | software(store),
        }
    )
    return header if shard_size is None else header.with_shard_size(shard_size)


def _claim(out: Place, header: Header) -> None:
    """As for a build, but another cache is refused, not given up: nothing of it could serve here."""
    there = header_of(out)
    if there is not None and there != header:
        raise CacheError("holds another cache than the one this makes", out, cure="choose another folder")
    claim(out, header)


def _recoded(source: Cache, writer: ShardWriter, view: str) -> Callable[[int], Packed]:
    """From the position of a record in `view` to the record decoded and encoded anew."""
    return lambda position: writer.encode(source.read(view, position))

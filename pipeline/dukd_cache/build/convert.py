"""A cache in another store, codec or shard size: the same records, without the teacher."""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing

import PIL

from dukd_cache.build.standing import Shard
from dukd_cache.build.write import write_all
from dukd_cache.format.codecs import choose_codec
from dukd_cache.format.container import Packed
from dukd_cache.format.header import Encoding, Header
from dukd_cache.format.lifecycle import header_of
from dukd_cache.format.manifest import Manifest, ShardInfo
from dukd_cache.format.reader import Cache
from dukd_cache.format.shards import LIBRARIES, ShardWriter, software
from dukd_cache.places import Address
from dukd_cache.places.choice import place_at
from dukd_cache.settings.choices import MAX_SHARD_MB, Store
from dukd_cache.system.errors import CacheError, SettingError
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
    there = header_of(place)
    if there is not None and there != header:
        raise CacheError("holds another cache than the one this makes", place, cure="choose another folder")

    def recoded(header: Header, shards: Sequence[Shard]) -> Generator[ShardInfo, None, None]:
        writer = ShardWriter(place, header)
        for shard in shards:
            with closing(in_threads(_recoded(source, writer, shard.view.name), shard.positions)) as encoded:
                yield writer.write(shard.view.name, shard.number, told(encoded, on_records))

    return write_all(place, header, recoded, on_records)


def converted_header(source: Manifest, store: Store, codec: str | None, shard_size: int | None) -> Header:
    """The header of `source` in another store: all that decides what the records are stays.

    Args:
        codec: None is the store's default.
        shard_size: megabytes of pixels a shard, before compression; None keeps the records a shard of `source`.

    Raises:
        SettingError: the store cannot compress with `codec`, or there are no shards of that size.
    """
    if shard_size is not None and not 1 <= shard_size <= MAX_SHARD_MB:
        raise SettingError(f"expected a whole number from 1 to {MAX_SHARD_MB}", f"`shard_size={shard_size}`")
    versions = {name: text for name, text in source.software.items() if name not in LIBRARIES}
    header = source.header.model_copy(
        update={
            "encoding": Encoding(store=store, codec=choose_codec(store, codec)),
            "software": versions | {"pillow": PIL.__version__} | software(store),
        }
    )
    return header if shard_size is None else header.with_shard_size(shard_size)


def _recoded(source: Cache, writer: ShardWriter, view: str) -> Callable[[int], Packed]:
    """From the position of a record in `view` to the record decoded and encoded anew."""
    return lambda position: writer.encode(source.read(view, position))

"""What a user asks of `dukd-cache convert`."""

from dukd_cache.build.convert import convert, converted_header
from dukd_cache.format.manifest import Manifest
from dukd_cache.format.reader import Cache
from dukd_cache.places import Address
from dukd_cache.settings.choices import Store
from dukd_cache.system.terminal import progress


def convert_cache(source: Address, out: Address, store: Store, codec: str | None, shard_size: int | None) -> Manifest:
    """Write the cache at `source` to `out`; see `converted_header` for the rest.

    Raises:
        DukdError: anything the user can mend.
    """
    opened = Cache(source, reading="in order")
    header = converted_header(opened.manifest, store, codec, shard_size)
    with progress("converting", sum(map(opened.count, opened.views)), "records") as advance:
        return convert(opened, out, header, on_records=advance)

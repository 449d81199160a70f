"""What a user asks of `dukd-cache convert`."""

from dukd_cache.build.convert import convert, converted_header
from dukd_cache.build.folder import folders_of, write_pairs
from dukd_cache.format.manifest import Manifest
from dukd_cache.format.reader import Cache
from dukd_cache.places import Address
from dukd_cache.settings.choices import Store
from dukd_cache.system.terminal import progress, say


def convert_cache(source: Address, out: Address, store: Store, codec: str | None, shard_size: int | None) -> Manifest:
    """Write the cache at `source` to `out`; see `converted_header` for the rest.

    Raises:
        DukdError: anything the user can mend.
    """
    opened = Cache(source, reading="in order")
    header = converted_header(opened.manifest, store, codec, shard_size)
    with progress("converting", sum(map(opened.count, opened.views)), "records") as advance:
        return convert(opened, out, header, on_records=advance)


def export_pairs(source: Address, out: Address) -> str:
    """Write the records at `source` as PNG pairs below `out`; return what is there, for people.

    Raises:
        DukdError: anything the user can mend.
    """
    opened = Cache(source, reading="in order")
    manifest = opened.manifest
    floats = {array.dtype for view in manifest.views for array in view.arrays.values()} - {"uint8"}
    if floats:
        say(f"{source}: answers of {', '.join(floats)} are rounded to 8 bits, as PNG holds no more")
    with progress("converting", sum(map(opened.count, opened.views)), "records") as advance:
        write_pairs(opened, out, on_records=advance)
    views = (
        f"{opened.count(view.name)} {view.name} ({', '.join(folders_of(manifest, view).values())})"
        for view in manifest.views
    )
    return f"PNG pairs, ×{manifest.scale}: {', '.join(views)}"

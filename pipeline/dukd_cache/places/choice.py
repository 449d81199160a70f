"""From an address to the place that it names."""

from pathlib import Path

from dukd_cache.places import Address, Place
from dukd_cache.places.folder import Folder
from dukd_cache.settings.addresses import parsed, refuse_squeezed


def place_at(address: Address) -> Place:
    """The folder or the store that `address` names. Nothing is looked up yet.

    Raises:
        PlaceError: an address of an unknown kind, or one whose library is not installed.
    """
    found = parsed(address) if isinstance(address, str) else address
    if isinstance(found, Path):
        refuse_squeezed(found)
        return Folder(found)
    from dukd_cache.places.objects import Objects  # waits for fsspec: a folder does not need it

    return Objects(found)

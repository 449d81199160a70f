"""From an address to the place that it names."""

from pathlib import Path

from dukd_cache.places import LOCAL, Address, Place, is_elsewhere
from dukd_cache.places.folder import Folder


def place_at(address: Address) -> Place:
    """The folder or the store that `address` names. Nothing is looked up yet.

    Raises:
        PlaceError: an address of an unknown kind, or one whose library is not installed.
    """
    text = str(address)
    if is_elsewhere(address):
        from dukd_cache.places.objects import Objects  # waits for fsspec: a folder does not need it

        return Objects(text)
    kind = next((kind for kind in LOCAL if text.startswith(kind)), "")
    return Folder(Path(text.removeprefix(kind)))

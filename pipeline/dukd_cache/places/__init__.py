"""Where the files of a cache lie: one protocol; a folder of this machine, or an address of a store elsewhere.

Enters: an address. Leaves: whole files by their names, one writer at a time. Never knows what is in them.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from dukd_cache.settings.addresses import Address as Address

if TYPE_CHECKING:
    from dukd_cache.places.folder import Folder


class Place(Protocol):
    """The files of one cache, by names below it with forward slashes: `previous/000/base-000000.tar`.

    A file is whole under its name or not there. Safe to share between threads and to hand to other processes.

    All raise a PlaceError where the place cannot be reached, or does not allow it.
    """

    def __str__(self) -> str:
        """As the user named it."""

    def __hash__(self) -> int:
        """Of this object: two of one address are two."""

    def at(self, name: str) -> str:
        """The file `name` in a message."""

    @property
    def title(self) -> str:
        """Last part of the address."""

    @property
    def canonical(self) -> str:
        """Equal for equal places, however they were named."""

    def below(self, name: str) -> "Place":
        """What lies below `name`, as a place of its own."""

    def read(self, name: str) -> bytes:
        """The whole file.

        Raises:
            FileNotFoundError: there is none.
        """

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        """`length` bytes from `offset` on, or what there is of them.

        Raises:
            FileNotFoundError: there is no such file.
        """

    def size(self, name: str) -> int | None:
        """Bytes of the file; None where there is none."""

    def names(self, prefix: str = "") -> list[str]:
        """All files whose names begin with `prefix`, sorted.

        Raises:
            CacheError: the place is a file.
            PlaceError: it is a link to nothing.
        """

    def sizes(self, prefix: str = "") -> dict[str, int]:
        """The bytes of all files whose names begin with `prefix`, listed at once. Raises what `names` does."""

    def write(self, name: str, content: bytes) -> None:
        """Put `content` there as the whole of the file, in the place of one that was there."""

    def new_file(self, name: str) -> AbstractContextManager[Path]:
        """A path of this machine to write to; when the block ends well, that is the file `name`."""

    def delete(self, names: Iterable[str]) -> None:
        """Remove files, one after another; one that is not there is no error."""

    def remove(self, names: Iterable[str], folder: str) -> None:
        """Remove files below `folder` that are there and that nobody writes anew, in any order.

        So are the folders in it, and itself, that are left empty.
        """

    def move(self, names: Iterable[str], start: str, end: str) -> None:
        """Move files, one after another, from below `start` to below `end` (`""`, or a name with a slash at its end).

        Interrupted, each file lies at one of its two names or, whole and equal, at both.
        """

    def sweep(self) -> None:
        """Remove what writes left whose process was killed, and nothing else."""

    def local(self, names: Iterable[str]) -> AbstractContextManager["Folder"]:
        """The files as files of this machine, until the block ends.

        Raises:
            FileNotFoundError: one is not there.
        """

    def fetch(self, names: Iterable[str], folder: Path) -> None:
        """Copy files into `folder` of this machine, below which they have the same names.

        Raises:
            FileNotFoundError: one is not there.
        """

    def locked(self, work: str = "build") -> AbstractContextManager[None]:
        """Be the only one to write here until the block ends. `work` is what a second one is told that this one does.

        Raises:
            BusyError: another process writes here.
            CacheError: the place is a file.
        """

    def joined(self) -> AbstractContextManager[Callable[[], None]]:
        """Write here until the block ends, together with others that joined and with nobody else.

        What the block is given may be called when none of them has anything left to write: others may then write at
        once, and not only when all have left and, in a store, some time has passed.

        Raises:
            BusyError: a process writes here that wants to be alone.
        """

    def refuse_if_locked(self) -> None:
        """Tell early, before hours of reading, what `locked` would tell later.

        Raises:
            BusyError: another process writes here.
        """

"""A folder of this machine as the place of a cache: files are fsynced and renamed, the lock is the system's."""

import errno
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from dukd_cache.system import lock
from dukd_cache.system.errors import CacheError
from dukd_cache.system.files import finished_file, make_folder, naming, refuse_no_folder, sync_folder, try_folder
from dukd_cache.system.left_overs import remove_left_overs


@dataclass(frozen=True)
class Folder:
    """The folder `path`, which is made when something is written."""

    path: Path
    shown: str = ""
    """Named in messages in the place of `path`: what its files are copies of."""

    def __str__(self) -> str:
        return self.shown or str(self.path)

    def at(self, name: str) -> str:
        """The file `name` in a message."""
        return f"{self.shown}/{name}" if self.shown else str(self.path / name)

    @property
    def title(self) -> str:
        """Last part of the address."""
        return self.path.resolve().name

    @property
    def canonical(self) -> str:
        """Equal for equal places, however they were named."""
        return str(self.path.resolve())

    def below(self, name: str) -> "Folder":
        """What lies below `name`, as a place of its own."""
        return Folder(self.path / name, f"{self.shown}/{name}" if self.shown else "")

    def read(self, name: str) -> bytes:
        """The whole file."""
        if self.size(name) is None:  # whatever else has that name: a pipe would be waited for
            raise self._missing(name)
        with naming(self.path / name):
            return (self.path / name).read_bytes()

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        """`length` bytes from `offset` on, or what there is of them."""
        descriptor = os.open(self.path / name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            size = os.fstat(descriptor).st_size  # looked up first, because memory is taken for the whole length
            with naming(self.path / name):
                return os.pread(descriptor, max(0, min(length, size - offset)), offset)
        finally:
            os.close(descriptor)

    def size(self, name: str) -> int | None:
        """Bytes of the file; None where there is none."""
        path = self.path / name
        return path.stat().st_size if path.is_file() else None

    def names(self, prefix: str = "") -> list[str]:
        """All files whose names begin with `prefix`, sorted."""
        return sorted(name for name, _ in self._listed(prefix))

    def sizes(self, prefix: str = "") -> dict[str, int]:
        """The bytes of all files whose names begin with `prefix`."""
        found: dict[str, int] = {}
        for name, entry in self._listed(prefix):
            with suppress(FileNotFoundError):  # removed since it was listed
                if _is(entry, entry.is_file):
                    found[name] = entry.stat().st_size
        return found

    def _listed(self, prefix: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
        if self.path.exists() and not self.path.is_dir():
            raise CacheError("expected a folder, found a file", self)
        refuse_no_folder(self.path)
        folder, slash, start = prefix.rpartition("/")
        for name, entry in _entries(str(self.path / folder), start, through_links=True):
            yield f"{folder}{slash}{name}", entry

    def write(self, name: str, content: bytes) -> None:
        """Put `content` there as the whole of the file."""
        with self.new_file(name) as partial:
            partial.write_bytes(content)

    @contextmanager
    def new_file(self, name: str) -> Iterator[Path]:
        """A path beside the file to write to; when the block ends well it is fsynced and renamed."""
        with finished_file(self.path / name) as partial:
            yield partial

    def delete(self, names: Iterable[str]) -> None:
        """Remove files, one after another; one that is not there is no error."""
        for name in names:
            (self.path / name).unlink(missing_ok=True)

    def remove(self, names: Iterable[str], folder: str) -> None:
        """Remove files, then the folders that are left empty, `folder` and those in it."""
        self.delete(names)
        for place, _, _ in os.walk(self.path / folder, topdown=False):
            with suppress(OSError):  # it is not empty
                os.rmdir(place)

    def move(self, names: Iterable[str], start: str, end: str) -> None:
        """Rename files, one after another, and remove the folders that they leave empty.

        File by file, as a folder cannot take the place of one that is there.
        """
        source, target = self.path / start, self.path / end
        left: set[Path] = set()
        for name in names:
            make_folder((target / name).parent)
            os.replace(source / name, target / name)
            left |= {source / folder for folder in Path(name).parents if folder != Path()}
        for folder in sorted(left, reverse=True):
            with suppress(OSError):  # something else lies there
                folder.rmdir()
        for place in (target, source):
            if place.is_dir():
                sync_folder(place)

    def sweep(self) -> None:
        """Remove files that were being written when a process was killed."""
        remove_left_overs(Path(place, name) for place, _, names in os.walk(self.path) for name in names)

    @contextmanager
    def local(self, names: Iterable[str]) -> Iterator["Folder"]:
        """This folder."""
        for name in names:
            if self.size(name) is None:
                raise self._missing(name)
        yield self

    def fetch(self, names: Iterable[str], folder: Path) -> None:
        """Copy files into another folder."""
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.path / name, folder / name)

    def locked(self, work: str = "build") -> AbstractContextManager[None]:
        """Be the only one to write here until the block ends."""
        return lock.locked(self.path, work=work)

    @contextmanager
    def joined(self) -> Iterator[Callable[[], None]]:
        """Write here until the block ends, together with others that joined."""
        with lock.joined(self.path):
            yield lambda: None

    def refuse_if_locked(self) -> None:
        """Tell early what `locked` would tell later, or the first write after it."""
        lock.refuse_if_locked(self.path)
        try_folder(self.path)

    def _missing(self, name: str) -> FileNotFoundError:
        return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.at(name))


def _entries(folder: str, start: str = "", through_links: bool = False) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """All files in a folder whose names begin with `start`, and below it.

    What is not there any more is passed over, and so are folders below it that nobody may look into, as systems make
    them. Any other error is told: files that it hid would be taken for missing, and be made anew.
    """
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as listed:
        for entry in listed:
            if not entry.name.startswith(start):
                continue
            if not _is(entry, entry.is_dir):
                yield entry.name, entry
            elif through_links or not entry.is_symlink():
                with suppress(PermissionError):
                    for name, inside in _entries(entry.path):
                        yield f"{entry.name}/{name}", inside


def _is(entry: os.DirEntry[str], kind: Callable[[], bool]) -> bool:
    """Whether it is of that kind; a link that cannot be followed (a ring, or into a closed folder) is of none."""
    try:
        return kind()
    except OSError:
        if not entry.is_symlink():
            raise
        return False

"""Files that are either whole under their name or not there, and places that are tried before the work."""

import errno
import hashlib
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile

from dukd_cache.errors import CacheError, SettingError
from dukd_cache.processes import machine, start_of

PARTIAL = ".partial"
"""Suffix of what is being written: a file, or a folder of them."""

_LEFT_OVER = re.compile(rf"\.dukd-([0-9a-f]{{8}})-(\d+)-(\d*)-[0-9a-f]{{8}}{re.escape(PARTIAL)}")
"""What `partial_name` gives: machine, process and its start."""

_OF_SYSTEMS = {
    "#recycle",
    "#snapshot",
    "$recycle.bin",
    "@eadir",
    "@recently-snapshot",
    "@recycle",
    "@tmp",
    "__macosx",
    "desktop.ini",
    "ehthumbs.db",
    "found.000",
    "icon\r",
    "lost+found",
    "network trash folder",
    "recycled",
    "recycler",
    "system volume information",
    "temporary items",
    "thumbs.db",
    "~snapshot",
}
"""In lower case."""

_STALE_S = 86_400
"""After a day nobody goes on with what was being written: told of processes that cannot be seen from here."""


@contextmanager
def finished_file(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to; when the block ends well it is fsynced and becomes `path`.

    Each writer has a name of its own, so of several the last one wins. A pipe or a device (`/dev/stdout`) is written to
    as it is.
    """
    if _is_stream(path):
        yield path
        return
    partial = path.with_name(partial_name())
    try:
        yield partial
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.replace(path)
    except OSError as error:
        if error.filename is not None and Path(error.filename) == partial:  # a name that its user never gave
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        partial.unlink(missing_ok=True)
    sync_folder(path.parent)


def partial_name() -> str:
    """A name for what is being written; no other writer's, and short, whatever it is going to be called."""
    return f".dukd-{_machine()}-{os.getpid()}-{start_of()}-{secrets.token_hex(4)}{PARTIAL}"


def remove_left_overs(paths: Iterable[Path]) -> None:
    """Remove those of `paths` that killed processes left half written. Nothing else, whatever it is called."""
    for path in paths:
        if _was_left(path):
            with suppress(OSError):  # another process removes it, too
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _was_left(path: Path) -> bool:
    found = _LEFT_OVER.fullmatch(path.name)
    if found is None:
        return False
    if machine() and found[1] == _machine():
        return start_of(int(found[2])) != found[3]
    try:
        return path.stat().st_mtime < time.time() - _STALE_S
    except OSError:
        return False


def _machine() -> str:
    return hashlib.sha256((machine() or socket.gethostname()).encode()).hexdigest()[:8]


def _is_stream(path: Path) -> bool:
    """Whether there is something that a file cannot take the place of."""
    if path.is_symlink() and str(path.readlink()).startswith("/proc/"):
        return True
    return path.exists() and not (path.is_file() or path.is_dir())


def is_systems(name: str) -> bool:
    """Whether nobody put a file or folder of that name where it is: it is hidden, or one that systems drop anywhere."""
    return name.startswith(".") or name.lower() in _OF_SYSTEMS


def write_atomically(path: Path, content: bytes) -> None:
    """`content` as the whole of `path`, also after a crash at any moment."""
    with finished_file(path) as partial:
        partial.write_bytes(content)


def sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def try_file(path: Path, make_parents: bool = False) -> None:
    """Fail before the work as writing the file `path` would fail after it. Nothing is left behind.

    `make_parents`: folders above it that are missing will be made.

    Raises:
        SettingError: it is a folder.
        OSError: it cannot be written, and names it.
    """
    if path.is_dir():
        raise SettingError(f"{path}: expected a file, found a folder")
    if _is_stream(path):
        return
    with _renamed_errors(path):
        _try(_nearest(path.parent) if make_parents else path.parent)


def try_folder(folder: Path) -> None:
    """Fail before the work as making `folder` and writing into it would fail after it. Nothing is left behind.

    Raises:
        CacheError: it is a file.
        OSError: it cannot be made or written to, and names it.
    """
    with _renamed_errors(folder):
        if folder.exists() and not folder.is_dir():
            raise CacheError(f"{folder}: expected a folder, found a file")
        _try(_nearest(folder))


def _try(folder: Path) -> None:
    """Write a file that has no name."""
    with TemporaryFile(dir=folder, buffering=0) as tried:
        tried.write(b"dukd")


def _nearest(folder: Path) -> Path:
    """`folder`, or the first one above it that exists."""
    for place in (folder, *folder.parents):
        try:
            place.stat()
        except FileNotFoundError:
            if place.is_symlink():
                raise OSError(errno.ENOENT, "a link that leads nowhere") from None
        else:
            break
    return place


@contextmanager
def _renamed_errors(path: Path) -> Iterator[None]:
    """What the system refuses in the block is told of `path`, the name that a user gave."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def user_folder() -> Path:
    """Where is kept what can be made anew: `$XDG_CACHE_HOME/dukd`, by default `~/.cache/dukd`.

    Raises:
        RuntimeError: the user has no home.
    """
    root = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(root) if os.path.isabs(root) else Path.home() / ".cache") / "dukd"


def make_folder(folder: Path) -> None:
    """Make `folder` and those above it that are missing; they survive a power cut, as what is put into them will."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    for place in reversed(missing):
        place.mkdir(exist_ok=True)
        sync_folder(place.parent)


def still_at(descriptor: int, path: Path) -> bool:
    """Whether the open file is the one that `path` names now, not one that was removed or replaced since."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False

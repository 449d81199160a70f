"""One writer a folder: a lock that its owner's death releases, however it died."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dukd_cache.system.errors import BusyError, CacheError
from dukd_cache.system.files import make_folder, still_at
from dukd_cache.system.terminal import tell_once

LOCK = "building.lock"
"""Holds the number of the process that builds; there only while it does, or after it was killed."""

PART = "part of a build"
"""Work of which several may write at a time, each other things."""

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
"""What file systems answer that keep no locks (NFS without lockd, Lustre without `flock`, some of FUSE)."""


@contextmanager
def locked(folder: Path, name: str = LOCK, work: str = "build") -> Iterator[None]:
    """Be the only one to write into `folder` (made if it is missing) until the block ends.

    `name` is that of the lock's file, `work` what a second one is told that the first does.

    Raises:
        BusyError: another process writes there.
        CacheError: it is a file.
        PlaceError: there can be no such folder.
    """
    if folder.exists() and not folder.is_dir():
        raise CacheError("expected a folder, found a file", folder)
    make_folder(folder)
    path = folder / name
    descriptor = _take(path, fcntl.LOCK_EX, work)
    try:
        _sign(descriptor, work)
        yield
    finally:
        path.unlink(missing_ok=True)  # before it is released: who opened it meanwhile sees that it is gone
        os.close(descriptor)


@contextmanager
def joined(folder: Path, name: str = LOCK) -> Iterator[None]:
    """Write into `folder` until the block ends, together with others that joined and with nobody else.

    Raises:
        BusyError: a process writes there that wants to be alone.
        PlaceError: there can be no such folder.
    """
    make_folder(folder)
    path = folder / name
    descriptor = _take(path, fcntl.LOCK_SH, "build")
    try:
        _sign(descriptor, PART)
        yield
    finally:
        with suppress(BlockingIOError):  # others go on
            if flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB):
                path.unlink(missing_ok=True)
        os.close(descriptor)


def refuse_if_locked(folder: Path, name: str = LOCK, work: str = "build") -> None:
    """Tell early, before hours of reading, what `locked` would tell later.

    Raises:
        BusyError: another process writes into `folder`.
    """
    try:
        descriptor = os.open(folder / name, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return
    try:
        _lock(descriptor, fcntl.LOCK_EX, folder, work)
    finally:
        os.close(descriptor)


def flock(descriptor: int, kind: int) -> bool:
    """Lock an open file; False where its file system keeps no locks.

    Raises:
        BlockingIOError: `kind` says not to wait, and another process holds the lock.
    """
    try:
        fcntl.flock(descriptor, kind)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return False
    return True


def refusal(place: object, owner: str, work: str) -> BusyError:
    """What a second writer is told."""
    return BusyError(f"another {work} writes here (process {owner})", place, work)


def _sign(descriptor: int, work: str) -> None:
    with suppress(OSError):  # a full disk: those who come second are told less
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()} {work}".encode(), 0)


def _take(path: Path, kind: int, work: str) -> int:
    """Open and lock `path`; again if its last owner removed it in between."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            _lock(descriptor, kind, path.parent, work)
            if still_at(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock(descriptor: int, kind: int, folder: Path, work: str) -> None:
    try:
        if not flock(descriptor, kind | fcntl.LOCK_NB):
            tell_once(f"note: {folder}: this file system keeps no locks: let no second {work} write here", "lock")
    except BlockingIOError:
        owner, _, found = os.pread(descriptor, 100, 0).decode("ascii", "replace").partition(" ")
        raise refusal(folder, owner or "just started", found or work) from None

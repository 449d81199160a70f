"""One writer a folder: a lock that its owner's death releases, however it died."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dukd_cache.system.errors import CacheError
from dukd_cache.system.files import make_folder, still_at
from dukd_cache.system.terminal import tell_once

LOCK = "building.lock"
"""Holds the number of the process that builds; there only while it does, or after it was killed."""


_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
"""What file systems answer that keep no locks (NFS without lockd, Lustre without `flock`, some of FUSE)."""


@contextmanager
def locked(folder: Path, name: str = LOCK, work: str = "build") -> Iterator[None]:
    """Be the only one to write into `folder` (made if it is missing) until the block ends.

    `name` is that of the lock's file, `work` what a second one is told that the first does.

    Raises:
        CacheError: another process writes there.
        PlaceError: there can be no such folder.
    """
    if folder.exists() and not folder.is_dir():
        raise CacheError("expected a folder, found a file", folder)
    make_folder(folder)
    path = folder / name
    descriptor = _take(path, work)
    try:
        with suppress(OSError):  # a full disk: those who come second are told less
            os.ftruncate(descriptor, 0)
            os.write(descriptor, str(os.getpid()).encode())
        yield
    finally:
        path.unlink(missing_ok=True)  # before it is released: who opened it meanwhile sees that it is gone
        os.close(descriptor)


def refuse_if_locked(folder: Path, name: str = LOCK, work: str = "build") -> None:
    """Tell early, before hours of reading, what `locked` would tell later.

    Raises:
        CacheError: another process writes into `folder`.
    """
    try:
        descriptor = os.open(folder / name, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        _lock(descriptor, fcntl.LOCK_SH, folder, work)
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


def refusal(place: str, owner: str, work: str = "build") -> str:
    """What a second writer is told."""
    return f"{place}: another {work} writes here (process {owner}); wait for its end, or choose another folder"


def _take(path: Path, work: str) -> int:
    """Open and lock `path`; again if its last owner removed it in between."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            _lock(descriptor, fcntl.LOCK_EX, path.parent, work)
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
        owner = os.pread(descriptor, 20, 0).decode("ascii", "replace") or "just started"
        raise CacheError(refusal(str(folder), owner, work)) from None

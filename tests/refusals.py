"""A system that refuses: files may not grow, file systems have no locks and sync no folders."""

import errno
import fcntl
import os
import resource
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

TOO_LARGE = os.strerror(errno.EFBIG)


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """The kernel refuses to let any file of this process grow beyond `size` bytes, as a full disk would."""
    before, quiet = resource.getrlimit(resource.RLIMIT_FSIZE), sys.dont_write_bytecode
    sys.dont_write_bytecode = True  # Python would leave half a file of it, and stumble over that ever after
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        sys.dont_write_bytecode = quiet


def without_locks(patch: pytest.MonkeyPatch, answer: int) -> None:
    """As on a file system that answers every flock with the error `answer`."""

    def flock(_descriptor: int, _kind: int) -> None:
        raise OSError(answer, os.strerror(answer))

    patch.setattr(fcntl, "flock", flock)


def without_syncing_folders(patch: pytest.MonkeyPatch, answer: int = errno.EINVAL) -> None:
    """As on a file system that answers every fsync of a folder with the error `answer`."""
    really = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(answer, os.strerror(answer))
        really(descriptor)

    patch.setattr(os, "fsync", fsync)

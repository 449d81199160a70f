"""Arrays that several processes of a machine hold once: the ranks of a run, the runs of a sweep.

Each block is a file below /dev/shm, in a folder of the user's own. Its name is a hash of what it holds; its last bytes,
written when it is filled, are that hash again. Who uses a block holds a shared lock on its file, who fills it an
exclusive one. The kernel takes them back however a process ends: a block that was left half filled is filled anew.
Whoever leaves last removes it; what killed processes left behind is used by the next that needs it, or removed by the
next that needs room.
"""

import fcntl
import hashlib
import mmap
import os
import random
import re
import stat
import time
import weakref
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dukd_cache.system.files import still_at

Block = npt.NDArray[np.uint8]

_MARK_BYTES = 32
_BLOCK = re.compile("[0-9a-f]{64}")
"""Name of a block's file."""


@dataclass(frozen=True)
class SharedMemory:
    """The blocks of one user."""

    folder: Path

    def room(self, wanted: Collection[str]) -> int:
        """Bytes for new blocks, once those are removed that nobody uses and that are not among the `wanted`."""
        keep = {self._path(content) for content in wanted}
        for path in self.folder.iterdir():
            if path not in keep and _BLOCK.fullmatch(path.name):
                _remove_if_unused(path)
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_frsize

    def has(self, content: str) -> bool:
        """Whether the block that `content` describes is there, or is just being filled."""
        return self._path(content).exists()

    def block(
        self, content: str, size: int, fill: Callable[[Block], None], on_wait: Callable[[], None] = lambda: None
    ) -> Block:
        """The block of `size` bytes that `content` describes; `fill` writes it if nobody did.

        Lasts as long as the array. Writing to it afterwards is seen by nobody else. `on_wait` is called where another
        process is filling it.

        Raises:
            OSError: there is no room.
        """
        path, mark = self._path(content), hashlib.sha256(content.encode()).digest()
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                _lock_shared(descriptor, on_wait)
                if still_at(descriptor, path):
                    if _filled(descriptor, size, mark):
                        return _mapped(descriptor, path, size)
                    if _lock_alone(descriptor) and still_at(descriptor, path):
                        if not _filled(descriptor, size, mark):
                            with _removed_on_error(path):
                                _fill(descriptor, size, mark, fill)
                        fcntl.flock(descriptor, fcntl.LOCK_SH)
                        if still_at(descriptor, path):
                            return _mapped(descriptor, path, size)
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)  # it was removed before it was locked, or another is about to fill it

    def _path(self, content: str) -> Path:
        return self.folder / hashlib.sha256(content.encode()).hexdigest()


def shared_memory(parent: Path = Path("/dev/shm")) -> SharedMemory | None:
    """Of this user; None where the system has none, or another user took the name of its folder."""
    folder = parent / f"dukd-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return None
    private = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077
    return SharedMemory(folder) if private else None


def _lock_shared(descriptor: int, on_wait: Callable[[], None]) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        on_wait()
        fcntl.flock(descriptor, fcntl.LOCK_SH)


def _lock_alone(descriptor: int) -> bool:
    """Whether this process may fill the block.

    Never waited for: who comes first fills the block and keeps a shared lock for as long as it uses it. Without the
    exclusive lock this process has none at all, and begins anew.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        time.sleep(random.uniform(0, 0.01))  # two that try at once do not try together again
        return False
    return True


def _filled(descriptor: int, size: int, mark: bytes) -> bool:
    return os.fstat(descriptor).st_size == size + _MARK_BYTES and os.pread(descriptor, _MARK_BYTES, size) == mark


def _fill(descriptor: int, size: int, mark: bytes, fill: Callable[[Block], None]) -> None:
    os.ftruncate(descriptor, 0)
    os.posix_fallocate(descriptor, 0, size + _MARK_BYTES)  # or writing would end in a bus error where there is no room
    fill(np.frombuffer(mmap.mmap(descriptor, size), np.uint8))
    os.pwrite(descriptor, mark, size)


def _mapped(descriptor: int, path: Path, size: int) -> Block:
    memory = mmap.mmap(descriptor, size, access=mmap.ACCESS_COPY)
    weakref.finalize(memory, _leave, descriptor, path)
    return np.frombuffer(memory, np.uint8)


def _leave(descriptor: int, path: Path) -> None:
    with suppress(OSError):
        _unlink_if_unused(descriptor, path)
    fcntl.flock(descriptor, fcntl.LOCK_UN)  # the mapping keeps the open file, and its lock, until it is gone
    os.close(descriptor)


def _remove_if_unused(path: Path) -> None:
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            _unlink_if_unused(descriptor, path)
        finally:
            os.close(descriptor)


def _unlink_if_unused(descriptor: int, path: Path) -> None:
    """Unless another process holds the file's lock."""
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if still_at(descriptor, path):
        path.unlink()


@contextmanager
def _removed_on_error(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        raise

"""Arrays that several processes of a machine hold once: the ranks of a run, the runs of a sweep.

Each block is a file below /dev/shm, in a folder of the user's own, named by a hash of what it holds. It is filled under
another name, by one process of the folder at a time, and renamed. Who uses it holds a shared lock on it; whoever leaves
last removes it. The kernel takes locks back however a process ends: what killed processes left is used by the next that
needs it, or removed by the next that needs room.
"""

import fcntl
import hashlib
import mmap
import os
import re
import stat
import weakref
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dukd_cache.system.files import still_at
from dukd_cache.system.left_overs import PARTIAL

Block = npt.NDArray[np.uint8]

_BLOCK = re.compile(rf"([0-9a-f]{{64}})(?:{re.escape(PARTIAL)})?")
"""Name of a block's file, or of one that is being filled."""


@dataclass(frozen=True)
class SharedMemory:
    """The blocks of one user."""

    folder: Path

    def room(self, wanted: Collection[str]) -> int:
        """Bytes for new blocks, once those are removed that nobody uses and that are not among the `wanted`."""
        keep = {self._path(content).name for content in wanted}
        with suppress(BlockingIOError), self._alone(fcntl.LOCK_NB):  # else the next one does it
            for path in self.folder.iterdir():
                if (found := _BLOCK.fullmatch(path.name)) and found[1] not in keep:
                    _remove_if_unused(path)
        left = os.statvfs(self.folder)
        return left.f_bavail * left.f_frsize

    def has(self, content: str) -> bool:
        """Whether the block that `content` describes is there, or is just being filled."""
        path = self._path(content)
        return path.exists() or _partial(path).exists()

    def block(
        self, content: str, size: int, fill: Callable[[Block], None], on_wait: Callable[[], None] = lambda: None
    ) -> Block:
        """The block of `size` bytes that `content` describes; `fill` writes it if nobody did.

        Lasts as long as the array. Writing to it afterwards is seen by nobody else. `on_wait` is called where another
        process is filling one.

        Raises:
            OSError: there is no room.
        """
        path = self._path(content)
        while (found := _taken(path, size)) is None:
            try:
                with self._alone(fcntl.LOCK_NB):
                    if not (path.exists() and path.stat().st_size == size):
                        _fill(path, size, fill)
            except BlockingIOError:
                on_wait()
                with self._alone(0):
                    pass  # whoever filled one has ended
        return found

    def _path(self, content: str) -> Path:
        return self.folder / hashlib.sha256(content.encode()).hexdigest()

    @contextmanager
    def _alone(self, waiting: int) -> Iterator[None]:
        """Be the only one to fill a block.

        Raises:
            BlockingIOError: `waiting` says not to wait, and another one fills one.
        """
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | waiting)
            yield
        finally:
            os.close(descriptor)


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


def _partial(path: Path) -> Path:
    return path.with_name(path.name + PARTIAL)


def _fill(path: Path, size: int, fill: Callable[[Block], None]) -> None:
    partial = _partial(path)
    descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, size)  # or writing would end in a bus error where there is no room
        fill(np.frombuffer(mmap.mmap(descriptor, size), np.uint8))
        partial.rename(path)
    except BaseException:
        partial.unlink()
        raise
    finally:
        os.close(descriptor)


def _taken(path: Path, size: int) -> Block | None:
    """The block, held by a shared lock; None where it is not there."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        if still_at(descriptor, path) and os.fstat(descriptor).st_size == size:
            memory = mmap.mmap(descriptor, size, access=mmap.ACCESS_COPY)
            weakref.finalize(memory, _leave, descriptor, path)
            return np.frombuffer(memory, np.uint8)
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


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

"""Files that are either whole under their name or not there, and places that are tried before the work."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

from dukd_cache.system.errors import CacheError, DukdError, PlaceError, SettingError
from dukd_cache.system.left_overs import partial_name
from dukd_cache.system.terminal import tell_once

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""How a system says that there is no room: on the disk, in a quota, in one file."""

_NO_FSYNC = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF, errno.EISDIR, errno.EACCES, errno.EPERM)
"""What file systems answer that cannot fsync a folder (CIFS, shared folders of virtual machines, some of FUSE)."""

_PROBE = bytes(1 << 20)


@contextmanager
def finished_file(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to; when the block ends well it is fsynced and becomes `path`.

    Its folder is made where it is missing. Each writer has a name of its own, so of several the last one wins. A pipe
    or a device (`/dev/stdout`) is written to as it is.

    Raises:
        OSError: the system refuses; it names `path`, whatever the writer in the block made of it.
        PlaceError: there can be no such folder.
    """
    if _is_stream(path):
        with naming(path):
            yield path
        return
    make_folder(path.parent)
    partial = path.with_name(partial_name())
    try:
        with written_as(partial, path):
            yield partial
            _sync(partial, "files")
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    sync_folder(path.parent)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Errors of the system in the block that name no file name `path`."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error


@contextmanager
def written_as(partial: Path, path: Path) -> Iterator[None]:
    """While `partial`, which is shown as `path`, is written: where the system refuses that, the error names `path`.

    Libraries tell of a full disk in words of their own (torch: "unexpected pos 576 vs 534"). So after an error that may
    be one, the system is asked: by some more bytes.
    """
    try:
        yield
    except DukdError:
        raise
    except Exception as error:
        refused = _refusal(error, partial)
        if refused is None:
            raise
        raise OSError(refused, os.strerror(refused), str(path)) from error


def _refusal(error: Exception, partial: Path) -> int | None:
    """Number of the system's error where `partial` could not be written; None where something else is wrong."""
    if isinstance(error, OSError):
        if error.filename is not None:
            return error.errno if str(error.filename) == str(partial) else None
        if error.errno in FULL:
            return error.errno
    try:
        with partial.open("ab") as stream:
            stream.write(_PROBE)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as answer:
        return answer.errno
    return None


def _is_stream(path: Path) -> bool:
    """Whether there is something that a file cannot take the place of."""
    if path.is_symlink() and str(path.readlink()).startswith("/proc/"):
        return True
    return path.exists() and not (path.is_file() or path.is_dir())


def write_atomically(path: Path, content: bytes | memoryview) -> None:
    """`content` as the whole of `path`, also after a crash at any moment."""
    with finished_file(path) as partial:
        partial.write_bytes(content)


def sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut."""
    _sync(folder, "folders")


def _sync(path: Path, kind: str) -> None:
    """Where the file system cannot do that, it is said once."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NO_FSYNC:
            raise OSError(error.errno, error.strerror, str(path)) from error
        why = f"this file system syncs no {kind} ({error.strerror})"
        tell_once(f"note: {path.parent}: {why}: after a power cut the newest files may be missing", "fsync")


def try_file(path: Path, make_parents: bool = False) -> None:
    """Fail before the work as writing the file `path` would fail after it. Nothing is left behind.

    `make_parents`: folders above it that are missing will be made.

    Raises:
        SettingError: it is a folder.
        PlaceError: it is a link to nothing, or lies where no folder can be.
        OSError: it cannot be written, and names it.
    """
    if path.is_dir():
        raise SettingError("expected a file, found a folder", path)
    if _is_stream(path):
        return
    _refuse_dangling(path)
    refuse_no_folder(path.parent)
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
            raise CacheError("expected a folder, found a file", folder)
        refuse_no_folder(folder)
        _try(_nearest(folder))


def _try(folder: Path) -> None:
    """Write a file that has no name."""
    with TemporaryFile(dir=folder, buffering=0) as tried:
        tried.write(b"dukd")


def _nearest(folder: Path) -> Path:
    """`folder`, or the first one above it that exists."""
    for path in (folder, *folder.parents):
        try:
            path.stat()
        except FileNotFoundError:
            continue
        break
    return path


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


def refuse_no_folder(folder: Path) -> None:
    """Tell early what `make_folder` would tell later.

    Raises:
        PlaceError: `folder`, or one above it, is a link to nothing, or a file.
    """
    path = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    _refuse_dangling(path)
    if not path.is_dir():
        raise PlaceError("expected a folder, found a file", path)


def _refuse_dangling(path: Path) -> None:
    if path.is_symlink() and not path.exists():
        raise PlaceError(f"a link to {path.readlink()}, which is not there: make it, or remove the link", path)


def make_folder(folder: Path) -> None:
    """Make `folder` and those above it that are missing; they survive a power cut, as what is put into them will.

    Raises:
        PlaceError: there can be none, see `refuse_no_folder`.
    """
    refuse_no_folder(folder)
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        sync_folder(path.parent)


def still_at(descriptor: int, path: Path) -> bool:
    """Whether the open file is the one that `path` names now, not one that was removed or replaced since."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False

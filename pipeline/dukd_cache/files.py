"""Files that are either whole under their name or not there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL = ".partial"
"""Suffix of a file that is being written."""


@contextmanager
def finished_file(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to; when the block ends well it is fsynced and becomes `path`."""
    partial = path.with_name(path.name + PARTIAL)
    try:
        yield partial
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    sync_folder(path.parent)


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

"""What image files held when they were last read, so that a second plan or build does not read them again.

An SQLite file in the user's cache folder (`$XDG_CACHE_HOME/dukd`, by default `~/.cache/dukd`): shared by all caches
and by processes at the same time, and one row can be changed without reading or writing a million others. It is only a
memory: without it, or after it was deleted or damaged, files are read again.

A file is known by its path, size, and times of change of content (mtime) and of inode (ctime), in nanoseconds, which
also tells an edit whose mtime was set back. A file that was changed in the last moments is never remembered: a clock
may stand still while the file changes once more (FAT counts in steps of two seconds).
"""

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dukd_cache.pictures.sources import FileFacts, read_facts
from dukd_cache.system.files import user_folder

_CLOCK_NS = 3_000_000_000
"""The coarsest clock of a file system that is expected, and some."""

_VERSION = 2
"""To be raised when `images.identify` comes to see other sizes in the same files."""

_ROWS_A_COMMIT = 1000

_TABLE = f"""
CREATE TABLE IF NOT EXISTS files_{_VERSION} (
    path TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, ctime_ns INTEGER,
    sha256 TEXT, width INTEGER, height INTEGER
) WITHOUT ROWID"""


class KnownImages:
    """Identities of files, remembered. `database` None: nothing is."""

    def __init__(self, database: sqlite3.Connection | None) -> None:
        self._database = database
        self._new = 0
        self.read = 0
        """Files whose content was read."""

    def facts(self, path: Path) -> FileFacts:
        """As `images.read_facts`, without reading a file that is known.

        Raises:
            ImageError: as there. Files that cannot be used are not remembered.
        """
        key, before = os.path.abspath(path), _stamp(path)
        if before and (known := self._recall(key, before)):
            return known
        started = time.time_ns()
        self.read += 1
        facts = read_facts(path)
        # Neither changed while it was read, nor so shortly before that its clock might not show a change after.
        if before and before == _stamp(path) and max(before[1:]) < started - _CLOCK_NS:
            self._remember(key, before, facts)
        return facts

    def _recall(self, key: str, stamp: tuple[int, int, int]) -> FileFacts | None:
        if self._database is None:
            return None
        columns = "size, mtime_ns, ctime_ns, sha256, width, height"
        try:
            query = self._database.execute(f"SELECT {columns} FROM files_{_VERSION} WHERE path = ?", (key,))
            row = query.fetchone()
        except sqlite3.Error:
            return None
        return FileFacts(row[3], row[4], row[5], stamp[:2]) if row and row[:3] == stamp else None

    def _remember(self, key: str, stamp: tuple[int, ...], facts: FileFacts) -> None:
        if self._database is None:
            return
        row = (key, *stamp, facts.sha256, facts.width, facts.height)
        with contextlib.suppress(sqlite3.Error, UnicodeEncodeError):
            self._database.execute(f"INSERT OR REPLACE INTO files_{_VERSION} VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            self._new += 1
            if self._new % _ROWS_A_COMMIT == 0:
                self._database.commit()


@contextmanager
def known_images() -> Iterator[KnownImages]:
    """The memory of this user; what is new in it is kept also when the block fails."""
    database = _opened()
    try:
        yield KnownImages(database)
    finally:
        if database is not None:
            with contextlib.suppress(sqlite3.Error):
                database.commit()
            database.close()


def memory_file() -> Path:
    """Where the memory lies."""
    return user_folder() / "files.sqlite"


def _opened() -> sqlite3.Connection | None:
    try:
        path = memory_file()
        path.parent.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(path, timeout=5)
    except (OSError, RuntimeError, sqlite3.Error):  # a home that cannot be written to, or none
        return None
    try:
        database.execute("PRAGMA synchronous = OFF")
        database.execute(_TABLE)
    except sqlite3.DatabaseError:
        database.close()
        return None
    return database


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """Size, mtime and ctime; None for what is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns

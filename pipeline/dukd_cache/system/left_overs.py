"""Names of what is being written, how what killed processes left of it is told apart, and files that are nobody's."""

import hashlib
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from dukd_cache.system.processes import machine, start_of

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


def is_systems(name: str) -> bool:
    """Whether nobody put a file or folder of that name where it is: it is hidden, or one that systems drop anywhere."""
    return name.startswith(".") or name.lower() in _OF_SYSTEMS

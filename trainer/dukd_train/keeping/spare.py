"""The spare copy of an unfinished run, in a folder where DVC does not remove it.

DVC removes what a stage made before it runs its command, and the whole workspace of a queued experiment after it. So a
training that is a stage of DVC keeps its newest checkpoint, with the files that belong to it, in the project's folder,
named by what is trained: an equal training goes on from there, one with other settings does not find it.

    .dvc/tmp/dukd/<hash of settings and cache>/001200/     the run folder as it was after 1200 steps
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from dukd_cache.system.left_overs import PARTIAL
from dukd_cache.system.terminal import say
from dukd_train.keeping import run_folder
from dukd_train.keeping.best import BEST
from dukd_train.watching.observers import Observer, Start

_ROOT = "DVC_ROOT"
"""Set by DVC for the commands of its stages: the project's folder, also where an experiment runs in another one."""

_BEGUN = "copying-"
"""Begins the name of a copy that is being made."""


def place_of(decides: Mapping[str, Any]) -> Path | None:
    """Where the spare copies of this training lie (see `run_folder.deciding`); None where it is no stage of DVC."""
    root = os.environ.get(_ROOT, "")
    if not root or not (folder := Path(root) / ".dvc").is_dir():
        return None
    text = json.dumps(decides, sort_keys=True)
    return folder / "tmp" / "dukd" / hashlib.sha256(text.encode()).hexdigest()[:32]


def take_up(copies_in: Path, out: Path) -> bool:
    """Put the newest copy into the run folder `out`, where there is none yet; return whether there was one."""
    copies = sorted((path for path in _ours(copies_in) if path.name.isdigit()), key=lambda path: int(path.name))
    if not copies or run_folder.names(out):
        return False
    shutil.copytree(copies[-1], out, copy_function=_copy, dirs_exist_ok=True)
    return True


def remove(folder: Path) -> None:
    """Of a run that is finished: its copies, and their folder if it holds nothing else."""
    for copy in _ours(folder):
        shutil.rmtree(copy, ignore_errors=True)
    with suppress(OSError):
        folder.rmdir()


class SpareCopy(Observer):
    """Keeps the newest copy of a run up to date."""

    def __init__(self, copies_in: Path) -> None:
        self._copies_in = copies_in
        self._folder: Path

    def started(self, start: Start) -> None:
        self._folder = start.folder

    def saved(self, step: int) -> None:
        """Copy the run folder. What fails here costs no training: it is told."""
        try:
            self._copies_in.mkdir(parents=True, exist_ok=True)
            made, target = Path(mkdtemp(dir=self._copies_in, prefix=_BEGUN)), self._copies_in / f"{step:06d}"
            unneeded = shutil.ignore_patterns(run_folder.LOCK, f"*{PARTIAL}")
            shutil.copytree(self._folder, made, copy_function=_copy, ignore=unneeded, dirs_exist_ok=True)
            if target.exists():
                shutil.rmtree(target)
            made.rename(target)
            for other in _ours(self._copies_in):
                if other != target:
                    shutil.rmtree(other)
        except OSError as error:
            say(f"{self._copies_in}: no spare copy of step {step}: {error}")


def _ours(folder: Path) -> list[Path]:
    """Copies, whole or begun; what else lies there is not ours."""
    return [
        path for path in folder.glob("*") if path.is_dir() and (path.name.isdigit() or path.name.startswith(_BEGUN))
    ]


def _copy(source: str, target: str) -> None:
    """Files that are replaced and never changed need no room of their own."""
    name = Path(source).name
    if name == BEST or name.startswith("checkpoint-"):
        try:
            os.link(source, target)
            return
        except OSError:
            pass  # another file system, or one without links
    shutil.copy2(source, target)

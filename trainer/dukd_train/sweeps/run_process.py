"""One `dukd-train run` as a process of this machine.

Loads nothing but Python's own: it is all that the nodes of a cluster load of a sweep.
"""

import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from dukd_cache import __version__
from dukd_train.core.stopping import PARENT
from dukd_train.errors import RunError

SECONDS_TO_LOOK = 0.2
SECONDS_TO_END = 120.0
"""A training that is asked to end finishes its step and writes a checkpoint."""

_OF_TORCHRUN = "WORLD_SIZE"
"""What may have started the parts of a sweep starts no part of their runs: each is on its own."""


class State(Enum):
    """What a run is doing."""

    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    LOST = "lost"
    """Its machine is gone, or what ran it there: it may go on elsewhere."""


@dataclass(frozen=True)
class Command:
    """A `dukd-train run`, for any machine that sees its files."""

    settings: Path
    folder: Path
    log: Path


class RunProcess:
    """Ends with this process, however that ends. What it prints goes to the end of its log."""

    def __init__(self, command: Command, environment: Mapping[str, str]) -> None:
        """`environment`: what is to be changed in this process's."""
        words = ["run", "--config", str(command.settings), "--out", str(command.folder)]
        inherited = {name: value for name, value in os.environ.items() if name != _OF_TORCHRUN}
        with command.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "dukd_train", *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**inherited, **environment, PARENT: str(os.getpid())},
                start_new_session=True,  # Ctrl-C reaches it through `ask_to_end` only
            )

    def state(self) -> State:
        """Running, finished or failed."""
        code = self._process.poll()
        if code is None:
            return State.RUNNING
        return State.FAILED if code else State.FINISHED

    def ask_to_end(self) -> None:
        """It ends when its step is done."""
        self._process.terminate()

    def wait(self, seconds: float) -> None:
        """Until it has ended; it is killed if that takes longer than `seconds`."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def run_on_node(command: Command, environment: Mapping[str, str], folder: Path, version: str) -> State:
    """Run it to its end on a node of a cluster; whatever interrupts this asks it to end, and waits for that.

    Args:
        folder: where the sweep was started, to which paths may be relative.
        version: of dukd, there.

    Raises:
        RunError: this node has another version, or does not see the files.
    """
    node = platform.node()
    if version != __version__:
        raise RunError(f"dukd {__version__} is installed there, and {version} where the sweep was started", node)
    if not (folder / command.settings).is_file():
        raise RunError(f"{node} does not see it: folders of a sweep must be shared", folder / command.settings)
    os.chdir(folder)
    with command.log.open("a") as log:
        log.write(f"sweep: on {node}, process {os.getpid()}\n")
    process = RunProcess(command, environment)
    try:
        while process.state() is State.RUNNING:
            time.sleep(SECONDS_TO_LOOK)
        return process.state()
    finally:
        process.ask_to_end()
        process.wait(SECONDS_TO_END)

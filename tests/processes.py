"""Processes of the tests' own, to be killed or to work at once, forked from one that has loaded torch once for all.

That is not the server from which a training starts its readers, which loads less and is stopped by some tests.
"""

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import TypeVar

import pytest
import torch

T = TypeVar("T")

_SERVER = forkserver.ForkServer()
_SERVER.set_forkserver_preload(
    ["tests.cache.samples", "dukd_cache.commands.answer", "dukd_train.core.run", "spandrel", "s3fs"]
)
_PROJECT = Path(__file__).resolve().parent.parent


def start(target: Callable[..., None], *args: object) -> ForkServerProcess:
    """A process that calls `target`; one thread of it computes."""
    process = multiprocessing.get_context("forkserver").Process(target=_call, args=(target, args), daemon=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [*sys.path, str(_PROJECT)])))
        _SERVER.ensure_running()
        patch.setattr(forkserver, "connect_to_new_process", _SERVER.connect_to_new_process)
        process.start()
    return process


def _call(target: Callable[..., None], args: Iterable[object]) -> None:
    torch.set_num_threads(1)
    target(*args)


def wait_for(what: Callable[[], T]) -> T:
    """What it gives, once it gives anything. A busy machine loads torch slowly."""
    end = time.monotonic() + 300
    while not (found := what()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
    return found


@dataclass(frozen=True)
class Running:
    """A program in a process."""

    process: ForkServerProcess
    output: Path

    def end(self) -> tuple[int | None, str]:
        """Exit code and what it printed, when it has ended."""
        self.process.join(240)
        return self.process.exitcode, self.output.read_text() if self.output.exists() else ""


def start_program(
    package: str, words: Iterable[object], output: Path, environment: Mapping[str, str] | None = None
) -> Running:
    """`dukd_cache` or `dukd_train` with these words. What it prints goes to `output`."""
    return Running(start(_run, package, [*map(str, words)], output, dict(environment or {})), output)


def _run(package: str, words: list[str], output: Path, environment: Mapping[str, str]) -> None:
    os.environ.update(environment)
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.argv = [package.replace("_", "-"), *words]
    import_module(f"{package}.cli").main()

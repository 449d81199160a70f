"""Trainings in processes of their own, to be killed or to train together. Torch is loaded once for all of them."""

import multiprocessing
import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import torch

from dukd_cache.settings.model import dump
from dukd_train import cli
from dukd_train.settings import TrainConfig

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["tests.train.processes"])


@dataclass(frozen=True)
class Running:
    """`dukd-train run` in a process."""

    process: ForkServerProcess
    output: Path

    def end(self) -> tuple[int | None, str]:
        """Exit code and what it printed, when it has ended."""
        self.process.join(240)
        return self.process.exitcode, self.output.read_text() if self.output.exists() else ""


def start(asked: TrainConfig, out: Path, environment: Mapping[str, str] | None = None) -> Running:
    """A process that trains; its memory of images is that of the tests, its sums those of one thread."""
    name = f"{out.name}.{(environment or {}).get('RANK', '0')}"
    file, output = out.with_name(f"{name}.yaml"), out.with_name(f"{name}.txt")
    file.write_text(dump(asked))
    process = _SERVER.Process(target=_train, args=(file, out, output, dict(environment or {})), daemon=True)
    process.start()
    return Running(process, output)


def start_together(asked: TrainConfig, out: Path, size: int = 2) -> list[Running]:
    """Processes that train together, as torchrun would start them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    world = {"WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size)} | place
    return [start(asked, out, world | {"RANK": str(rank), "LOCAL_RANK": str(rank)}) for rank in range(size)]


def _train(file: Path, out: Path, output: Path, environment: Mapping[str, str]) -> None:
    torch.set_num_threads(1)
    os.environ.update(environment)
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.argv = ["dukd-train", "run", "--config", str(file), "--out", str(out)]
    cli.main()

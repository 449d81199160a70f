"""Trainings in processes of their own, to be killed or to train together. Torch is loaded once for all of them."""

import multiprocessing
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import torch

from dukd_train.config import TrainConfig
from dukd_train.run import run

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["tests.train.processes"])


def start(config: TrainConfig, out: Path) -> ForkServerProcess:
    """A process that trains; its memory of images is that of the tests, its sums those of one thread."""
    process = _SERVER.Process(target=_train, args=(config, out), daemon=True)
    process.start()
    return process


def _train(config: TrainConfig, out: Path) -> None:
    torch.set_num_threads(1)
    run(config, out)

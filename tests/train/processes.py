"""Trainings in processes of their own, to be killed or to train together."""

import socket
from collections.abc import Mapping
from pathlib import Path

from tests.processes import Running, start_program

from dukd_cache.settings.model import dump
from dukd_train.settings import TrainConfig


def start(asked: TrainConfig, out: Path, environment: Mapping[str, str] | None = None) -> Running:
    """A process that trains; its memory of images is that of the tests, its sums those of one thread."""
    name = f"{out.name}.{(environment or {}).get('RANK', '0')}"
    file, output = out.with_name(f"{name}.yaml"), out.with_name(f"{name}.txt")
    file.write_text(dump(asked))
    output.unlink(missing_ok=True)
    return start_program("dukd_train", ["run", "--config", file, "--out", out], output, environment)


def start_together(asked: TrainConfig, out: Path, size: int = 2, others: TrainConfig | None = None) -> list[Running]:
    """Processes that train together, as torchrun would start them; all but the first may be asked for `others`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    world = {"WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size)} | place
    return [
        start(others or asked if rank else asked, out, world | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(size)
    ]

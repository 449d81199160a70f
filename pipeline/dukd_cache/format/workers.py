"""Who writes into an unfinished cache, and how far each has come: a small file a worker, beside the shards.

    building.workers/3-of-16.json    of a part of a build; 1-of-1 of one that is whole

They are for people (`dukd-cache status`); nothing depends on them. Removed when the manifest is there.
"""

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from pydantic import ValidationError

from dukd_cache.format.record import Frozen
from dukd_cache.places import Place
from dukd_cache.system.errors import DukdError
from dukd_cache.system.processes import machine, start_of
from dukd_cache.system.threads import repeating

WORKERS = "building.workers"
"""Below it lie the files."""

_BEAT_S = 30.0
"""Between two signs of life."""

_SILENT_S = 100.0
"""Three of them were missed: it is taken for dead."""


class WorkerReport(Frozen):
    """What one says of itself."""

    name: str
    host: str
    process: int
    machine: str
    """Which numbers of processes `process` is of."""
    started: str
    """When the process did, so that another one of the same number is not taken for it."""
    began: float
    """Seconds since 1970, by its clock. So for `seen`."""
    seen: float
    """Its last sign of life."""
    records: int
    """Finished since it began."""
    left: bool = False
    """It has ended of its own accord: its work was done, or could not be done."""

    @property
    def alive(self) -> bool:
        """Whether it is at work, as far as can be told from here."""
        if self.left:
            return False
        if self.machine and self.machine == machine():
            return start_of(self.process) == self.started
        return time.time() - self.seen < _SILENT_S

    @property
    def pace(self) -> float:
        """Records a second."""
        return self.records / max(self.seen - self.began, 1e-9)


@contextmanager
def reporting(out: Place, name: str, on_records: Callable[[int], None]) -> Iterator[Callable[[int], None]]:
    """While the block works as worker `name`, it says so in `out`; what the block is given counts its records."""
    now = time.time()
    worker = WorkerReport(
        name=name,
        host=socket.gethostname(),
        process=os.getpid(),
        machine=machine(),
        started=start_of(),
        began=now,
        seen=now,
        records=0,
    )
    records = 0

    def tell(left: bool = False) -> None:
        found = worker.model_copy(update={"seen": time.time(), "records": records, "left": left})
        # What is wrong with the place the work itself will meet; and who commits removes the folder under our hands.
        with suppress(DukdError, OSError):
            out.write(f"{WORKERS}/{name}.json", found.model_dump_json().encode())

    def beat() -> bool:
        tell()
        return True

    def count(done: int) -> None:
        nonlocal records
        records += done
        on_records(done)

    tell()
    end = repeating(beat, _BEAT_S)
    try:
        yield count
    finally:
        end()
        tell(left=True)


def workers_in(place: Place) -> list[WorkerReport]:
    """All that said something, by name."""
    found: list[WorkerReport] = []
    for name in place.names(f"{WORKERS}/"):
        with suppress(FileNotFoundError, ValidationError):  # one may have left meanwhile
            found.append(WorkerReport.model_validate_json(place.read(name)))
    return found

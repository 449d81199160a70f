"""How far a long command has come: a bar on a terminal, a line now and then elsewhere."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_SECONDS_BETWEEN_LINES = 10.0

Advance = Callable[[int], None]


def speaks() -> bool:
    """Whether this process tells people anything: of several that torchrun started, only the first does."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def progress(title: str, total: int, unit: str) -> Iterator[Advance]:
    """A function to be told of every `n` units done, out of `total`."""
    if not speaks():
        yield lambda _units: None
    elif sys.stderr.isatty():
        with _bar(title, total, unit) as advance:
            yield advance
    else:
        lines = _Lines(title, total, unit)
        yield lines.advance
        lines.close()


@contextmanager
def _bar(title: str, total: int, unit: str) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    started = time.monotonic()
    with Progress(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task(title, total=total, rate="")

        def advance(count: int) -> None:
            bars.advance(task, count)
            rate = bars.tasks[0].completed / max(time.monotonic() - started, 1e-9)
            bars.update(task, rate=f"{rate:.1f} {unit}/s")

        yield advance


class _Lines:
    def __init__(self, title: str, total: int, unit: str) -> None:
        self._title, self._total, self._unit = title, total, unit
        self._done = 0
        self._started = self._last = time.monotonic()

    def advance(self, count: int) -> None:
        self._done += count
        now = time.monotonic()
        if now - self._last >= _SECONDS_BETWEEN_LINES:
            self._last = now
            self._print(now - self._started)

    def close(self) -> None:
        self._print(time.monotonic() - self._started)

    def _print(self, seconds: float) -> None:
        rate = self._done / max(seconds, 1e-9)
        left = (self._total - self._done) / rate if rate else 0.0
        tail = f", {left:.0f} s left" if self._done < self._total else f" in {seconds:.0f} s"
        print(
            f"{self._title}: {self._done}/{self._total} {self._unit}, {rate:.1f} {self._unit}/s{tail}",
            file=sys.stderr,
            flush=True,
        )

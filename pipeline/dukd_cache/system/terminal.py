"""What people are told on standard error: notes, and how far a long command has come, by a bar or a line now and then.

Where nobody can read it any more, as a terminal was closed or a pipe ended, the work goes on.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, cast

_SECONDS_BETWEEN_LINES = 10.0

Advance = Callable[[int], None]


def speaks() -> bool:
    """Whether this process tells people anything: of several that torchrun started, only the first does."""
    rank = os.environ.get("RANK", "0")
    return os.environ.get("WORLD_SIZE", "1") == "1" or not rank.isdecimal() or int(rank) == 0


def say(line: str) -> None:
    """Print a line on standard error."""
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)


_TOLD: set[str] = set()


def tell_once(what: str, line: str) -> None:
    """Print `line`, unless this process told of `what` already."""
    if what not in _TOLD and speaks():
        say(f"note: {line}")
    _TOLD.add(what)


def can_redraw(stream: IO[str]) -> bool:
    """Whether what was written to `stream` can be drawn over: on a terminal that knows how to move its cursor.

    Not in a file, whatever asks for colours there (`FORCE_COLOR`, `TTY_COMPATIBLE`), not on one that says it cannot
    (`TERM=dumb`, `TTY_INTERACTIVE=0`), and not in a notebook, whose `!command` has a terminal that keeps every line.
    """
    told = os.environ.get
    return (
        stream.isatty()
        and told("TERM", "").lower() not in ("dumb", "unknown")
        and "0" not in (told("TTY_COMPATIBLE"), told("TTY_INTERACTIVE"))
        and "JPY_PARENT_PID" not in os.environ
    )


def standard_error() -> IO[str]:
    """Standard error for a display, which it cannot end."""
    return cast(IO[str], _Forgiving(sys.stderr))


class _Forgiving:
    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def progress(title: str, total: int, unit: str) -> Iterator[Advance]:
    """A function to be told of every `n` units done, out of `total`."""
    if not speaks():
        yield lambda _units: None
    elif can_redraw(sys.stderr):
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
    with Progress(*columns, console=Console(file=standard_error())) as bars:
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
        say(f"{self._title}: {self._done}/{self._total} {self._unit}, {rate:.1f} {self._unit}/s{tail}")

"""What people are told on standard error: notes, and how far a long command has come, by a bar or a line now and then.

Where nobody can read it any more, as a terminal was closed or a pipe ended, the work goes on.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import IO, TYPE_CHECKING, Any, Self, cast

if TYPE_CHECKING:  # takes a while to load
    from rich.console import Console, RenderableType
    from rich.live import Live
    from rich.progress import Progress

_SECONDS_BETWEEN_LINES = 10.0
_REFRESHES_PER_SECOND = 4

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


def tell_once(line: str, what: str | None = None) -> None:
    """Print `line`, unless this process told of `what` (by default: that line) already."""
    if (what or line) not in _TOLD and speaks():
        say(line)
    _TOLD.add(what or line)


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


class Board:
    """How far long work has come: a picture that renews itself where it can be drawn over, else a line now and then."""

    def __init__(
        self,
        picture: "Callable[[], RenderableType]",
        line: Callable[[float], str],
        every: float = _SECONDS_BETWEEN_LINES,
        console: "Console | None" = None,
    ) -> None:
        """`line`: of the seconds since now; told every so many seconds at most. `console`: where not standard error."""
        self._line, self._every = line, every
        self._began = self._told = time.monotonic()
        self._live: Live | None = None
        if can_redraw(console.file if console else sys.stderr):
            from rich import console as consoles
            from rich import live

            console = console or consoles.Console(file=standard_error())
            self._live = live.Live(get_renderable=picture, console=console, refresh_per_second=_REFRESHES_PER_SECOND)

    @property
    def redrawn(self) -> bool:
        """Whether it is a picture."""
        return self._live is not None

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_error: object) -> None:
        if self._live:
            self._live.stop()

    def changed(self) -> None:
        """Tell of it, if it is time to."""
        now = time.monotonic()
        if now - self._told >= self._every:
            self._tell(now)

    def tell(self) -> None:
        """Tell of it now."""
        self._tell(time.monotonic())

    def note(self, text: str) -> None:
        """A line of its own, which stays."""
        if self._live is None:
            say(text)
        else:
            from rich.text import Text

            self._live.console.print(Text(text))

    def _tell(self, now: float) -> None:
        self._told = now
        if self._live is None:  # else it renews itself
            say(self._line(now - self._began))


def bar(title: str, total: int, done: int = 0, tail: str = "") -> "Progress":
    """A picture of `done` of `total`. Its only task is told of more; `tail` is one of the task's fields."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[tail]}"))
    picture = Progress(*columns, TimeRemainingColumn(), auto_refresh=False)
    picture.add_task(title, total=total, completed=done, tail=tail)
    return picture


@contextmanager
def progress(title: str, total: int, unit: str) -> Iterator[Advance]:
    """A function to be told of every `n` units done, out of `total`."""
    if not speaks():
        yield lambda _units: None
        return
    started, done = time.monotonic(), 0
    shown = cache(lambda: bar(title, total))

    def picture() -> "Progress":
        rate = done / max(time.monotonic() - started, 1e-9)
        shown().update(shown().task_ids[0], completed=done, tail=f"{rate:.1f} {unit}/s")
        return shown()

    def line(seconds: float) -> str:
        rate = done / max(seconds, 1e-9)
        left = (total - done) / rate if rate else 0.0
        tail = f", {duration(round(left))} left" if done < total else f" in {duration(round(seconds))}"
        return f"{title}: {done}/{total} {unit}, {rate:.1f} {unit}/s{tail}"

    def advance(count: int) -> None:
        nonlocal done
        done += count
        board.changed()

    with Board(picture, line) as board:
        yield advance
        board.tell()


def duration(seconds: float) -> str:
    """For people: `3.5 h`, `24 s`, `0.6 s`; of a whole number, whole seconds."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s" if seconds < 10 and seconds % 1 else f"{seconds:.0f} s"

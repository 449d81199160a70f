"""What a user looks at while a student trains: a display that renews itself on a terminal, lines elsewhere."""

import time
from collections.abc import Mapping
from contextlib import ExitStack

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from dukd_cache.system.terminal import can_redraw, say, standard_error
from dukd_train.scoring.scores import Score, decibels, is_better, shown
from dukd_train.watching.observers import Observer, Row, Start

_SECONDS_BETWEEN_LINES = 10.0
_REFRESHES_PER_SECOND = 4


class Display(Observer):
    """On standard error: steps, loss and its parts, speed, time left, share of time without data, scores."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(file=standard_error())
        self._shown = Observer()

    def started(self, start: Start) -> None:
        self._shown = _Terminal(self._console) if can_redraw(self._console.file) else _Lines()
        self._shown.started(start)

    def stepped(self, step: int) -> None:
        self._shown.stepped(step)

    def logged(self, row: Row) -> None:
        self._shown.logged(row)

    def scored(self, step: int, scores: Mapping[str, Score]) -> None:
        self._shown.scored(step, scores)

    def ended(self, step: int) -> None:
        self._shown.ended(step)


class _Terminal(Observer):
    def __init__(self, console: Console) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps"),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=console, auto_refresh=False)
        self._row = self._scores = ""
        self._best: dict[str, tuple[float, int]] = {}
        self._live = ExitStack()
        self._console = console

    def started(self, start: Start) -> None:
        self._task = self._bar.add_task(start.config.method, total=start.steps, completed=start.step)
        live = Live(get_renderable=self._picture, console=self._console, refresh_per_second=_REFRESHES_PER_SECOND)
        self._live.enter_context(live)

    def stepped(self, step: int) -> None:
        self._bar.update(self._task, completed=step)

    def logged(self, row: Row) -> None:
        self._row = f"{losses(row)}\n{speed(row)}"

    def scored(self, step: int, scores: Mapping[str, Score]) -> None:
        texts = []
        for name, score in scores.items():
            psnr = score["psnr_y"]
            if name not in self._best or is_better("psnr_y", psnr, than=self._best[name][0]):
                self._best[name] = (psnr, step)
            best, when = self._best[name]
            former = f" (best {shown('psnr_y', best, 2)} at {when})" if when < step else ""
            texts.append(f"{name} {decibels(psnr)}{former}")
        self._scores = f"step {step}: {', '.join(texts)}" if texts else ""

    def ended(self, step: int) -> None:
        self._bar.update(self._task, completed=step)
        self._live.close()

    def _picture(self) -> Group:
        return Group(self._bar, *(Text(text) for text in (self._row, self._scores) if text))


class _Lines(Observer):
    def started(self, start: Start) -> None:
        self._title, self._first, self._steps = start.config.method, start.step, start.steps
        self._began = self._last = time.monotonic()
        self._row = ""

    def stepped(self, step: int) -> None:
        now = time.monotonic()
        if now - self._last >= _SECONDS_BETWEEN_LINES:
            self._last = now
            seconds_each = (now - self._began) / (step - self._first)
            self._print(f"{step}/{self._steps} steps{self._row}, {seconds_each * (self._steps - step):.0f} s left")

    def logged(self, row: Row) -> None:
        self._row = f", {losses(row)}, {speed(row)}"

    def scored(self, step: int, scores: Mapping[str, Score]) -> None:
        if scores:
            found = ", ".join(f"{name} {decibels(score['psnr_y'])}" for name, score in scores.items())
            self._print(f"step {step}: {found}")

    def ended(self, step: int) -> None:
        self._print(f"{step}/{self._steps} steps{self._row} in {time.monotonic() - self._began:.0f} s")

    def _print(self, text: str) -> None:
        say(f"{self._title}: {text}")


def losses(row: Row) -> str:
    """`loss 0.0712 (rec 0.0231, kd 0.0481)`; a part that is all of it is not repeated."""
    parts = ", ".join(f"{part} {value:.4f}" for part, value in row.parts.items())
    return f"loss {row.total:.4f}" + (f" ({parts})" if len(row.parts) > 1 else "")


def speed(row: Row) -> str:
    """`1234 images/s, 2 % waiting for data, lr 1.0e-04`."""
    return f"{row.images_per_second:.0f} images/s, {row.waiting:.0%} waiting for data, lr {row.lr:.1e}"

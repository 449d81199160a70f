"""What a user looks at while a student trains: a display that renews itself on a terminal, lines elsewhere."""

from collections.abc import Mapping

from rich.console import Console, Group
from rich.text import Text

from dukd_cache.system.terminal import Board, bar, duration
from dukd_train.scoring.provenance import device_name
from dukd_train.scoring.scores import LABELS, Score, decibels, is_better, shown
from dukd_train.scoring.super_resolver import device_of
from dukd_train.watching.observers import Observer, Row, Start


class Display(Observer):
    """On standard error: steps, loss and its terms, speed, time left, share of time without data, scores."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console
        self._board: Board | None = None
        self._row: Row | None = None
        self._scores = ""
        self._best: dict[str, tuple[float, int]] = {}
        self._over = False

    def started(self, start: Start) -> None:
        self._title, self._first, self._step, self._steps = start.config.method, start.step, start.step, start.steps
        self._best = {**start.best}
        terms = start.config.loss.of(start.config.method)
        self._weights = {name: term.weight_at(start.step) for name, term in terms.items()}
        self._where = f"{start.folder}, {device_name(device_of(start.averaged))}"
        self._bar = bar(self._title, start.steps, start.step, "steps")
        self._board = Board(self._picture, self._line, console=self._console).__enter__()

    def stepped(self, step: int) -> None:
        self._step = step
        if self._board:
            self._board.changed()

    def logged(self, row: Row) -> None:
        self._row = row

    def scored(self, step: int, scores: Mapping[str, Score]) -> None:
        texts = []
        for name, score in scores.items():
            if "psnr_y" not in score:  # a set without HR images
                texts += [f"{name} {LABELS[metric]} {shown(metric, value)}" for metric, value in score.items()]
                continue
            psnr = score["psnr_y"]
            if name not in self._best or is_better("psnr_y", psnr, than=self._best[name][0]):
                self._best[name] = (psnr, step)
            best, when = self._best[name]
            redrawn = self._board and self._board.redrawn  # lines tell the former ones above
            former = f" (best {shown('psnr_y', best, 2)} at {when})" if redrawn and when < step else ""
            texts.append(f"{name} {decibels(psnr)}{former}")
        self._scores = f"step {step}: {', '.join(texts)}" if texts else ""
        if texts and self._board and not self._board.redrawn:
            self._board.note(f"{self._title}: {self._scores}")

    def ended(self, step: int) -> None:
        self._step, self._over = step, True
        if self._board:
            self._board.tell()
            self._board.__exit__()

    def _picture(self) -> Group:
        self._bar.update(self._bar.task_ids[0], completed=self._step)
        row = self._row
        texts = (self._where, f"{losses(row, self._weights)}\n{speed(row)}" if row else "", self._scores)
        return Group(self._bar, *(Text(text) for text in texts if text))

    def _line(self, seconds: float) -> str:
        row = f", {losses(self._row, self._weights)}, {speed(self._row)}" if self._row else ""
        left = seconds / max(self._step - self._first, 1) * (self._steps - self._step)
        tail = f" in {duration(round(seconds))}" if self._over else f", {duration(round(left))} left"
        return f"{self._title}: {self._step}/{self._steps} steps{row}{tail}"


def losses(row: Row, weights: Mapping[str, float]) -> str:
    """`loss 0.0712 (rec 0.0231, kd 0.0481)`: terms times their weights, so that they add up; a lone one is not told."""
    terms = ", ".join(f"{term} {({**weights, **row.weights}[term]) * value:.4f}" for term, value in row.terms.items())
    return f"loss {row.total:.4f}" + (f" ({terms})" if len(row.terms) > 1 else "")


def speed(row: Row) -> str:
    """`1234 images/s, 2 % waiting for data, lr 1.0e-04`."""
    return f"{row.images_per_second:.0f} images/s, {row.waiting:.0%} waiting for data, lr {row.lr:.1e}"

"""`curve.csv`: the loss and its terms against the step, each row the mean since the one before."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

from dukd_cache.system.files import naming, write_atomically
from dukd_train.errors import DivergedError
from dukd_train.objective import BEFORE_TERMS, Ramp, Term, learned_losses
from dukd_train.watching.observers import Observer, Row, Start

CURVE = "curve.csv"


class Losses:
    """The losses of the steps since the last row, kept on the device so that a step does not wait for them."""

    def __init__(
        self,
        terms: Mapping[str, Term],
        step: int,
        pending: Mapping[str, Sequence[float]],
        mean: Callable[[Tensor], Tensor] = lambda losses: losses,
    ) -> None:
        """`pending` is what `pending()` gave, of the same terms, where a run goes on after `step` steps; else {}.

        `mean` is that over processes that train together: each has the losses of its share of the batch.
        """
        self._terms, self._mean = terms, mean
        self._names = [*terms, *learned_losses(terms)]
        self._step = step
        self._on_device: list[dict[str, Tensor]] = []
        # Those of a loss with other terms would not have a mean in common with what comes.
        known = pending if pending.keys() == {*self._names} else {}
        self._fetched: dict[str, list[float]] = {name: list(known.get(name, ())) for name in self._names}

    def __len__(self) -> int:
        """Steps since the last row."""
        return len(self._on_device) + max(map(len, self._fetched.values()))

    def add(self, losses: dict[str, Tensor]) -> None:
        """Remember those of one step."""
        self._step += 1
        self._on_device.append(losses)

    def pending(self) -> dict[str, list[float]]:
        """The losses of the steps since the last row, for a checkpoint between two rows. Waits for the device.

        Raises:
            DivergedError: one of them is not finite.
        """
        if self._on_device:
            fetched = torch.stack([torch.stack([step[name] for name in self._names]) for step in self._on_device])
            for name, losses in zip(self._names, self._mean(fetched).T.tolist(), strict=True):
                self._fetched[name] += losses
            self._refuse_infinite(len(self._on_device))
            self._on_device.clear()
        return {name: list(losses) for name, losses in self._fetched.items()}

    def take(self) -> tuple[float, dict[str, float]]:
        """Means of the loss, and of its terms and what learns for them, since the last time. Waits for the device.

        Raises:
            DivergedError: a loss is not finite.
        """
        found = self.pending()
        total = 0.0
        for name, term in self._terms.items():
            first = self._step - len(found[name])
            total += fmean(term.weight_at(step) * loss for step, loss in enumerate(found[name], first))
        self._fetched = {name: [] for name in self._names}
        return total, {name: fmean(losses) for name, losses in found.items()}

    def _refuse_infinite(self, newest: int) -> None:
        """Name the first of the `newest` losses that is not finite."""
        for ago in range(newest, 0, -1):
            wrong = {name: losses[-ago] for name, losses in self._fetched.items() if not isfinite(losses[-ago])}
            if wrong:
                found = ", ".join(f"{name} = {loss}" for name, loss in wrong.items())
                raise DivergedError(f"step {self._step - ago + 1}: the loss is not finite ({found})")


class CurveFile(Observer):
    """Writes `curve.csv`: a column for each term that the loss has, or had in rows that stay; more, `gan.real` and
    `gan.fake`, where a measure learns; one, `kd.weight`, for each whose weight changes."""

    def __init__(self, run: Path) -> None:
        self._path = run / CURVE
        self._columns: tuple[str, ...] = ()

    def started(self, start: Start) -> None:
        """Drop the rows that will be told again."""
        before = columns_of(self._path) if start.step else ()
        terms = start.config.loss.of(start.config.method)
        changing = (f"{name}.weight" for name, term in terms.items() if isinstance(term.weight, Ramp))
        own = (*BEFORE_TERMS, *terms, *learned_losses(terms), *changing)
        self._columns = tuple(dict.fromkeys((*before, *own)))
        keep_rows_before(self._path, self._columns, start.losses_from)

    def logged(self, row: Row) -> None:
        """Add a row."""
        cells = {"step": row.step, "lr": f"{row.lr:.3e}", "total": f"{row.total:.6f}"}
        weights = {f"{name}.weight": f"{weight:.6g}" for name, weight in row.weights.items()}
        means = {name: f"{mean:.6f}" for name, mean in {**row.terms, **row.learned}.items()}
        append_row(self._path, self._columns, cells | means | weights)


def columns_of(path: Path) -> tuple[str, ...]:
    """The columns of a CSV file; none where there is no file."""
    if not path.is_file():
        return ()
    with path.open(newline="") as stream:
        return tuple(csv.DictReader(stream).fieldnames or ())


def rows_of(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file, cells that are missing empty; none where there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream, restval=""))


def append_row(path: Path, columns: tuple[str, ...], row: dict[str, object]) -> None:
    """Add one row to a CSV file; missing columns stay empty."""
    with naming(path), path.open("a", newline="") as stream:
        csv.DictWriter(stream, columns, restval="").writerow(row)


def keep_rows_before(path: Path, columns: tuple[str, ...], step: int) -> None:
    """Start a CSV file, or drop its rows of `step` and later ones, and a last one that was not written to its end."""
    rows: list[dict[str, str]] = []
    if path.is_file():
        with path.open(newline="") as stream:
            whole = (line for line in stream if line.endswith("\n"))
            rows = [row for row in csv.DictReader(whole) if int(row["step"]) < step]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue().encode())

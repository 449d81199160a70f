"""`curve.csv`: the loss and its parts against the step, each row the mean since the one before."""

import csv
from pathlib import Path

import torch
from torch import Tensor

from dukd_train.losses import PARTS, Part

CURVE = "curve.csv"
COLUMNS = ("step", "lr", "total", *PARTS)


class Journal:
    """Collects losses on the device, so that a step does not wait for it; writes a row now and then."""

    def __init__(self, run: Path, weights: dict[Part, float]) -> None:
        self._path = run / CURVE
        self._weights = weights
        self._parts: list[dict[Part, Tensor]] = []

    def keep_until(self, step: int) -> None:
        """Drop rows that a run resumed at `step` will write again."""
        keep_rows_until(self._path, COLUMNS, step)

    def add(self, parts: dict[Part, Tensor]) -> None:
        """Remember the loss of one step."""
        self._parts.append(parts)

    def write(self, step: int, rate: float) -> None:
        """A row for the steps since the last one."""
        means = {part: float(torch.stack([p[part] for p in self._parts]).mean()) for part in self._weights}
        total = sum(self._weights[part] * mean for part, mean in means.items())
        row = {"step": step, "lr": f"{rate:.3e}", "total": f"{total:.6f}"}
        row |= {part: f"{mean:.6f}" for part, mean in means.items()}
        append_row(self._path, COLUMNS, row)
        self._parts.clear()


def append_row(path: Path, columns: tuple[str, ...], row: dict[str, object]) -> None:
    """Add one row to a CSV file; missing columns stay empty."""
    with path.open("a", newline="") as stream:
        csv.DictWriter(stream, columns, restval="").writerow(row)


def keep_rows_until(path: Path, columns: tuple[str, ...], step: int) -> None:
    """Start a CSV file, or drop its rows beyond `step`."""
    rows: list[dict[str, str]] = []
    if path.is_file():
        with path.open(newline="") as stream:
            rows = [row for row in csv.DictReader(stream) if int(row["step"]) <= step]
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)

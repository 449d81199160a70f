"""`curve.csv`: the loss and its parts against the step, each row the mean since the one before."""

import csv
import io
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

from dukd_cache.files import write_atomically
from dukd_train.losses import PARTS, Part

CURVE = "curve.csv"
COLUMNS = ("step", "lr", "total", *PARTS)


class Journal:
    """Collects losses on the device, so that a step does not wait for it; writes a row now and then."""

    def __init__(self, run: Path, weights: dict[Part, float]) -> None:
        self._path = run / CURVE
        self._weights = weights
        self._on_device: list[dict[Part, Tensor]] = []
        self._fetched: dict[Part, list[float]] = {part: [] for part in weights}

    def resume(self, step: int, losses: dict[Part, list[float]]) -> None:
        """Go on at `step`: drop the rows beyond it; `losses` is what `pending` gave there."""
        keep_rows_until(self._path, COLUMNS, step)
        self._on_device.clear()
        self._fetched = {part: list(losses.get(part, ())) for part in self._weights}

    def add(self, parts: dict[Part, Tensor]) -> None:
        """Remember the loss of one step."""
        self._on_device.append(parts)

    def pending(self) -> dict[Part, list[float]]:
        """The losses of the steps since the last row, for a checkpoint between two rows."""
        if self._on_device:
            for part, losses in self._fetched.items():
                losses += torch.stack([parts[part] for parts in self._on_device]).tolist()
            self._on_device.clear()
        return {part: list(losses) for part, losses in self._fetched.items()}

    def write(self, step: int, rate: float) -> None:
        """A row for the steps since the last one."""
        means = {part: fmean(losses) for part, losses in self.pending().items()}
        total = sum(self._weights[part] * mean for part, mean in means.items())
        row = {"step": step, "lr": f"{rate:.3e}", "total": f"{total:.6f}"}
        row |= {part: f"{mean:.6f}" for part, mean in means.items()}
        append_row(self._path, COLUMNS, row)
        self._fetched = {part: [] for part in self._weights}


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
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue().encode())

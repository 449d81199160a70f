"""`curve.csv`: means since the last row, and going on in the middle of one."""

import csv
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dukd_train.journal import COLUMNS, CURVE, Journal, append_row, keep_rows_until
from dukd_train.losses import Part


def of(**parts: float) -> dict[Part, Tensor]:
    """The parts of one step's loss."""
    return {part: torch.tensor(value) for part, value in parts.items()}  # type: ignore[misc]


def rows(run: Path) -> list[dict[str, str]]:
    with (run / CURVE).open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_header_is_the_contract(tmp_path: Path) -> None:
    Journal(tmp_path, {"rec": 1.0}).resume(0, {})
    header = "step,lr,total,rec,kd,zoom_in,zoom_out_rec,zoom_out_kd"
    assert (tmp_path / CURVE).read_text().splitlines() == [header]


def test_a_row_is_the_mean_since_the_last(tmp_path: Path) -> None:
    journal = Journal(tmp_path, {"rec": 2.0, "zoom_in": 0.5})
    journal.resume(0, {})
    for rec, zoom_in in [(1.0, 4.0), (2.0, 0.0), (6.0, 2.0)]:
        journal.add(of(rec=rec, zoom_in=zoom_in))
    journal.write(3, 1e-4)
    journal.add(of(rec=0.25, zoom_in=0.5))
    journal.write(4, 2.5e-5)
    nothing = {"kd": "", "zoom_out_rec": "", "zoom_out_kd": ""}
    assert rows(tmp_path) == [
        {"step": "3", "lr": "1.000e-04", "total": "7.000000", "rec": "3.000000", "zoom_in": "2.000000"} | nothing,
        {"step": "4", "lr": "2.500e-05", "total": "0.750000", "rec": "0.250000", "zoom_in": "0.500000"} | nothing,
    ]


@pytest.mark.parametrize("asked_at", [(), (0,), (1,), (2, 3), (0, 1, 2, 3, 4)])
def test_stopping_between_rows_loses_nothing(tmp_path: Path, asked_at: tuple[int, ...]) -> None:
    """A new journal with the pending losses of the old one writes what the old one would have written."""
    values = torch.rand(5, generator=torch.Generator().manual_seed(0)).tolist()
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    whole.mkdir()
    pieces.mkdir()
    straight, journal = Journal(whole, {"rec": 1.0}), Journal(pieces, {"rec": 1.0})
    straight.resume(0, {})
    journal.resume(0, {})
    for step, value in enumerate(values):
        if step in asked_at:
            pending = journal.pending()
            assert pending == {"rec": values[:step]}
            journal = Journal(pieces, {"rec": 1.0})
            journal.resume(step, pending)
        straight.add(of(rec=value))
        journal.add(of(rec=value))
    straight.write(5, 0.1)
    journal.write(5, 0.1)
    assert rows(pieces) == rows(whole)
    assert float(rows(whole)[0]["rec"]) == pytest.approx(sum(values) / 5, abs=1e-6)
    assert journal.pending() == {"rec": []}


def test_what_was_asked_for_is_a_copy(tmp_path: Path) -> None:
    journal = Journal(tmp_path, {"rec": 1.0})
    journal.resume(0, {})
    journal.add(of(rec=1.0))
    pending = journal.pending()
    journal.add(of(rec=2.0))
    journal.pending()
    assert pending == {"rec": [1.0]}


def test_rows_beyond_a_step_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / CURVE
    keep_rows_until(path, COLUMNS, 0)
    for step in (5, 10, 15, 100):
        append_row(path, COLUMNS, {"step": step, "total": "1"})
    Journal(tmp_path, {"rec": 1.0}).resume(10, {})
    assert [row["step"] for row in rows(tmp_path)] == ["5", "10"]
    before = path.read_bytes()
    Journal(tmp_path, {"rec": 1.0}).resume(10, {})
    assert path.read_bytes() == before


def test_the_old_rows_stay_until_the_new_file_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / CURVE
    keep_rows_until(path, COLUMNS, 0)
    append_row(path, COLUMNS, {"step": 5})
    before = path.read_bytes()

    def fail(*_args: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="no space"):
        keep_rows_until(path, COLUMNS, 5)
    assert path.read_bytes() == before

"""`curve.csv`: means since the last row, and going on in the middle of one."""

import csv
from dataclasses import replace
from math import inf, nan
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dukd_cache import networks
from dukd_train.errors import DivergedError
from dukd_train.keeping.curve import CURVE, CurveFile, Losses, append_row, keep_rows_before
from dukd_train.objective import BEFORE_TERMS, Term
from dukd_train.settings import TrainConfig
from dukd_train.watching.observers import Row, Start

COLUMNS = (*BEFORE_TERMS, "rec", "kd", "zoom_in", "zoom_out_rec", "zoom_out_kd")


DETAIL = {"view": "base", "to": "truth"}


def weighted(**weights: float) -> dict[str, Term]:
    """Terms of the loss."""
    return {name: Term(view="base", to="truth", weight=weight) for name, weight in weights.items()}


def of(**parts: float) -> dict[str, Tensor]:
    """The terms of one step's loss."""
    return {part: torch.tensor(value) for part, value in parts.items()}


def rows(run: Path) -> list[dict[str, str]]:
    with (run / CURVE).open(newline="") as stream:
        return list(csv.DictReader(stream))


def begun(run: Path, step: int, **changes: object) -> CurveFile:
    """The file of a training that goes on after `step` steps."""
    config = TrainConfig.model_validate({"cache": run, **changes})
    file = CurveFile(run)
    file.started(Start(config, run, step, 100, networks.build("EDSR", 2, {"channels": 1, "blocks": 1})))
    return file


def row(step: int, lr: float, total: float, parts: dict[str, float]) -> Row:
    return Row(step, lr, total, parts, images_per_second=1.0, waiting=0.0, seconds=1.0, left=0.0)


def test_header_is_the_contract(tmp_path: Path) -> None:
    begun(tmp_path, 0)
    header = "step,lr,total,rec,kd,zoom_in,zoom_out_rec,zoom_out_kd"
    assert (tmp_path / CURVE).read_text().splitlines() == [header]


@pytest.mark.parametrize(
    ("changes", "terms"),
    [
        ({"method": "scratch", "loss": {"kd": 3}}, ["rec"]),
        ({"loss": {"kd": 0, "zoom_in": 0, "z": DETAIL, "a": DETAIL}}, ["rec", "zoom_out_rec", "zoom_out_kd", "a", "z"]),
        ({"loss": [DETAIL]}, ["base_truth_l1"]),
    ],
)
def test_columns_are_the_runs_own_terms(tmp_path: Path, changes: dict[str, object], terms: list[str]) -> None:
    begun(tmp_path, 0, **changes)
    assert (tmp_path / CURVE).read_text().strip().split(",") == ["step", "lr", "total", *terms]


def test_columns_of_terms_that_are_gone_stay_with_their_rows(tmp_path: Path) -> None:
    begun(tmp_path, 0, method="kd").logged(row(3, 1e-4, 7.0, {"rec": 3.0, "kd": 4.0}))
    begun(tmp_path, 5, method="scratch", loss={"a": DETAIL}).logged(row(6, 1e-4, 2.0, {"rec": 1.5, "a": 0.5}))
    assert (tmp_path / CURVE).read_text().splitlines() == [
        "step,lr,total,rec,kd,a",
        "3,1.000e-04,7.000000,3.000000,4.000000,",
        "6,1.000e-04,2.000000,1.500000,,0.500000",
    ]
    begun(tmp_path, 0, method="scratch")
    assert (tmp_path / CURVE).read_text() == "step,lr,total,rec\n"


def test_means_since_the_last_time() -> None:
    losses = Losses(weighted(rec=2.0, zoom_in=0.5), 0, {})
    for rec, zoom_in in [(1.0, 4.0), (2.0, 0.0), (6.0, 2.0)]:
        losses.add(of(rec=rec, zoom_in=zoom_in))
    assert losses.take() == (7.0, {"rec": 3.0, "zoom_in": 2.0})
    losses.add(of(rec=0.25, zoom_in=0.5))
    assert losses.take() == (0.75, {"rec": 0.25, "zoom_in": 0.5})


def test_a_weight_that_changes_counts_step_by_step_and_has_a_column(tmp_path: Path) -> None:
    fading = {"view": "base", "to": "teacher", "weight": {"start": 1, "end": 0, "steps": 4}}
    terms = weighted(rec=2.0) | {"kd": Term(**fading)}
    losses = Losses(terms, 2, {"rec": [1.0], "kd": [8.0]})  # of step 1, which a checkpoint kept
    losses.add(of(rec=3.0, kd=4.0))
    assert losses.take() == (2 * 2.0 + (0.75 * 8 + 0.5 * 4) / 2, {"rec": 2.0, "kd": 6.0})
    file = begun(tmp_path, 0, method="kd", loss={"kd": {"weight": fading["weight"]}})
    file.logged(replace(row(3, 1e-4, 8.0, {"rec": 2.0, "kd": 6.0}), weights={"kd": 0.5}))
    assert (tmp_path / CURVE).read_text().splitlines() == [
        "step,lr,total,rec,kd,kd.weight",
        "3,1.000e-04,8.000000,2.000000,6.000000,0.5",
    ]


def test_a_row_of_the_file(tmp_path: Path) -> None:
    file = begun(tmp_path, 0)
    file.logged(row(3, 1e-4, 7.0, {"rec": 3.0, "zoom_in": 2.0}))
    file.logged(row(4, 2.5e-5, 0.75, {"rec": 0.25, "zoom_in": 0.5}))
    nothing = {"kd": "", "zoom_out_rec": "", "zoom_out_kd": ""}
    assert rows(tmp_path) == [
        {"step": "3", "lr": "1.000e-04", "total": "7.000000", "rec": "3.000000", "zoom_in": "2.000000"} | nothing,
        {"step": "4", "lr": "2.500e-05", "total": "0.750000", "rec": "0.250000", "zoom_in": "0.500000"} | nothing,
    ]


@pytest.mark.parametrize("asked_at", [(), (0,), (1,), (2, 3), (0, 1, 2, 3, 4)])
def test_stopping_between_rows_loses_nothing(asked_at: tuple[int, ...]) -> None:
    """With the pending losses of those before, new ones have the mean that the old ones would have had."""
    values = torch.rand(5, generator=torch.Generator().manual_seed(0)).tolist()
    straight, pieces = Losses(weighted(rec=1.0), 0, {}), Losses(weighted(rec=1.0), 0, {})
    for step, value in enumerate(values):
        if step in asked_at:
            pending = pieces.pending()
            assert pending == {"rec": values[:step]}
            pieces = Losses(weighted(rec=1.0), step, pending)
        straight.add(of(rec=value))
        pieces.add(of(rec=value))
    mean = pieces.take()
    assert mean == straight.take()
    assert mean[0] == pytest.approx(sum(values) / 5, abs=1e-6)
    assert pieces.pending() == {"rec": []}


def test_losses_of_other_parts_have_no_share_in_a_mean() -> None:
    losses = Losses(weighted(rec=1.0, kd=1.0), 7, {"rec": [4.0, 5.0]})
    losses.add(of(rec=1.0, kd=2.0))
    assert losses.take() == (3.0, {"rec": 1.0, "kd": 2.0})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([(1.0, 2.0), (nan, 3.0), (nan, nan)], "step 102: the loss is not finite (rec = nan)"),
        ([(1.0, 2.0), (1.0, 2.0), (nan, -inf)], "step 103: the loss is not finite (rec = nan, kd = -inf)"),
    ],
)
def test_the_first_loss_that_is_no_number_is_named(values: list[tuple[float, float]], message: str) -> None:
    losses = Losses(weighted(rec=1.0, kd=1.0), 99, {"rec": [1.0], "kd": [1.0]})
    losses.add(of(rec=1.0, kd=1.0))
    losses.pending()
    for rec, kd in values:
        losses.add(of(rec=rec, kd=kd))
    with pytest.raises(DivergedError) as caught:
        losses.take()
    assert str(caught.value) == message


def test_what_was_asked_for_is_a_copy() -> None:
    losses = Losses(weighted(rec=1.0), 0, {})
    losses.add(of(rec=1.0))
    pending = losses.pending()
    losses.add(of(rec=2.0))
    losses.pending()
    assert pending == {"rec": [1.0]}


def test_rows_that_will_be_told_again_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / CURVE
    begun(tmp_path, 0)
    for step in (5, 10, 15, 100):
        append_row(path, COLUMNS, {"step": step, "total": "1"})
    begun(tmp_path, 15)
    assert [row["step"] for row in rows(tmp_path)] == ["5", "10"]
    before = path.read_bytes()
    begun(tmp_path, 15)
    assert path.read_bytes() == before


@pytest.mark.parametrize("cut", [1, 2, 5])
def test_a_row_that_was_not_written_to_its_end_is_dropped(tmp_path: Path, cut: int) -> None:
    file = begun(tmp_path, 0)
    for step in (100, 200):
        file.logged(row(step, 1e-4, 7.0, {"rec": 3.0}))
    whole = (tmp_path / CURVE).read_bytes()
    with (tmp_path / CURVE).open("ab") as stream:
        stream.write(b"300,1.000e-04,7.0"[:cut])
    begun(tmp_path, 250)
    assert (tmp_path / CURVE).read_bytes() == whole


def test_the_old_rows_stay_until_the_new_file_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / CURVE
    keep_rows_before(path, COLUMNS, 0)
    append_row(path, COLUMNS, {"step": 5})
    before = path.read_bytes()

    def fail(*_args: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="no space"):
        keep_rows_before(path, COLUMNS, 5)
    assert path.read_bytes() == before

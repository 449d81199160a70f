"""The parts of the loss, against numbers worked out by hand."""

from pathlib import Path

import pytest
import torch
from tests.conftest import PROJECT

from dukd_cache.format.manifest import VIEWS, View
from dukd_cache.settings.model import load
from dukd_train.objective import PARTS, l1, weights_of
from dukd_train.settings import Loss, Method, TrainConfig


@pytest.mark.parametrize(
    ("output", "target", "expected"),
    [
        ([0.0, 1.0], torch.tensor([0, 255], dtype=torch.uint8), 0.0),
        ([0.5, 0.5], torch.tensor([0, 255], dtype=torch.uint8), 0.5),
        ([0.0, 0.0], torch.tensor([51, 102], dtype=torch.uint8), 0.3),
        ([1.2, -0.4], torch.tensor([255, 0], dtype=torch.uint8), 0.3),  # a student is not clamped
        ([0.25, 0.5], torch.tensor([0.5, 0.0]), 0.375),
        ([0.25, 0.5], torch.tensor([0.5, 0.0], dtype=torch.float16), 0.375),
    ],
)
def test_l1_by_hand(output: list[float], target: torch.Tensor, expected: float) -> None:
    assert float(l1(torch.tensor(output), target)) == pytest.approx(expected, abs=1e-7)


def test_l1_is_computed_in_float32() -> None:
    """Half precision of a student or a teacher must not round the loss."""
    target = torch.full((1, 3, 64, 64), 0.1, dtype=torch.float16)
    found = l1(torch.full((1, 3, 64, 64), 0.2, dtype=torch.bfloat16), target)
    assert found.dtype == torch.float32
    exact = float(torch.tensor(0.2, dtype=torch.bfloat16)) - float(torch.tensor(0.1, dtype=torch.float16))
    assert float(found) == pytest.approx(exact, abs=1e-7)


def test_gradient_is_the_sign_over_the_count() -> None:
    output = torch.tensor([0.9, 0.1, 0.6, 0.2], requires_grad=True)
    l1(output, torch.tensor([0, 255, 51, 102], dtype=torch.uint8)).backward()  # type: ignore[no-untyped-call]
    assert output.grad is not None
    assert output.grad.tolist() == [0.25, -0.25, 0.25, -0.25]


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["method=kd", "loss.rec=0"], {"kd"}),
        (["loss.zoom_out_rec=0", "loss.zoom_out_kd=0"], {"rec", "kd", "zoom_in"}),
        (["loss.zoom_in=0"], {"rec", "kd", "zoom_out_rec", "zoom_out_kd"}),
        (["augment.zoom={hflip: 0, vflip: 0, transpose: 0, invert: 0}"], set(PARTS)),
        (["augment.zoom_out={hflip: 0, vflip: 0, transpose: 0, invert: 0}"], set(PARTS)),
    ],
)
def test_ablations_that_the_documents_name(tmp_path: Path, overrides: list[str], parts: set[str]) -> None:
    for override in overrides:
        assert override in (PROJECT / "docs" / "method.md").read_text(encoding="utf-8")
    path = tmp_path / "config.yaml"
    path.write_text("cache: c")
    found = load(TrainConfig, path, None, overrides)
    assert set(weights_of(found.method, found.loss)) == parts
    chances: dict[View, set[float]] = {view: set(found.augment.of(view).model_dump().values()) for view in VIEWS}
    assert chances["base"] == {0.5, 0.0}
    assert chances["zoom_in"] == ({0.0} if "zoom=" in overrides[0] else {0.3, 0.0})
    assert chances["zoom_out"] == ({0.0} if "augment" in overrides[0] else {0.3, 0.0})


@pytest.mark.parametrize(
    ("method", "parts"),
    [
        ("scratch", ["rec"]),
        ("kd", ["rec", "kd"]),
        ("dukd", ["rec", "kd", "zoom_in", "zoom_out_rec", "zoom_out_kd"]),
    ],
)
def test_parts_by_method(method: Method, parts: list[str]) -> None:
    loss = Loss(rec=5, kd=0.1, zoom_in=0.2, zoom_out_rec=0.3, zoom_out_kd=0.4)
    found = weights_of(method, loss)
    assert list(found) == parts
    assert found == {part: getattr(loss, part) for part in parts}


def test_weight_0_switches_a_part_off() -> None:
    assert weights_of("dukd", Loss(kd=0, zoom_out_rec=0)) == {"rec": 1.0, "zoom_in": 1.0, "zoom_out_kd": 1.0}
    assert weights_of("scratch", Loss(rec=0)) == {}


def test_zoom_in_has_no_truth_to_compare_with() -> None:
    assert ("zoom_in", "truth") not in PARTS.values()
    assert len(set(PARTS.values())) == len(PARTS) == len(Loss.model_fields)

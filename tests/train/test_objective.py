"""The terms of the loss: methods, and how settings name and change terms."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.conftest import PROJECT

from dukd_cache.plan.views import VIEWS
from dukd_cache.settings.model import dump, validated
from dukd_cache.settings.schema import schema_of
from dukd_cache.system.errors import SettingError
from dukd_train.measures import MEASURES
from dukd_train.objective import KNOWN, METHODS, Loss, Ramp, Term
from dukd_train.settings import TrainConfig


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["method=kd", "loss.rec=0"], {"kd"}),
        (["loss.zoom_out_rec=0", "loss.zoom_out_kd=0"], {"rec", "kd", "zoom_in"}),
        (["loss.zoom_in=0"], {"rec", "kd", "zoom_out_rec", "zoom_out_kd"}),
        (["loss.kd=0", "loss.zoom_in=0", "loss.zoom_out_kd=0"], {"rec", "zoom_out_rec"}),  # no teacher
        (["loss.rec=0", "loss.zoom_out_rec=0"], {"kd", "zoom_in", "zoom_out_kd"}),
        (["augment.zoom={hflip: 0, vflip: 0, transpose: 0, invert: 0}"], set(METHODS["dukd"])),
        (["augment.zoom_out={hflip: 0, vflip: 0, transpose: 0, invert: 0}"], set(METHODS["dukd"])),
    ],
)
def test_ablations_that_the_documents_name(tmp_path: Path, overrides: list[str], parts: set[str]) -> None:
    for override in overrides:
        assert override in (PROJECT / "docs" / "method.md").read_text(encoding="utf-8")
    path = tmp_path / "config.yaml"
    path.write_text("cache: c")
    found = TrainConfig.load(path, None, overrides)
    assert set(found.loss.of(found.method)) == parts
    chances: dict[str, set[float]] = {view: set(found.augment.of(view).model_dump().values()) for view in VIEWS}
    assert chances["base"] == {0.5, 0.0}
    assert chances["zoom_in"] == ({0.0} if "zoom=" in overrides[0] else {0.3, 0.0})
    assert chances["zoom_out"] == ({0.0} if "augment" in overrides[0] else {0.3, 0.0})


@pytest.mark.parametrize(
    ("overrides", "left"),
    [
        (["augment.zoom.invert=0"], {"hflip", "vflip", "transpose"}),
        (["augment.zoom.hflip=0", "augment.zoom.vflip=0"], {"transpose", "invert"}),
        (["augment.zoom.transpose=0"], {"hflip", "vflip", "invert"}),
    ],
)
def test_each_augmentation_can_be_left_out(tmp_path: Path, overrides: list[str], left: set[str]) -> None:
    assert " ".join(overrides) in (PROJECT / "docs" / "method.md").read_text(encoding="utf-8")
    (tmp_path / "config.yaml").write_text("cache: c")
    found = TrainConfig.load(tmp_path / "config.yaml", None, overrides).augment
    assert {name for name, chance in found.of("zoom_in").model_dump().items() if chance} == left
    assert found.base == TrainConfig(cache="c").augment.base


@pytest.mark.parametrize(
    ("method", "parts"),
    [
        ("scratch", ["rec"]),
        ("kd", ["rec", "kd"]),
        ("dukd", ["rec", "kd", "zoom_in", "zoom_out_rec", "zoom_out_kd"]),
        ("dukd-gan", ["rec", "kd", "zoom_in", "zoom_out_rec", "zoom_out_kd", "gan"]),
    ],
)
def test_terms_by_method(method: str, parts: list[str]) -> None:
    weights = {"rec": 5.0, "kd": 0.1, "zoom_in": 0.2, "zoom_out_rec": 0.3, "zoom_out_kd": 0.4, "gan": 0.5}
    found = Loss(weights).of(method)
    assert list(found) == list(METHODS[method]) == parts
    assert {name: term.weight for name, term in found.items()} == {name: weights[name] for name in parts}
    assert [term.model_dump(exclude={"weight"}) for term in found.values()] == [
        term.model_dump(exclude={"weight"}) for term in METHODS[method].values()
    ]


def test_weight_0_switches_a_term_off() -> None:
    assert list(Loss({"kd": 0, "zoom_out_rec": 0}).of("dukd")) == ["rec", "zoom_in", "zoom_out_kd"]
    assert Loss({"rec": 0}).of("scratch") == {}


@pytest.mark.parametrize(
    ("ramp", "expected"),
    [
        ({"start": 1, "end": 0, "steps": 4}, [1, 0.75, 0.5, 0.25, 0, 0, 0]),
        ({"start": 0.5, "end": 2.5, "steps": 2}, [0.5, 1.5, 2.5, 2.5]),
        ({"start": 0, "end": 4, "steps": 4, "kind": "cosine"}, [0, 2 - 2**0.5, 2, 2 + 2**0.5, 4, 4]),
        ({"start": 3, "end": 3, "steps": 1}, [3, 3]),
    ],
)
def test_a_weight_that_changes(ramp: dict[str, Any], expected: list[float]) -> None:
    term = Loss({"kd": {"weight": ramp}}).of("kd")["kd"]
    assert [term.weight_at(step) for step in range(len(expected))] == pytest.approx(expected, abs=1e-12)
    assert KNOWN["kd"].weight_at(10**6) == 1.0


def test_a_weight_that_is_0_in_every_step_switches_a_term_off() -> None:
    ramps = {"rec": {"start": 0, "end": 0, "steps": 5}, "kd": {"start": 0, "end": 1, "steps": 5}}
    assert list(Loss({name: {"weight": ramp} for name, ramp in ramps.items()}).of("kd")) == ["kd"]


def test_zoom_in_has_no_truth_to_compare_with() -> None:
    compared = [(term.view, term.to) for term in METHODS["dukd"].values()]
    assert ("zoom_in", "truth") not in compared
    assert len(set(compared)) == len(compared)


@pytest.mark.parametrize("by", [by for by in MEASURES if by != "lpips"])
def test_a_border_is_not_looked_at(by: str) -> None:
    generator = torch.Generator().manual_seed(2)
    output = torch.rand(2, 3, 9, 9, generator=generator)
    target = torch.randint(256, output.shape, generator=generator, dtype=torch.uint8)
    inside = MEASURES[by](output[..., 2:7, 2:7], target[..., 2:7, 2:7])
    for around in (0.0, 1.0, torch.nan):
        framed = torch.nn.functional.pad(output[..., 2:7, 2:7], (2, 2, 2, 2), value=around)
        assert torch.equal(Term(view="base", to="truth", by=by, border=2).measured(framed, target), inside)
    assert torch.equal(Term(view="base", to="truth", by=by).measured(output, target), MEASURES[by](output, target))


DETAIL = {"view": "base", "to": "truth", "by": "fft", "weight": 0.05}


@pytest.mark.parametrize(
    ("given", "overrides", "expected"),
    [
        ("", [], {}),
        ("loss:", ["loss.rec=5"], {"rec": {"weight": 5.0}}),
        ("loss: {rec: 5}", ["loss.rec.by=charbonnier"], {"rec": {"by": "charbonnier", "weight": 5.0}}),
        ("loss: {rec: {by: mse}}", ["loss.rec=5"], {"rec": {"by": "mse", "weight": 5.0}}),
        ("loss: {rec: {by: mse, weight: 5}}", ["loss.rec={by: fft}"], {"rec": {"by": "fft"}}),
        ("loss: {kd: {to: truth}}", [], {"kd": {"to": "truth"}}),
        ("loss: {kd: {border: 3}}", [], {"kd": {"border": 3}}),
        ("loss: {kd: {border: 3}}", ["loss.border=8"], {name: {"border": 8} for name in KNOWN}),
        ("loss: {rec: 5, border: 2}", ["loss.detail={view: base, to: truth}"],
         {name: {"border": 2} for name in KNOWN} | {"rec": {"border": 2, "weight": 5.0}}
         | {"detail": {"view": "base", "to": "truth", "border": 2}}),
        ("", ["loss.detail={view: base, to: truth, by: fft, weight: 0.05}"], {"detail": DETAIL}),
        ("", ["loss.kd.weight={start: 1, end: 0, steps: 2000}"],
         {"kd": {"weight": Ramp(start=1, end=0, steps=2000, kind="linear")}}),
        ("loss: {kd: {weight: {start: 1, end: 0, steps: 9}}}", ["loss.kd=2"], {"kd": {"weight": 2.0}}),
        ("", ["loss.detail.view=base", "loss.detail.to=truth"], {"detail": {"view": "base", "to": "truth"}}),
        ("loss: {detail: {view: base, to: truth}}", ["loss.detail=0.5"],
         {"detail": {"view": "base", "to": "truth", "weight": 0.5}}),
        (f"loss: [{DETAIL}, {DETAIL | {'name': 'again', 'to': 'teacher'}}]", [],
         {name: {"weight": 0.0} for name in KNOWN} | {"base_truth_fft": DETAIL, "again": DETAIL | {"to": "teacher"}}),
    ],
)  # fmt: skip
def test_terms_are_changed_added_and_replaced(
    tmp_path: Path, given: str, overrides: list[str], expected: dict[str, dict[str, Any]]
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"cache: c\n{given}\n")
    made = TrainConfig.load(path, None, overrides)
    terms = {name: term.model_copy(update=expected.get(name, {})) for name, term in KNOWN.items()}
    terms |= {name: Term(**change) for name, change in sorted(expected.items()) if name not in KNOWN}
    assert made.loss.root == terms
    assert list(made.loss.of("dukd")) == [name for name, term in terms.items() if term.weight and name != "gan"]
    path.write_text(dump(made))
    assert TrainConfig.load(path) == made


def test_equal_losses_are_summed_in_one_order() -> None:
    first, second = Loss({"b": DETAIL, "kd": 2, "a": DETAIL}), Loss({"a": DETAIL, "b": DETAIL, "kd": {"weight": 2.0}})
    assert first == second
    assert list(first.root) == list(second.root) == [*KNOWN, "a", "b"]


def test_one_file_serves_all_methods() -> None:
    loss = Loss({"kd": {"by": "charbonnier"}, "detail": DETAIL})
    found = {method: list(loss.of(method)) for method in METHODS}
    assert found == {method: [*terms, "detail"] for method, terms in METHODS.items()}
    assert loss.of("kd")["kd"].by == "charbonnier"


VALID = f"(valid: {', '.join(sorted([*KNOWN, 'border']))}, or a name of your own with view and to)"


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ({"dk": 1}, f"unknown setting 'loss.dk': did you mean 'loss.kd'? {VALID}"),
        ({"zoomin": {"by": "mse"}}, f"unknown setting 'loss.zoomin': did you mean 'loss.zoom_in'? {VALID}"),
        ({"detail": {"view": "base"}}, "setting loss.detail.to is missing: expected text"),
        ({"rec": {"by": "charbonier"}},
         "unknown loss.rec.by 'charbonier': did you mean 'charbonnier'? "
         "(valid: amplitude, charbonnier, fft, gan, gradient, l1, lpips, mse)"),
        ({"rec": {"wieght": 1}},
         "unknown setting 'loss.rec.wieght': did you mean 'loss.rec.weight'? (valid: border, by, to, view, weight)"),
        ({"rec": -1}, "setting loss.rec: expected a number of at least 0, got -1"),
        ({"border": -1}, "setting loss.border: expected a whole number of at least 0, got -1"),
        ({"border": 1.5}, "setting loss.border: expected a whole number of at least 0, got 1.5"),
        ({"rec": {"border": -1}}, "setting loss.rec.border: expected a whole number of at least 0, got -1"),
        ({"rec": {"weight": -1}},
         "setting loss.rec.weight: expected a number of at least 0 or settings by name, got -1"),
        ({"rec": {"weight": {"start": -1, "end": 0, "steps": 5}}},
         "setting loss.rec.weight.start: expected a number of at least 0, got -1"),
        ({"rec": {"weight": {"start": 1, "steps": 5}}},
         "setting loss.rec.weight.end is missing: expected a number of at least 0"),
        ({"rec": {"weight": {"start": 1, "end": 0, "steps": 0}}},
         "setting loss.rec.weight.steps: expected a whole number above 0, got 0"),
        ({"rec": {"weight": {"start": 1, "end": 0, "steps": 5, "kind": "cosinus"}}},
         "unknown loss.rec.weight.kind 'cosinus': did you mean 'cosine'? (valid: cosine, linear)"),
        ({"rec": {"weight": {"start": 1, "end": 0, "over": 5}}},
         "unknown setting 'loss.rec.weight.over' (valid: end, kind, start, steps)"),
        ({"total": DETAIL},
         "setting loss: expected names of letters, digits and _, and not step, lr, total for its terms, got 'total'"),
        ({"a b": DETAIL},
         "setting loss: expected names of letters, digits and _, and not step, lr, total for its terms, got 'a b'"),
        ("l1", "setting loss: expected settings by name or a list, each settings by name, got 'l1'"),
        ([3], "setting loss[0]: expected settings by name, got 3"),
        ([{"to": "truth"}], "setting loss[0].view is missing: expected text"),
        ([DETAIL | {"nmae": "x"}],
         "unknown setting 'loss[0].nmae': did you mean 'loss[0].name'? (valid: border, by, name, to, view, weight)"),
        ([DETAIL, DETAIL],
         "setting loss: two terms of the list are called 'base_truth_fft': give one of them another name"),
        ([DETAIL | {"name": "rec"}],
         "setting loss: a list takes the place of the methods' terms, and 'rec' is one of them: rename it"),
    ],
)  # fmt: skip
def test_each_mistake_in_a_loss_gets_one_line(loss: object, message: str) -> None:
    with pytest.raises(SettingError) as caught:
        validated(TrainConfig, {"cache": "c", "loss": loss})
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "loss",
    [
        {"rec": 5},
        {"rec": {"by": "fft"}},
        {"border": 8},
        {"detail": DETAIL},
        [DETAIL],
        [{**DETAIL, "name": "d"}],
        {"kd": {"weight": {"start": 1, "end": 0, "steps": 9}}},
    ],
)
def test_an_editor_accepts_each_way_to_write_a_loss(loss: object) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    check = jsonschema.Draft202012Validator(schema_of(TrainConfig))
    assert check.is_valid({"cache": "c", "loss": loss})
    for mistake in (
        {"rec": {"by": "l2"}},
        {"kd": {"weight": {"start": 1}}},
        {"detail": {"view": "base"}},
        [{"to": "truth"}],
        {"detail": 3},
    ):
        assert not check.is_valid({"cache": "c", "loss": mistake})

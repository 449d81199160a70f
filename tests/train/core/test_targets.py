"""Targets of several teachers: mixed alike whatever the augmentation, and chosen by one setting."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from dukd_cache import networks
from dukd_cache.format.reader import Cache
from dukd_cache.pictures.symmetries import CHANNEL_ORDERS, Element, apply, repeated
from dukd_cache.system import terminal
from dukd_cache.system.errors import SettingError
from dukd_train.core.run import run
from dukd_train.core.targets import MIXED, arrays_of, compared, with_target
from dukd_train.data.mixing import eco_of, read_by
from dukd_train.measures import l1
from dukd_train.objective import METHODS, Term
from dukd_train.settings import Eco, TrainConfig

Settings = Callable[..., TrainConfig]

ELEMENTS = st.builds(Element, *[st.booleans()] * 4, st.integers(0, len(CHANNEL_ORDERS) - 1))


def answers_of(seed: int, count: int, dtype: torch.dtype) -> dict[str, Tensor]:
    """`count` answers that agree here and there, of three records; and what else a batch holds."""
    random = torch.Generator().manual_seed(seed)
    first = torch.randint(0, 256, (3, 3, 6, 6), generator=random)
    found = {}
    for name in ("a", "b", "c")[:count]:
        apart = torch.randint(-40, 41, (3, 3, 6, 6), generator=random) * torch.rand(3, 1, 6, 6, generator=random)
        levels = (first + apart).clamp(0, 255).round()
        found[name] = levels.to(torch.uint8) if dtype == torch.uint8 else (levels / 255).to(dtype)
    return found | {"input": torch.zeros(3, 3, 3, 3, dtype=torch.uint8), "truth": first.to(torch.uint8)}


@given(st.integers(0, 2**31), st.integers(2, 3), st.sampled_from([torch.uint8, torch.float16, torch.float32]), ELEMENTS)
@settings(max_examples=60, deadline=None)
def test_what_is_augmented_is_mixed_alike(seed: int, count: int, dtype: torch.dtype, element: Element) -> None:
    """Mixed and then changed by F is changed by F and then mixed: exactly, where F moves pixels and channels only."""
    batch = answers_of(seed, count, dtype)
    how = repeated(element, 3)
    augmented = {name: apply(how, images) for name, images in batch.items()}
    output = torch.rand(3, 3, 6, 6, generator=torch.Generator().manual_seed(seed))
    _, mixed = compared(output, batch, "mean")
    _, after = compared(apply(how, output), augmented, "mean")
    if element.invert:  # 1 − x is rounded
        torch.testing.assert_close(after, apply(how, mixed), rtol=0, atol=6e-4 if dtype == torch.float16 else 2e-7)
    else:
        assert torch.equal(after, apply(how, mixed))
    before = l1(*compared(output, batch, "agreement"))
    inverted = 3e-4 if dtype == torch.float16 and element.invert else 1e-6
    torch.testing.assert_close(
        l1(*compared(apply(how, output), augmented, "agreement")), before, rtol=inverted * 10, atol=inverted
    )


def test_the_mean_is_of_all_answers_and_of_nothing_else() -> None:
    batch = answers_of(1, 3, torch.uint8)
    output, target = compared(torch.zeros(3, 3, 6, 6), batch, "mean")
    expected = torch.stack([batch[name].double() / 255 for name in "abc"]).mean(0)
    torch.testing.assert_close(target.double(), expected, rtol=0, atol=1e-7)
    assert torch.equal(output, torch.zeros(3, 3, 6, 6))
    assert compared(output, batch, "b")[1] is batch["b"]


def test_pixels_count_less_where_teachers_disagree() -> None:
    """As the formula has it: two answers that differ by 2d have the spread d."""
    apart = torch.zeros(2, 1, 4, 4)
    apart[0, 0, 0] = 0.1  # in a row of the first record; in the second they agree
    mean = torch.full((2, 3, 4, 4), 0.5)
    batch = {"a": mean + apart, "b": mean - apart}
    output, target = compared(torch.ones_like(mean), batch, "agreement")
    usual = 0.1 / 4
    weight = torch.ones(4, 4)
    weight[0] = 1 / (1 + (0.1 / usual) ** 2)
    torch.testing.assert_close(output[0, 0], weight / weight.mean())
    torch.testing.assert_close(target, output / 2)
    assert torch.equal(output[1], torch.ones(3, 4, 4))
    torch.testing.assert_close(output.mean((1, 2, 3)), torch.ones(2))


def test_a_record_is_mixed_apart_from_the_others() -> None:
    """So processes may share a batch out."""
    batch = answers_of(3, 2, torch.uint8)
    whole = compared(torch.ones(3, 3, 6, 6), batch, "agreement")
    part = compared(torch.ones(1, 3, 6, 6), {name: images[1:2] for name, images in batch.items()}, "agreement")
    for all_records, one in zip(whole, part, strict=True):
        torch.testing.assert_close(all_records[1:2], one, rtol=1e-6, atol=0)


# one setting for all terms


@pytest.fixture(scope="module")
def second_teacher(teacher_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network like that of `teacher_file`, a little off."""
    network = networks.load(teacher_file)
    with torch.no_grad():
        network.module.get_submodule("conv_last").get_parameter("weight").mul_(0.97)
    path = tmp_path_factory.mktemp("teacher") / "second.safetensors"
    networks.save(network, path, {})
    return path


@pytest.fixture(scope="module")
def both(build_cache: Callable[..., Path], teacher_file: Path, second_teacher: Path) -> Path:
    """A cache of two teachers, none of whose answers is called `teacher`."""
    return build_cache(teacher={"one": teacher_file, "two": second_teacher})


@pytest.mark.parametrize(
    ("answers", "target", "expected"),
    [
        (("teacher",), None, "teacher"),
        (("one",), None, "one"),
        (("teacher", "two"), None, "teacher"),
        (("teacher", "two"), "two", "two"),
        (("one", "two"), "mean", "mean"),
        (("one", "two"), "agreement", "agreement"),
        ((), None, "teacher"),
        ((), "mean", "mean"),
        (("one", "two"), None, "the cache has answers one and two, and none called teacher; "),
        (("one", "two"), "three", "unknown answer 'three' "),
        (("one", "two"), "truth", "unknown answer 'truth' "),
    ],
)
def test_what_teacher_means(answers: tuple[str, ...], target: str | None, expected: str, both: Path) -> None:
    header = Cache(both).manifest.header
    header = header.model_copy(update={"answers": dict.fromkeys(answers, header.answers["one"])})
    if " " in expected:
        with pytest.raises(SettingError, match=f"^target: {expected}"):
            with_target(METHODS["kd"], target, header)
    else:
        found = with_target(METHODS["kd"] | {"own": Term(view="base", to="two")}, target, header)
        assert [term.to for term in found.values()] == ["truth", expected, "two"]


@pytest.mark.parametrize("target", MIXED)
def test_a_mixture_of_one_answer_is_told(
    target: str, both: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(terminal, "_TOLD", set())
    header = Cache(both).manifest.header
    with_target(METHODS["kd"], target, header)
    assert not capsys.readouterr().err
    one = header.model_copy(update={"answers": {"one": header.answers["one"]}})
    assert with_target(METHODS["kd"], target, one)["kd"].to == target
    assert capsys.readouterr().err == f"target={target}: the cache has one answer, one, and this is the target\n"


def test_a_method_without_a_teacher_needs_no_target_and_takes_no_wrong_one(both: Path) -> None:
    header = Cache(both).manifest.header
    for target in (None, "one", "mean"):
        assert with_target(METHODS["scratch"], target, header) == METHODS["scratch"]
    with pytest.raises(SettingError, match=r"^target: unknown answer 'three' \(valid: agreement, mean, one, two\)"):
        with_target(METHODS["scratch"], "three", header)


def test_eco_begins_with_the_answers_that_are_the_target(both: Path) -> None:
    cache, eco = Cache(both), Eco(steps=5)
    assert eco_of(eco, cache, ["base"], "two").answer == "two"
    assert eco_of(Eco(steps=5, answer="one"), cache, ["base"], "two").answer == "one"
    assert eco_of(Eco(steps=5, answer="mean"), cache, ["base"], "two").answer == "mean"
    for target in MIXED:
        found = eco_of(eco, cache, ["base"], target)
        assert (found.answer, read_by(found, cache)) == ("mean", ["one", "two"])
    with pytest.raises(SettingError, match=r"^eco\.answer: .* unknown answer 'teacher' \(valid: mean, one, two\)$"):
        eco_of(eco, cache, ["base"], None)


def test_all_answers_are_read_where_they_are_mixed(both: Path) -> None:
    header = Cache(both).manifest.header
    terms = with_target(METHODS["dukd"], "mean", header)
    assert arrays_of(terms, header) == {
        "base": ["truth", "one", "two"], "zoom_in": ["one", "two"], "zoom_out": ["truth", "one", "two"],
    }  # fmt: skip


def trained(config: TrainConfig, out: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    run(config, out)
    return json.loads((out / "run.json").read_text()), load_file(out / "student.safetensors")


def test_one_of_several_teaches_as_if_it_were_alone(settings_of: Settings, both: Path, tmp_path: Path) -> None:
    _, alone = trained(settings_of(), tmp_path / "alone")
    facts, chosen = trained(settings_of(cache=both, target="one"), tmp_path / "chosen")
    assert {term["to"] for term in facts["loss"].values()} == {"truth", "one"}
    assert chosen.keys() == alone.keys()
    assert all(torch.equal(chosen[name], alone[name]) for name in alone)
    terms = {"kd": {"to": "one"}, "zoom_in": {"to": "one"}, "zoom_out_kd": {"to": "one"}}
    _, by_term = trained(settings_of(cache=both, loss=terms), tmp_path / "by_term")
    assert all(torch.equal(by_term[name], alone[name]) for name in alone)


@pytest.mark.parametrize("target", MIXED)
def test_mixed_targets_are_trained_with(settings_of: Settings, both: Path, tmp_path: Path, target: str) -> None:
    """Streamed or from memory; and the terms are what their formula says."""
    facts, resident = trained(settings_of(cache=both, target=target), tmp_path / "resident")
    streamed = settings_of(cache=both, target=target, data={"resident": "no", "workers": 0})
    assert all(torch.equal(resident[name], value) for name, value in trained(streamed, tmp_path / "no")[1].items())
    assert facts["loss"]["zoom_in"]["to"] == target
    with (tmp_path / "resident" / "curve.csv").open(newline="") as stream:
        assert all(0 < float(row["kd"]) < 1 for row in csv.DictReader(stream))


def test_answers_to_degraded_and_clean_inputs_are_trained_with(
    settings_of: Settings, build_cache: Callable[..., Path], tmp_path: Path
) -> None:
    cache = build_cache(degradation="light", answers_of=("input", "clean"))
    facts, chosen = trained(settings_of(cache=cache), tmp_path / "input")
    assert facts["loss"]["kd"]["to"] == "teacher"
    _, clean = trained(settings_of(cache=cache, target="teacher_clean"), tmp_path / "clean")
    assert not all(torch.equal(clean[name], chosen[name]) for name in chosen)
    trained(settings_of(cache=cache, target="mean"), tmp_path / "both")
    own = {"x": {"view": "base", "to": "clean"}}
    with pytest.raises(SettingError, match="unknown array 'clean'"):
        run(settings_of(cache=cache, loss=own), tmp_path / "run")


def test_a_choice_that_is_missing_is_one_line(settings_of: Settings, both: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError) as caught:
        run(settings_of(cache=both), tmp_path / "run")
    assert str(caught.value) == (
        "target: the cache has answers one and two, and none called teacher; "
        "set target=one, target=two, target=mean or target=agreement"
    )
    assert not (tmp_path / "run").exists()
    own = {"x": {"view": "base", "to": "mean"}}
    pairs = settings_of(cache=pairs_of(tmp_path), method="scratch", loss=own)
    with pytest.raises(SettingError, match="unknown array 'mean' "):
        run(pairs, tmp_path / "run")


def pairs_of(folder: Path) -> Path:
    """A cache without answers, of one image."""
    from tests.cache.samples import build_job, save_photos

    from dukd_cache.commands.build import build_cache

    out = folder / "pairs"
    build_cache(*build_job(save_photos(folder / "hr", [(60, 60)]), out, None, patch=16))
    return out

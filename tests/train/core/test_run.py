"""Whole runs: what a folder holds, stopping and going on, and what is refused before any training."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.train.conftest import SWINIR
from tests.train.interruptions import stop_at

from dukd_cache import __version__, networks
from dukd_cache.format.reader import Cache
from dukd_cache.system.errors import CacheError, DukdError, ImageError, SettingError
from dukd_train.core import checkpoint
from dukd_train.core.learner import Learner
from dukd_train.core.run import run
from dukd_train.errors import RunError
from dukd_train.keeping import run_folder
from dukd_train.measures import MEASURES
from dukd_train.objective import METHODS
from dukd_train.settings import TrainConfig
from dukd_train.watching.observers import Observer

Settings = Callable[..., TrainConfig]
Builder = Callable[..., Path]

CHEAP = {"method": "scratch", "steps": 1}
WHEN_AND_WHERE = dict.fromkeys(("seconds", "commit", "device", "threads", "begun", "ended"))
"""Facts of a run that are those of the moment; see test_provenance."""


@pytest.fixture(scope="module")
def validation_folder(hr_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One image."""
    folder = tmp_path_factory.mktemp("validation")
    (folder / "photo0.png").write_bytes((hr_folder / "photo0.png").read_bytes())
    return folder


@pytest.fixture(scope="module")
def pairs_folder(build_cache: Builder) -> Path:
    """A cache without a teacher."""
    return build_cache(weights=None, scale=2, zoom_in=0, zoom_out=0)


@pytest.fixture(scope="module")
def base_folder(build_cache: Builder) -> Path:
    """A cache with a teacher, but without zoom views."""
    return build_cache(zoom_in=0, zoom_out=0)


def refusal(asked: TrainConfig, out: Path, kind: type[DukdError] = SettingError) -> str:
    """The line that `asked` gets."""
    with pytest.raises(kind) as caught:
        run(asked, out)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def forbid_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail at the first step."""

    def step(*_args: object) -> None:
        pytest.fail("trained a step")

    monkeypatch.setattr(Learner, "step", step)


@pytest.mark.parametrize(
    ("method", "columns"),
    [
        ("scratch", ["rec"]),
        ("kd", ["rec", "kd"]),
        ("dukd", ["rec", "kd", "zoom_in", "zoom_out_rec", "zoom_out_kd"]),
    ],
)
def test_what_a_finished_run_holds(
    settings_of: Settings, tmp_path: Path, cache: Cache, validation_folder: Path, method: str, columns: list[str]
) -> None:
    out = tmp_path / "runs" / method  # folders above it are made
    asked = settings_of(method=method, steps=3, seed=5, validation={"sets": {"V": {"hr": validation_folder}}})
    facts = run(asked, out)
    assert sorted(content(out)) == [
        "best.safetensors", "checkpoint-000003.pt", "checkpoint-000003.pt.sha256", "config.yaml", "curve.csv",
        "run.json", "student.safetensors", "validation.csv",
    ]  # fmt: skip
    assert json.loads((out / "run.json").read_text()) == facts
    student = networks.load(out / "student.safetensors")
    assert facts == {
        "method": method,
        "loss": {name: vars(term) for name, term in METHODS[method].items()},
        "answers": [] if method == "scratch" else ["teacher"],
        "seed": 5,
        "student": "EDSR",
        "parameters": student.parameters_count,
        "scale": 2,
        "steps": 3,
        "cache_digest": cache.digest,
        "dukd_version": __version__,
        "torch_version": torch.__version__,
        **{key: facts[key] for key in WHEN_AND_WHERE},
    }
    assert facts["seconds"] > 0
    assert student.metadata == {key: str(value) for key, value in facts.items()}
    assert TrainConfig.load(out / "config.yaml") == asked
    with (out / "curve.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["step"] for row in rows] == ["1", "2", "3"]
    assert all([*row] == [name for name in row if row[name]] == ["step", "lr", "total", *columns] for row in rows)
    with (out / "validation.csv").open(newline="") as stream:
        assert [(row["step"], row["set"]) for row in csv.DictReader(stream)] == [("3", "V")]


def test_the_averaged_weights_are_what_is_saved(settings_of: Settings, tmp_path: Path) -> None:
    run(settings_of(method="scratch", steps=3), tmp_path / "run")
    state = checkpoint.newest(tmp_path / "run")
    assert state is not None
    saved = load_file(tmp_path / "run" / "student.safetensors")
    assert state.checkpoint.ema.keys() == saved.keys()
    assert all(torch.equal(saved[name], state.checkpoint.ema[name]) for name in saved)
    assert not all(torch.equal(saved[name], state.checkpoint.student[name]) for name in saved)


def test_eco_reads_the_answer_that_no_term_asks_for_and_ends_in_the_plain_training(
    settings_of: Settings, tmp_path: Path
) -> None:
    for name, changes in {"plain": {}, "eco": {"eco": {"steps": 5}}, "over": {"eco": {"start": 1, "steps": 5}}}.items():
        run(settings_of(method="scratch", steps=2, **changes), tmp_path / name)
    tensors = {name: load_file(tmp_path / name / "student.safetensors") for name in ("plain", "eco", "over")}
    assert all(torch.equal(tensors["over"][name], tensors["plain"][name]) for name in tensors["plain"])
    assert not all(torch.equal(tensors["eco"][name], tensors["plain"][name]) for name in tensors["plain"])


def test_an_eco_that_cannot_be_is_refused(settings_of: Settings, tmp_path: Path, pairs_folder: Path) -> None:
    eco = {"steps": 5}
    asked = settings_of(eco=eco | {"answer": "techer"})
    assert refusal(asked, tmp_path / "a") == (
        f"eco.answer: {asked.cache}: unknown answer 'techer': did you mean 'teacher'? (valid: mean, teacher)"
    )
    asked = settings_of(eco=eco, loss={"rec": 0, "kd": 0})
    assert refusal(asked, tmp_path / "a") == "eco: no term of the loss reads base, whose records it mixes"
    asked = settings_of(eco=eco, method="scratch", cache=pairs_folder)
    assert refusal(asked, tmp_path / "a") == f"eco: {pairs_folder} holds pairs without a teacher"
    assert not (tmp_path / "a").exists()


def test_equal_settings_give_equal_runs_and_seeds_differ(settings_of: Settings, tmp_path: Path) -> None:
    tensors = []
    for number, seed in enumerate((0, 0, 1)):
        torch.rand(number)  # what was drawn before must not matter
        run(settings_of(steps=2, seed=seed), tmp_path / str(number))
        tensors.append(load_file(tmp_path / str(number) / "student.safetensors"))
    assert all(torch.equal(tensors[0][name], tensors[1][name]) for name in tensors[0])
    assert not any(torch.equal(tensors[0][name], tensors[2][name]) for name in tensors[0] if name.endswith("weight"))


def test_a_finished_run_asked_again_is_not_trained(
    settings_of: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = run(settings_of(**CHEAP), tmp_path / "run")
    before = content(tmp_path / "run")
    forbid_training(monkeypatch)
    assert run(settings_of(**CHEAP), tmp_path / "run") == facts
    assert content(tmp_path / "run") == before


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"seed": 1}, "seed = 0, asked for 1"),
        ({"method": "kd"}, "method = scratch, asked for kd"),
        ({"optimizer": {"lr": 0.5}}, "optimizer.lr = 0.001, asked for 0.5"),
        ({"data": {"shuffle": "shards"}}, "data.shuffle = records, asked for shards"),
        ({"augment": {"zoom": {"hflip": 1}}}, "augment.zoom.hflip = 0.3, asked for 1.0"),
        (
            {"student": {"architecture": "EDSR", "settings": {"channels": 6, "blocks": 1}}},
            "student.settings.channels = 8, asked for 6",
        ),
        (
            {"student": {"architecture": "EDSR", "settings": {"channels": 8, "blocks": 1, "res_scale": 0.5}}},
            "student.settings.res_scale = None, asked for 0.5",
        ),
    ],
)
def test_another_config_is_refused(
    settings_of: Settings, tmp_path: Path, changes: dict[str, Any], difference: str
) -> None:
    out = tmp_path / "run"
    run(settings_of(**CHEAP), out)
    before = content(out)
    message = refusal(settings_of(**(CHEAP | changes)), out, RunError)
    assert message == f"{out}: holds a finished run with {difference}; choose another `out`"
    assert content(out) == before


def test_a_folder_of_something_else_is_refused(settings_of: Settings, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    message = f"{tmp_path}: holds something that is no run (notes.txt); choose another `out`"
    assert refusal(settings_of(**CHEAP), tmp_path, RunError) == message
    assert content(tmp_path) == {"notes.txt": b"mine"}
    message = f"{tmp_path / 'notes.txt'}: expected a folder, found a file"
    assert refusal(settings_of(**CHEAP), tmp_path / "notes.txt", CacheError) == message


def test_an_empty_folder_is_taken(settings_of: Settings, tmp_path: Path) -> None:
    run(settings_of(**CHEAP), tmp_path)
    assert (tmp_path / "run.json").is_file()


@pytest.mark.parametrize("finished", [True, False])
def test_a_cache_that_changed_is_refused(
    settings_of: Settings, tmp_path: Path, cache_folder: Path, base_folder: Path, finished: bool
) -> None:
    link = tmp_path / "cache"
    link.symlink_to(cache_folder)
    asked = settings_of(method="kd", cache=link, steps=4, checkpoint_every=1, validation={"every": 1})
    with pytest.MonkeyPatch.context() as patch:
        if not finished:
            stop_at(3, patch)
            with pytest.raises(KeyboardInterrupt):
                run(asked, tmp_path / "run")
        else:
            run(asked, tmp_path / "run")
    link.unlink()
    link.symlink_to(base_folder)
    message = f"{tmp_path / 'run'}: trained on another cache than {link} holds now; choose another `out`"
    assert refusal(asked, tmp_path / "run", RunError) == message
    link.unlink()
    link.symlink_to(cache_folder)
    assert run(asked, tmp_path / "run")["steps"] == 4


def test_another_cache_on_the_way_is_told_and_recorded(
    settings_of: Settings, tmp_path: Path, cache: Cache, base_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    link, out = tmp_path / "cache", tmp_path / "run"
    link.symlink_to(cache.root)
    asked = settings_of(method="kd", cache=link, steps=1, schedule={"kind": "constant"})
    run(asked, out)
    link.unlink()
    link.symlink_to(base_folder)
    capsys.readouterr()
    facts = run(asked.model_copy(update={"steps": 2}), out, allow_changes=True)
    assert f"{out}: from now on cache_digest = {facts['cache_digest']}, not {cache.digest}\n" in capsys.readouterr().err
    recorded = run_folder.earlier(out, asked)
    assert recorded == {"cache_digest.until step 1": cache.digest}


@pytest.mark.parametrize("method", ["kd", "dukd"])
def test_pairs_teach_from_scratch_only(settings_of: Settings, tmp_path: Path, pairs_folder: Path, method: str) -> None:
    message = refusal(settings_of(method=method, cache=pairs_folder), tmp_path / "run")
    assert message == f"method {method}: {pairs_folder} holds pairs without a teacher; use method scratch"
    assert not (tmp_path / "run").exists()
    run(settings_of(method="scratch", cache=pairs_folder, steps=1), tmp_path / "run")


def test_missing_views_are_named_with_the_option_that_makes_them(
    settings_of: Settings, tmp_path: Path, base_folder: Path, build_cache: Builder
) -> None:
    out = tmp_path / "run"
    assert refusal(settings_of(cache=base_folder), out) == (
        f"method dukd: {base_folder} has no view zoom_in; build it with `views.zoom_in=N`, or set loss.zoom_in=0"
    )
    only_in = build_cache(zoom_out=0)
    assert refusal(settings_of(cache=only_in), out) == (
        f"method dukd: {only_in} has no view zoom_out; build it with `views.zoom_out=N`, or set loss.zoom_out_rec=0"
    )
    run(settings_of(cache=only_in, steps=1, loss={"zoom_out_rec": 0, "zoom_out_kd": 0}), out)
    run(settings_of(method="kd", cache=base_folder, steps=1), tmp_path / "kd")


@pytest.mark.parametrize(
    ("view", "to", "message"),
    [
        ("zoom_in", "truth", "records of zoom_in have no truth, only teacher; set loss.own=0"),
        ("bsae", "truth", "{cache}: unknown view 'bsae': did you mean 'base'? (valid: base, zoom_in, zoom_out)"),
        ("base", "techer", "{cache}: unknown array 'techer': did you mean 'teacher'? (valid: teacher, truth)"),
        ("base", "input", "{cache}: unknown array 'input' (valid: teacher, truth)"),
    ],
)
def test_terms_that_the_cache_cannot_serve(
    settings_of: Settings, tmp_path: Path, cache_folder: Path, view: str, to: str, message: str
) -> None:
    found = refusal(settings_of(loss={"own": {"view": view, "to": to}}), tmp_path / "run")
    assert found == f"loss.own: {message.format(cache=cache_folder)}"
    assert not (tmp_path / "run").exists()


def test_terms_of_ones_own_are_trained_with(settings_of: Settings, tmp_path: Path, pairs_folder: Path) -> None:
    """Every measure, two terms of one target, a student of pairs; the total is the sum of them all."""
    own = {by: {"view": "base", "to": "truth", "by": by, "weight": 0.5} for by in MEASURES if by != "lpips"}
    facts = run(settings_of(method="scratch", cache=pairs_folder, steps=3, loss={"rec": 2, **own}), tmp_path / "run")
    assert list(facts["loss"]) == ["rec", *sorted(own)]
    with (tmp_path / "run" / "curve.csv").open(newline="") as stream:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(stream)]
    for row in rows:
        assert row["rec"] == row["l1"]
        assert row["total"] == pytest.approx(2 * row["rec"] + 0.5 * sum(row[by] for by in own), abs=5e-6)
    assert len({row["fft"] for row in rows}) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch": 17}, "patch 17: the cache's patches have 16 pixels"),
        ({"loss": {"kd": {"border": 16}}},
         "loss.kd.border 16: leaves nothing of the answers to base, which have 32×32 pixels; take at most 15"),
        ({"loss": {"border": 8}},
         "loss.zoom_out_rec.border 8: leaves nothing of the answers to zoom_out, which have 16×16 pixels; "
         "take at most 7"),
        ({"loss": {"rec": {"border": 15, "by": "gradient"}}},
         "loss.rec.border 15: leaves less than 3×3 pixels of the answers to base, which have 32×32 pixels; "
         "take at most 14"),
        ({"patch": 8, "loss": {"rec": {"border": 8}}},
         "loss.rec.border 8: leaves nothing of the answers to base, which have 16×16 pixels; take at most 7"),
        ({"scale": 4}, "scale 4: "),
        ({"method": "scratch", "loss": {"rec": 0}}, "method scratch: every part of its loss has weight 0"),
        ({"student": {"architecture": "EDRS"}}, "unknown architecture 'EDRS': did you mean 'EDSR'?"),
        (
            {"student": {"settings": {"chanels": 8}}},
            "unknown setting of EDSR 'chanels': did you mean 'channels'?",
        ),
    ],
)  # fmt: skip
def test_impossible_settings(settings_of: Settings, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    assert refusal(settings_of(**changes), tmp_path / "run").startswith(message)
    assert not (tmp_path / "run").exists()


def test_a_bad_validation_image_is_told_before_the_first_step(
    settings_of: Settings, tmp_path: Path, validation_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid_training(monkeypatch)
    bad = tmp_path / "images"
    shutil.copytree(validation_folder, bad)
    (bad / "z.png").write_text("no image")
    message = refusal(settings_of(validation={"sets": {"V": {"hr": bad}}}), tmp_path / "run", ImageError)
    assert message.startswith(f"{bad / 'z.png'}: not a readable image")
    assert not (tmp_path / "run").exists()


def test_a_failing_validation_costs_neither_training_nor_student(
    settings_of: Settings,
    tmp_path: Path,
    validation_folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An image disappears during the training, and is there again for the same command later."""
    images = tmp_path / "images"
    shutil.copytree(validation_folder, images)
    asked = settings_of(steps=4, validation={"every": 2, "sets": {"V": {"hr": images}}})
    (image,) = images.iterdir()
    content = image.read_bytes()

    class Removes(Observer):
        def stepped(self, step: int) -> None:  # noqa: ARG002
            image.write_bytes(content[:100])

    with pytest.raises(ImageError, match=image.name):
        run(asked, tmp_path / "run", [Removes()])
    assert f"{tmp_path / 'run'}: step 2: no scores: {image}: " in capsys.readouterr().err
    saved = networks.load(tmp_path / "run" / "student.safetensors")
    assert saved.metadata["steps"] == "4"
    assert not (tmp_path / "run" / "run.json").exists()

    image.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        forbid_training(patch)
        run(asked, tmp_path / "run")
    assert networks.fingerprint(networks.load(tmp_path / "run" / "student.safetensors")) == networks.fingerprint(saved)
    with (tmp_path / "run" / "validation.csv").open(newline="") as stream:
        assert [row["step"] for row in csv.DictReader(stream)] == ["4"]


def test_a_finished_run_is_scored_on_new_sets_and_metrics(
    settings_of: Settings, tmp_path: Path, validation_folder: Path, hr_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, sets = tmp_path / "run", {"V": {"hr": validation_folder}}
    run(settings_of(**CHEAP, validation={"sets": sets}), out)
    student = (out / "student.safetensors").read_bytes()
    forbid_training(monkeypatch)
    new = settings_of(**CHEAP, validation={"sets": sets | {"W": {"hr": hr_folder}}})
    run(new, out)
    lines = (out / "validation.csv").read_text().splitlines()
    assert [line.split(",")[:2] for line in lines] == [["step", "set"], ["1", "V"], ["1", "W"]]
    assert TrainConfig.load(out / "config.yaml") == new
    before = content(out)
    run(new, out)
    assert content(out) == before, "nothing twice"
    run(settings_of(**CHEAP, validation={"sets": sets, "metrics": ["psnr_y", "psnr"]}), out)
    with (out / "validation.csv").open(newline="") as stream:
        assert [row["set"] for row in csv.DictReader(stream) if row["psnr"]] == ["V"]
    assert (out / "student.safetensors").read_bytes() == student


def test_no_cache(settings_of: Settings, tmp_path: Path) -> None:
    message = refusal(settings_of(cache=tmp_path / "none"), tmp_path / "run", CacheError)
    assert message.startswith(f"{tmp_path / 'none'}: no finished cache here")


def test_answers_in_float16_teach(settings_of: Settings, tmp_path: Path, float16_cache: Cache) -> None:
    run(settings_of(steps=2), tmp_path / "coarse")
    run(settings_of(steps=2, cache=float16_cache.root), tmp_path / "fine")
    rows = []
    for name in ("coarse", "fine"):
        with (tmp_path / name / "curve.csv").open(newline="") as stream:
            rows.append(next(csv.DictReader(stream)))
    assert rows[0]["rec"] == rows[1]["rec"]
    assert rows[0]["kd"] != rows[1]["kd"]
    assert float(rows[0]["kd"]) == pytest.approx(float(rows[1]["kd"]), abs=0.5 / 255)


@pytest.mark.parametrize(
    "student",
    [
        {"architecture": "SAFMN", "settings": {"dim": 8, "n_blocks": 1}},
        {"architecture": "SPAN", "settings": {"feature_channels": 8}},
        SWINIR,
    ],
)
def test_a_saved_student_of_spandrel_answers_as_the_averaged_one(
    settings_of: Settings, tmp_path: Path, student: dict[str, Any]
) -> None:
    run(settings_of(student=student, steps=2), tmp_path / "run")
    saved = networks.load(tmp_path / "run" / "student.safetensors")
    state = checkpoint.newest(tmp_path / "run")
    assert state is not None
    averaged = networks.build(student["architecture"], 2, student["settings"])
    image = torch.rand(1, 3, 11, 7)
    unlike = averaged(image)
    averaged.module.load_state_dict(state.checkpoint.ema)
    assert torch.equal(saved(image), averaged(image))
    assert not torch.equal(unlike, averaged(image))

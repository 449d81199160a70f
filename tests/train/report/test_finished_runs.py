"""Run folders as a report reads them."""

import json
from pathlib import Path

import pytest

from dukd_cache.settings.model import dump, validated
from dukd_cache.system.errors import SettingError
from dukd_train.errors import RunError
from dukd_train.report.curves import panels
from dukd_train.report.finished_runs import image_sets, load_runs
from dukd_train.report.groups import group_runs
from dukd_train.settings import TrainConfig


def make_run(
    folder: Path, *, seed: int = 0, scale: int = 4, sets: dict[str, str] | None = None, **changes: object
) -> Path:
    """A run folder whose weights are empty: nothing here reads them."""
    folder.mkdir(parents=True)
    images = {name: {"hr": hr} for name, hr in (sets or {}).items()}
    wanted = {"cache": "caches/x", "method": "kd", "seed": seed, "validation": {"sets": images}, **changes}
    (folder / "config.yaml").write_text(dump(validated(TrainConfig, wanted)))
    facts = {"method": "kd", "seed": seed, "student": "EDSR", "scale": scale, "steps": 10}
    (folder / "run.json").write_text(json.dumps(facts))
    (folder / "student.safetensors").touch()
    return folder


def test_runs_keep_their_order_and_are_named_by_their_folders(tmp_path: Path) -> None:
    folders = [make_run(tmp_path / name) for name in ("b", "a")]
    runs = load_runs(folders)
    assert [run.name for run in runs] == ["b", "a"]
    assert runs[0].facts["student"] == "EDSR"
    assert runs[0].weights == tmp_path / "b" / "student.safetensors"


def test_equal_names_are_told_apart_by_their_parents(tmp_path: Path) -> None:
    folders = [make_run(tmp_path / name) for name in ("u/x/kd", "v/x/kd", "v/y/kd", "v/dukd", "v/teacher")]
    names = [run.name for run in load_runs(folders, taken=("teacher",))]
    assert names == ["u/x/kd", "v/x/kd", "y/kd", "dukd", "v/teacher"]


def test_runs_in_the_current_folder_have_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(make_run(tmp_path / "mine"))
    assert load_runs([Path()])[0].name == "mine"


@pytest.mark.parametrize("missing", ["config.yaml", "run.json", "student.safetensors"])
def test_an_unfinished_run_is_refused(tmp_path: Path, missing: str) -> None:
    folder = make_run(tmp_path / "kd")
    (folder / missing).unlink()
    with pytest.raises(RunError, match=rf"kd: expected a finished run, found no {missing}"):
        load_runs([folder])


def test_what_is_no_run_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="nowhere: expected a finished run"):
        load_runs([tmp_path / "nowhere"])
    with pytest.raises(RunError, match="no run folders given"):
        load_runs([])
    folder = make_run(tmp_path / "kd")
    with pytest.raises(RunError, match="given twice"):
        load_runs([folder, folder / ".." / "kd"])
    (folder / "run.json").write_text('{"method": "kd"}')
    with pytest.raises(RunError, match=r"run\.json: expected .* found no seed"):
        load_runs([folder])
    (folder / "run.json").write_text("{")
    with pytest.raises(RunError, match=r"run\.json: not JSON"):
        load_runs([folder])


def test_invalid_settings_name_their_file(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "kd")
    (folder / "config.yaml").write_text("cache: x\nsteps: -1\n")
    with pytest.raises(RunError, match=r"kd/config\.yaml: setting steps"):
        load_runs([folder])


def test_scales_must_agree(tmp_path: Path) -> None:
    folders = [make_run(tmp_path / "two", scale=2), make_run(tmp_path / "three", scale=3)]
    with pytest.raises(RunError, match=r"three: scale 3, but .*two has scale 2"):
        load_runs(folders)


def test_validation_sets_are_joined(tmp_path: Path) -> None:
    folders = [make_run(tmp_path / "a", sets={"S": "s/HR"}), make_run(tmp_path / "b", sets={"S": "s/HR", "T": "t"})]
    sets = image_sets({run.folder: run.config for run in load_runs(folders)}, {}, {}, {})
    assert {name: images.hr for name, images in sets.items()} == {
        "S": Path("s/HR").absolute(),
        "T": Path("t").absolute(),
    }


def test_unclear_validation_sets_are_refused(tmp_path: Path) -> None:
    none = make_run(tmp_path / "none")
    with pytest.raises(SettingError, match="no run has a validation set in its settings; give `hr`"):
        image_sets({none: load_runs([none])[0].config}, {}, {}, {})
    folders = [none, make_run(tmp_path / "a", sets={"S": "s"}), make_run(tmp_path / "b", sets={"S": "other"})]
    with pytest.raises(SettingError, match=r"validation set S differs between .*a and .*b; give `hr`"):
        image_sets({run.folder: run.config for run in load_runs(folders)}, {}, {}, {})


def test_curves_leave_out_what_the_method_has_not(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "kd")
    assert load_runs([folder])[0].loss() == {}
    rows = ("step,lr,total,rec,zoom_in,rec.weight", "10,1e-4,0.5,0.25,,0.5", "20,1e-4,0.25,0.125,,0.25")
    (folder / "curve.csv").write_text("".join(f"{row}\n" for row in rows))
    (folder / "validation.csv").write_text("step,set,psnr_y,ssim_y\n10,S,30.5,0.9\n10,T,20,0.8\n20,S,31,0.9\n")
    run = load_runs([folder])[0]
    assert run.loss() == {"total": [(10, 0.5), (20, 0.25)], "rec": [(10, 0.25), (20, 0.125)]}
    assert run.validation() == {("S", ""): [(10, 30.5), (20, 31.0)], ("T", ""): [(10, 20.0)]}


def test_each_term_has_a_panel_that_says_what_it_is(tmp_path: Path) -> None:
    """Terms of one name by other measures are not on the same axes; nor is what has no term any more."""
    folders = [make_run(tmp_path / "a"), make_run(tmp_path / "b", loss={"rec": {"by": "mse"}})]
    for folder in folders:
        (folder / "curve.csv").write_text("step,lr,total,rec,kd,old\n10,1e-4,0.5,0.25,0.125,1\n")
    drawn = panels(group_runs(load_runs(folders)))
    assert [(panel.title, panel.unit, [*panel.lines]) for panel in drawn] == [
        ("total (each method has its own terms)", "loss", ["a", "b"]),
        ("rec: student and truth on base by l1", "l1", ["a"]),
        ("kd: student and teacher on base", "l1", ["a", "b"]),
        ("old", "loss", ["a", "b"]),
        ("rec: student and truth on base by mse", "mse", ["b"]),
    ]


def test_a_curve_shows_one_quantity(tmp_path: Path) -> None:
    """Not the L1 of a run's first steps and the squares of its later ones, nor other pixels or other answers."""
    folders = [
        make_run(tmp_path / "a", loss={"rec": {"by": "mse"}}),
        make_run(tmp_path / "b", loss={"rec": {"by": "mse", "border": 8}}),
        make_run(tmp_path / "c", loss={"rec": {"by": "mse"}}, target="mean"),
    ]
    for folder in folders:
        (folder / "curve.csv").write_text("step,lr,total,rec,kd\n10,1e-4,1,0.5,0.4\n20,1e-4,1,0.25,0.2\n")
    for folder, comments in ((folders[0], ["10: loss.rec.by = l1"]), (folders[2], ["10: target = None"])):
        text = (folder / "config.yaml").read_text()
        (folder / "config.yaml").write_text("".join(f"# until step {each}\n" for each in comments) + text)
    drawn = panels(group_runs(load_runs(folders)))
    assert {panel.title: {name: line.mean for name, line in panel.lines.items()} for panel in drawn[1:]} == {
        "rec: student and truth on base": {"a": [(20, 0.25)], "c": [(10, 0.5), (20, 0.25)]},
        "rec: student and truth on base, 8 pixels at its border left out": {"b": [(10, 0.5), (20, 0.25)]},
        "kd: student and teacher on base": {name: [(10, 0.4), (20, 0.2)] for name in "ab"},
        "kd: student and mean on base": {"c": [(20, 0.2)]},
    }


@pytest.mark.parametrize("content", ["step,lr,total\n10,1e-4,oops\n", "step,lr,total\n,1e-4,1\n", "lr,total\n1,1\n"])
def test_damaged_curves_are_named(tmp_path: Path, content: str) -> None:
    folder = make_run(tmp_path / "kd")
    (folder / "curve.csv").write_text(content)
    (folder / "validation.csv").write_text("a,b\n1,2\n")
    run = load_runs([folder])[0]
    with pytest.raises(RunError, match=r"curve\.csv: expected a step and total"):
        run.loss()
    with pytest.raises(RunError, match=r"validation\.csv: expected a step and psnr_y"):
        run.validation()


def test_scores_made_in_different_ways_are_different_curves(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "a")
    rows = ["10,S,30.5,0.9,whole images", "20,S,31,0.9,tiles of 48", "30,S,,1.0,tiles of 48"]
    (folder / "validation.csv").write_text("\n".join(["step,set,psnr_y,ssim_y,made", *rows, ""]))
    (run,) = load_runs([folder])
    assert run.validation() == {("S", "whole images"): [(10, 30.5)], ("S", "tiles of 48"): [(20, 31.0)]}
    assert [panel.title for panel in panels(group_runs([run]))] == [
        "S: PSNR-Y\nwhole images", "S: PSNR-Y\ntiles of 48",
    ]  # fmt: skip

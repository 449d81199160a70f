"""Studies: what a file of rows comes to, and one that builds its cache, trains and is given again."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.conftest import PROJECT
from tests.train.natural import photographs, torch_home

from dukd_cache import networks
from dukd_cache.format.reader import Cache
from dukd_cache.settings.part import Part
from dukd_cache.system.errors import CacheError, ImageError, SettingError, WeightsError
from dukd_train.cli import study as command
from dukd_train.errors import RunError
from dukd_train.sweeps.study import Study, build_caches
from dukd_train.sweeps.sweep import share

ROWS: dict[str, Any] = {
    "caches": {"few": "/caches/few", "many": {"hr": "photos", "scale": 2}},
    "settings": {"steps": 4, "student": {"architecture": "EDSR", "settings": {"channels": 4, "blocks": 1}}},
    "rows": {
        "scratch": {"method": "scratch"},
        "strict": {"method": "dukd", "loss": {"rec": 5, "zoom_in": {"by": "charbonnier"}}, "caches": ["few"]},
        "compact": {"student": {"architecture": "Compact"}, "caches": ["many"], "seeds": [7]},
    },
    "seeds": [0, 1],
}


def _points(*said: str, **changes: Any) -> list[Any]:
    return Study(**ROWS | changes).points(Path("out"), said)


def test_rows_over_caches_and_seeds() -> None:
    points = {point.name: point.config for point in _points()}
    assert list(points) == [
        *(f"{cache}-scratch,seed={seed}" for cache in ("few", "many") for seed in (0, 1)),
        *(f"few-strict,seed={seed}" for seed in (0, 1)),
        "many-compact,seed=7",
    ]
    scratch, strict = points["many-scratch,seed=1"], points["few-strict,seed=0"]
    assert (scratch.method, scratch.seed, scratch.steps) == ("scratch", 1, 4)
    assert scratch.cache == str(Path("out/caches/many").absolute())
    assert scratch.student.settings == {"channels": 4, "blocks": 1}
    assert (strict.cache, strict.loss.root["rec"].weight, strict.loss.root["kd"].weight) == ("/caches/few", 5, 1)
    assert (strict.loss.root["zoom_in"].by, strict.loss.root["zoom_in"].weight) == ("charbonnier", 1)


def test_a_row_of_another_architecture_has_its_own_settings() -> None:
    (compact,) = [point.config for point in _points() if point.name.startswith("many-compact")]
    assert compact.student.settings == {}


def test_a_setting_of_all_runs_whatever_their_rows_say() -> None:
    points = {point.name: point.config for point in _points("loss.rec=3", "precision=bf16")}
    assert points.keys() == {point.name for point in _points()}
    assert {config.precision for config in points.values()} == {"bf16"}
    assert {config.loss.root["rec"].weight for config in points.values()} == {3}, "of the row strict, too"
    with pytest.raises(SettingError, match=r"^unknown precision 'bf61'"):
        _points("precision=bf61")
    with pytest.raises(SettingError, match=r"few-short,seed=0.*few-long,seed=0"):
        _points("steps=2", rows={"short": {"steps": 3}, "long": {"steps": 5}})


@pytest.mark.parametrize("name", ["cache", "seed"])
def test_what_no_run_would_have_is_refused(name: str) -> None:
    for changes, where in (({"settings": {name: 3}}, "settings"), ({"rows": {"kd": {name: 3}}}, r"rows\.kd")):
        with pytest.raises(SettingError, match=rf"^{where}\.{name}: has no effect here: give it in `{name}s`"):
            _points(**changes)
    with pytest.raises(SettingError, match=rf"^study\.{name}: has no effect here: give it in `{name}s`"):
        _points(f"{name}=3")


def test_a_row_starts_from_the_students_of_another() -> None:
    rows = {
        "kd": {"method": "kd"},
        "tuned": {"after": "kd", "steps": 2, "caches": ["few"]},
        "again": {"after": "tuned", "caches": ["few"]},
    }
    points = {point.name: point for point in _points(rows=rows)}
    tuned, again = points["few-tuned,seed=1"], points["few-again,seed=1"]
    assert (tuned.after, again.after, points["few-kd,seed=1"].after) == ("few-kd,seed=1", "few-tuned,seed=1", "")
    assert tuned.config.student.init == Path("out/few-kd,seed=1").absolute()
    assert tuned.config.student.settings == {"channels": 4, "blocks": 1}
    assert (tuned.config.steps, tuned.config.seed, again.config.steps) == (2, 1, 4)
    parts = [{point.name for point in share(Part(number, 3), [*points.values()])} for number in (1, 2, 3)]
    assert sum(map(len, parts)) == len(points) == len(set.union(*parts))
    for seed in (0, 1):
        chain = {f"few-{row},seed={seed}" for row in rows}
        assert sum(chain <= part for part in parts) == 1


@pytest.mark.parametrize("said", ["student.init=x.pth", "student={architecture: Compact}", "student.init=null"])
def test_a_setting_of_all_runs_does_not_change_what_a_row_starts_from(said: str) -> None:
    rows = {"kd": {"method": "kd"}, "tuned": {"after": "kd", "steps": 2}}
    with pytest.raises(SettingError, match=r"^study\.student\.init: row tuned starts from the students of kd"):
        _points(said, rows=rows)
    points = {point.name: point for point in _points("student.architecture=Compact", rows=rows)}
    tuned = points["few-tuned,seed=1"].config.student
    assert (tuned.architecture, tuned.init) == ("Compact", Path("out/few-kd,seed=1").absolute())


def test_rows_stand_on_a_preset() -> None:
    (first, *_) = _points(config="small", settings={"steps": 7})
    assert (first.config.steps, first.config.student.settings) == (7, {"num_feat": 32, "num_conv": 12})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": {"a": {"caches": ["fwe"]}}}, "rows.a.caches: unknown cache 'fwe': did you mean 'few'?"),
        ({"rows": {"a": {"batch": 0}}}, "rows.a: setting batch: expected a whole number above 0, got 0"),
        (
            {"rows": {"a": {}}, "settings": {"batch": 0}},
            "settings: setting batch: expected a whole number above 0, got 0",
        ),
        ({"settings": {"bacth": 2}}, "settings: unknown setting 'bacth': did you mean 'batch'?"),
        ({"rows": {"a": {"bacth": 2}}}, "rows.a: unknown setting 'bacth': did you mean 'batch'?"),
        (
            {"rows": {"a": {}, "b": {"method": "dukd"}}},
            "rows: few-a,seed=0 and few-b,seed=0 are one run: their settings are equal",
        ),
        ({"rows": {"a": {"after": "b"}, "b": {}}}, "rows.a.after: unknown earlier row 'b'"),
        ({"rows": {"a": {}, "b": {"after": "c"}}}, "rows.b.after: unknown earlier row 'c' (valid: a)"),
        (
            {"rows": {"a": {"caches": ["many"]}, "b": {"after": "a", "caches": ["few"]}}},
            "rows.b.after: a has no run from cache few with seed 0",
        ),
        (
            {"rows": {"a": {}, "b": {"after": "a", "student": {"init": "x.pth"}}}},
            "rows.b.student: is that of a, where it starts; leave it out",
        ),
        ({"rows": {"a/b": {}}}, "setting rows: expected names of letters, digits and _.+=-, got 'a/b'"),
        ({"rows": {}}, "setting rows: "),
        ({"seeds": []}, "setting seeds: "),
        ({"seeds": [0, 1, 0]}, "setting seeds: 0 is given twice"),
        ({"rows": {"a": {"seeds": [2, 2]}}}, "setting rows.a.seeds: 2 is given twice"),
    ],
)
def test_a_mistake_names_its_row(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError) as caught:
        _points(**changes)
    assert str(caught.value).startswith(message)


@pytest.mark.usefixtures("forked_programs")
def test_a_study_builds_its_caches_trains_and_is_given_again(
    tmp_path: Path,
    hr_folder: Path,
    teacher_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(str(PROJECT / root) for root in ("pipeline", "trainer")))
    views = {"base": 2, "zoom_in": 1, "zoom_out": {"crops": 1, "patch": 6}}
    content = ROWS | {
        "caches": {"few": {"hr": str(hr_folder), "teacher": str(teacher_file), "patch": 12, "views": views}},
        "settings": ROWS["settings"] | {"batch": 2, "validation": {"sets": {"V": {"hr": str(hr_folder)}}}},
        "rows": {
            "scratch": {"method": "scratch"},
            "kd": {"method": "kd", "loss": {"kd": 2}},
            "tuned": {"after": "kd", "method": "kd", "steps": 2},
        },
        "seeds": [0],
    }
    file, out = tmp_path / "study.yaml", tmp_path / "out"
    file.write_text(yaml.safe_dump(content))
    asked = Study.load(file)
    with pytest.raises(CacheError, match=r"build it first: dukd-cache build --config \S+ --out \S+few$"):
        build_caches(asked, out, alone=False)
    command(file, out, jobs=2)
    assert len(Cache(out / "caches" / "few")["base"]) == 2 * len([*hr_folder.iterdir()])
    told = capfd.readouterr()
    assert "| few-kd,seed=0 " in told.out
    start = networks.fingerprint(networks.load(out / "few-kd,seed=0"))
    assert json.loads((out / "few-tuned,seed=0" / "run.json").read_text())["init_fingerprint"] == start
    weights = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    assert len(weights) >= 2
    photos = photographs(tmp_path / "photos", count=1)
    file.write_text(yaml.safe_dump(content | {"lr_only": {"photos": str(photos)}}))
    with torch_home(tmp_path / "home", model=True):
        command(file, out, jobs=2)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")} == weights
    scores = json.loads((out / "report" / "scores.json").read_text())
    assert [*scores["few-kd,seed=0"]] == ["V", "photos"]
    assert all([*of["photos"]] == ["niqe"] for of in scores.values())
    assert "Real photographs" in (out / "report" / "report.html").read_text()
    capfd.readouterr()
    other = content | {"rows": content["rows"] | {"kd": {"method": "kd", "loss": {"kd": 3}}}}
    file.write_text(yaml.safe_dump(other))
    with pytest.raises(RunError, match=r"kd,seed=0: holds a finished run with loss.kd"):
        command(file, out)
    assert "study: cache" not in capfd.readouterr().err, "told before caches are looked at"
    build_caches(asked, out, alone=False)
    few = content["caches"]["few"] | {"patch": 10}
    changed = Study(**content | {"caches": {"few": few}})
    for _ in range(2):  # asking changes nothing
        with pytest.raises(CacheError, match=r"few: was not built with the settings that the study has now"):
            build_caches(changed, out, alone=False)
    broken = Study(**content | {"caches": {"few": few | {"teacher": "nowhere.pt"}}})
    with pytest.raises(RunError):
        build_caches(broken, out, alone=True)
    with pytest.raises(CacheError, match="was not built with the settings"):
        build_caches(broken, out, alone=False)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"settings": {"validation": {"sets": {"V": {"hr": "nowhere"}}}}}, ImageError),
        ({"hr": {"V": "nowhere"}}, ImageError),
        ({"lr_only": {"P": "nowhere"}}, ImageError),
        ({"teacher": "nowhere.pt"}, WeightsError),
    ],
)
def test_what_is_missing_at_the_end_is_told_before_anything_is_built(
    changes: dict[str, Any], error: type[Exception], tmp_path: Path
) -> None:
    file, out = tmp_path / "study.yaml", tmp_path / "out"
    file.write_text(yaml.safe_dump(ROWS | changes))
    with pytest.raises(error, match="nowhere"):
        command(file, out)
    assert not out.exists()


FEW = {"scale": 2, "patch": 12, "views": {"base": 2, "zoom_in": 0, "zoom_out": 0}}


@pytest.mark.usefixtures("forked_programs")
@pytest.mark.parametrize(
    ("many", "row", "message"),
    [
        ({"scale": 4}, {}, "`cache`: expected caches of one scale, for one report; few has 2 and many has 4"),
        ({"views": {"base": 0}}, {}, r"^cache many: no view left: one of views\.base, views\.zoom_in"),
        ({"patch": 400}, {}, r"use patch=28 or less, or take the image out \(on_bad_image=skip does\)"),
        ({"viws": {"base": 2}}, {}, "^cache many: unknown setting 'viws': did you mean 'views'"),
        ({}, {"method": "kd"}, "many-a,seed=0: method kd: .*many holds pairs without a teacher; use method scratch"),
        ({}, {"patch": 24}, "many-a,seed=0: patch 24: the cache's patches have 12 pixels"),
        ({}, {"sampling": {"share": 0.5}}, "many-a,seed=0: sampling.by: .*many has no columns"),
        ({}, {"student": {"settings": {"chanels": 4}}}, "many-a,seed=0: .*'chanels'"),
        ({}, {"loss": {"x": {"view": "bas", "to": "truth"}}}, "many-a,seed=0: loss.x: .*unknown view 'bas'"),
    ],
)
def test_what_a_row_cannot_have_is_told_before_anything_is_built(
    many: dict[str, Any],
    row: dict[str, Any],
    message: str,
    tmp_path: Path,
    hr_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(str(PROJECT / root) for root in ("pipeline", "trainer")))
    few = FEW | {"hr": str(hr_folder)}
    caches = {"few": few, "many": few | {"seed": 1} | many}
    rows = {"fine": {"caches": ["few"]}, "a": {"caches": ["many"]} | row}
    settings = {"method": "scratch", "student": {"architecture": "EDSR", "settings": {"channels": 4, "blocks": 1}}}
    file, out = tmp_path / "study.yaml", tmp_path / "out"
    file.write_text(yaml.safe_dump({"caches": caches, "settings": settings, "rows": rows}))
    with pytest.raises((SettingError, RunError), match=message):
        command(file, out)
    assert not out.exists()


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    """The photographs' own, for example: runs and shards among them are hard to sort out."""
    file, out = tmp_path / "study.yaml", tmp_path / "photos"
    file.write_text(yaml.safe_dump(ROWS))
    out.mkdir()
    (out / ".hidden").touch()
    (out / "a.png").touch()
    with pytest.raises(RunError, match=r"photos: holds something that is no sweep \(a.png\); choose another `out`"):
        command(file, out)
    assert sorted(path.name for path in out.iterdir()) == [".hidden", "a.png"]


def test_a_build_that_fails_ends_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(str(PROJECT / root) for root in ("pipeline", "trainer")))
    asked = Study(**ROWS | {"caches": {"few": {"hr": str(tmp_path / "nowhere"), "scale": 2}}, "rows": {"a": {}}})
    with pytest.raises(RunError, match=r"^cache few: its build ended with exit code 2$"):
        build_caches(asked, tmp_path, alone=True)

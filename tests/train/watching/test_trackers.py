"""TensorBoard and DVCLive, read back with their own readers: every step once, also where a run goes on."""

import csv
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.train.interruptions import in_step, interrupt

from dukd_cache.system.errors import SettingError
from dukd_train.core.run import run
from dukd_train.settings import TrainConfig

Settings = Callable[..., TrainConfig]
Stopped = Callable[[dict[str, Any]], Path]


@pytest.fixture
def resumed(settings_of: Settings, tmp_path: Path, hr_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Stopped:
    """A run of 6 steps with a checkpoint after the 4th, stopped in the 6th and taken up again; rows every 1."""

    def train(logging: dict[str, Any]) -> Path:
        validation = {"every": 4, "sets": {"V": {"hr": hr_folder}}}
        config = settings_of(method="kd", steps=6, checkpoint_every=4, validation=validation, logging=logging)
        with monkeypatch.context() as patch:
            in_step(6, interrupt, patch)
            with pytest.raises(KeyboardInterrupt):
                run(config, tmp_path / "run")
        run(config, tmp_path / "run")
        return tmp_path / "run"

    return train


def curve(folder: Path, column: str) -> list[tuple[int, float]]:
    with (folder / "curve.csv").open(newline="") as stream:
        return [(int(row["step"]), float(row[column])) for row in csv.DictReader(stream)]


def test_tensorboard_has_every_step_once(resumed: Stopped) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = resumed({"tensorboard": True})
    assert len(list((folder / "tensorboard").iterdir())) == 2  # sittings
    events = EventAccumulator(str(folder / "tensorboard"), purge_orphaned_data=True).Reload()
    for tag, column in (("loss/total", "total"), ("loss/rec", "rec"), ("loss/kd", "kd")):
        found = [(event.step, event.value) for event in events.Scalars(tag)]
        expected = curve(folder, column)
        assert [step for step, _ in found] == [step for step, _ in expected] == [1, 2, 3, 4, 5, 6]
        assert [value for _, value in found] == pytest.approx([value for _, value in expected], abs=1e-6)
    assert [event.step for event in events.Scalars("V/psnr_y")] == [4, 6]
    assert {"lr", "images_per_second", "waiting", "V/ssim_y"} <= set(events.Tags()["scalars"])
    assert events.Tags()["tensors"] == ["settings/text_summary"]


def test_dvclive_has_every_step_once(resumed: Stopped, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("dvclive")
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    folder = resumed({"dvclive": True}) / "dvclive"

    def series(name: str) -> list[tuple[int, float]]:
        with (folder / "plots" / "metrics" / f"{name}.tsv").open(newline="") as stream:
            rows = list(csv.DictReader(stream, delimiter="\t"))
        return [(int(row["step"]), float(row[name.rsplit("/", 1)[-1]])) for row in rows]

    expected = curve(folder.parent, "rec")
    assert [step for step, _ in series("loss/rec")] == [step for step, _ in expected]
    assert [value for _, value in series("loss/rec")] == pytest.approx([value for _, value in expected], abs=1e-6)
    assert [step for step, _ in series("V/psnr_y")] == [4, 6]
    latest = json.loads((folder / "metrics.json").read_text())
    assert latest["step"] == 6
    assert latest["loss"]["total"] == pytest.approx(curve(folder.parent, "total")[-1][1], abs=1e-6)
    assert yaml.safe_load((folder / "params.yaml").read_text())["method"] == "kd"
    described = yaml.safe_load((folder / "dvc.yaml").read_text())
    assert described["metrics"] == ["metrics.json"]


def test_dvclive_leaves_linked_files_as_they_are(settings_of: Settings, tmp_path: Path) -> None:
    """As where DVC checked the run folder out as links to its cache, and this process may write to them."""
    pytest.importorskip("dvclive")
    logging = {"dvclive": True}
    run(settings_of(steps=2, schedule={}, logging=logging), tmp_path / "run")
    held = tmp_path / "cache"
    shutil.copytree(tmp_path / "run", held, copy_function=os.link)
    before = {path: path.read_bytes() for path in held.rglob("*") if path.is_file()}
    run(settings_of(steps=4, schedule={}, logging=logging), tmp_path / "run")
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("name", ["tensorboard", "dvclive"])
def test_a_missing_library_is_named_before_anything_is_written(
    settings_of: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for module in ("torch.utils.tensorboard", "dvclive", "dvclive.live"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SettingError, match=rf"logging\.{name}: needs {name}: pip install ") as caught:
        run(settings_of(logging={name: True}), tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_nothing_is_loaded_or_written_unasked(settings_of: Settings, tmp_path: Path) -> None:
    run(settings_of(steps=1), tmp_path / "run")
    assert not (tmp_path / "run" / "tensorboard").exists()
    assert not (tmp_path / "run" / "dvclive").exists()

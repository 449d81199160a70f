"""Settings: the paper's defaults, from a file and from `--set`, and back into a file."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from dukd_cache.settings.model import dump, validated
from dukd_cache.system import terminal
from dukd_cache.system.errors import SettingError
from dukd_train.objective import KNOWN
from dukd_train.settings import ImageSet, TrainConfig


def test_defaults_are_the_papers() -> None:
    made = validated(TrainConfig, {"cache": "c"})
    assert made.method == "dukd"
    assert (made.steps, made.batch, made.ema) == (250_000, 16, 0.999)
    assert (made.optimizer.lr, made.optimizer.betas, made.optimizer.weight_decay) == (1e-4, (0.9, 0.99), 0.0)
    assert made.optimizer.clip is None
    assert (made.schedule.kind, made.schedule.milestones, made.schedule.gamma) == ("multistep", (100_000, 200_000), 0.1)
    assert {name: (term.by, term.weight) for name, term in made.loss.root.items()} == {
        **dict.fromkeys(KNOWN, ("l1", 1.0)),
        "gan": ("gan", 0.1),
    }
    chances = made.augment.zoom.model_dump()
    assert chances.pop("permute") == made.augment.base.permute == 0.0
    assert set(chances.values()) == {0.3}
    assert made.augment.base.invert == 0.0
    assert made.patch is None


def test_one_chance_can_be_set_alone() -> None:
    made = validated(TrainConfig, {"cache": "c", "augment": {"base": {"invert": 0.1}, "zoom": {"transpose": 0}}})
    half, rarely = dict.fromkeys(("hflip", "vflip", "transpose"), 0.5), dict.fromkeys(("hflip", "vflip"), 0.3)
    assert made.augment.base.model_dump() == half | {"invert": 0.1, "permute": 0.0}
    assert made.augment.zoom.model_dump() == rarely | {"transpose": 0.0, "invert": 0.3, "permute": 0.0}


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        validated(TrainConfig, {"cache": "c"}).steps = 1


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("steps=7", {"steps": 7}),
        ("cache=a=b", {"cache": "a=b"}),
        ("optimizer.lr=2e-4", {"optimizer": {"lr": 0.0002}}),
        ("student.settings.channels=8", {"student": {"settings": {"channels": 8}}}),
        ("schedule.milestones=[5, 6]", {"schedule": {"milestones": [5, 6]}}),
        ("validation.sets.Set5.hr=a.b/c", {"validation": {"sets": {"Set5": {"hr": "a.b/c"}}}}),
        ("optimizer=", {}),
        ("patch=null", {}),
    ],
)
def test_set_makes_what_a_file_would_hold(tmp_path: Path, override: str, expected: dict[str, Any]) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("cache: c\noptimizer:\n")
    assert TrainConfig.load(path, None, [override]) == validated(TrainConfig, {"cache": "c"} | expected)


def test_set_changes_only_what_it_names_and_the_last_one_counts(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("train: {cache: c, optimizer: {lr: 0.5, clip: 2}}\n")
    made = TrainConfig.load(path, "train", ["optimizer.lr=0.25", "steps=3", "steps=4"])
    assert made == validated(TrainConfig, {"cache": "c", "optimizer": {"lr": 0.25, "clip": 2}, "steps": 4})


@pytest.mark.parametrize(
    ("overrides", "settings", "told"),
    [
        (["student.architecture=SPAN"], {}, "student.settings of EDSR do not count for SPAN: channels, blocks"),
        (
            ["student.settings.feature_channels=8", "student.architecture=SPAN"],
            {"feature_channels": 8},
            "student.settings of EDSR do not count for SPAN: channels, blocks",
        ),
        (["student.architecture=SPAN", "student.settings={feature_channels: 8}"], {"feature_channels": 8}, ""),
        (["student.architecture=edsr", "student.settings.blocks=3"], {"channels": 6, "blocks": 3}, ""),
    ],
)
def test_settings_of_another_architecture_are_dropped(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    overrides: list[str],
    settings: dict[str, Any],
    told: str,
) -> None:
    monkeypatch.setattr(terminal, "_TOLD", set())
    (tmp_path / "c.yaml").write_text("cache: c\nstudent: {settings: {channels: 6, blocks: 2}}\n")
    made = TrainConfig.load(tmp_path / "c.yaml", None, overrides)
    assert made.student.settings == settings
    assert capsys.readouterr().err == (f"{told}\n" if told else "")


def test_a_warmup_beyond_the_run_is_shortened(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(terminal, "_TOLD", set())
    made = validated(TrainConfig, {"cache": "c", "steps": 9, "schedule": {"warmup": 10, "gamma": 0.5}})
    assert (made.schedule.warmup, made.schedule.gamma) == (9, 0.5)
    assert capsys.readouterr().err == "schedule.warmup: 10 is more than the 9 steps of the run: all of them warm up\n"


def test_what_set_says_is_validated(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("cache: c\n")
    with pytest.raises(SettingError, match=r"unknown setting 'optimizer\.rl': did you mean 'optimizer\.lr'"):
        TrainConfig.load(path, None, ["optimizer.rl=3"])


def test_paths_are_absolute_and_may_begin_at_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.chdir(tmp_path)
    made = validated(TrainConfig, {"cache": "~/c", "validation": {"sets": {"A": {"hr": "x/hr", "lr": "/y"}}}})
    assert made.cache == "/home/someone/c"
    assert validated(TrainConfig, {"cache": "s3://bucket/c"}).cache == "s3://bucket/c"
    assert (
        validated(TrainConfig, {"cache": "file:///data/c"}).cache
        == validated(TrainConfig, {"cache": "file:/data/c"}).cache
        == "/data/c"
    )
    assert made.validation.sets["A"] == ImageSet(hr=tmp_path / "x" / "hr", lr=Path("/y"))
    (tmp_path / "c.yaml").write_text(dump(made))
    monkeypatch.chdir("/")
    assert TrainConfig.load(tmp_path / "c.yaml") == made


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("cache=s3:/bucket/c", "setting cache: s3:/bucket/c: did you mean s3://bucket/c?"),
        (
            "student.init=https://host/x.pth",
            "setting student.init: https://host/x.pth: expected a file or folder of this",
        ),
        (
            "validation.sets={A: {hr: 's3://b/hr'}}",
            "setting validation.sets.A.hr: s3://b/hr: expected a file or folder of",
        ),
    ],
)
def test_places_that_cannot_be(change: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("cache: c")
    with pytest.raises(SettingError) as caught:
        TrainConfig.load(tmp_path / "c.yaml", None, [change])
    assert str(caught.value).startswith(says)


@pytest.mark.parametrize(
    "content",
    [
        {"cache": "c"},
        {
            "cache": "/a b/c: d",
            "method": "kd",
            "patch": 24,
            "optimizer": {"lr": 3.3e-5, "betas": [0.8, 0.95], "clip": 0.5},
            "schedule": {"kind": "cosine", "milestones": [], "warmup": 3},
            "student": {"architecture": "SwinIR", "settings": {"depths": [2, 2], "resi_connection": "1conv"}},
            "validation": {"every": 5, "sets": {"No": {"hr": "on"}, "B": {"hr": "x", "lr": "y"}}},
            "seed": 2**63 - 1,
        },
    ],
)
def test_dump_is_read_back(tmp_path: Path, content: dict[str, Any]) -> None:
    made = validated(TrainConfig, content)
    path = tmp_path / "c.yaml"
    path.write_text(dump(made))
    assert TrainConfig.load(path) == made
    assert set(yaml.safe_load(path.read_text())) == set(TrainConfig.model_fields)

"""Settings: the paper's defaults, users' mistakes and the line each of them gets."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from dukd_cache.errors import SettingError
from dukd_train import config
from dukd_train.config import TrainConfig, validated

OF_RUN = (
    "augment, batch, cache, checkpoint_every, device, ema, log_every, loss, method, "
    "optimizer, patch, precision, schedule, seed, steps, student, validation"
)
OF_OPTIMIZER = "betas, clip, lr, weight_decay"


def test_defaults_are_the_papers() -> None:
    made = validated({"cache": "c"})
    assert made.method == "dukd"
    assert (made.steps, made.batch, made.ema) == (250_000, 16, 0.999)
    assert (made.optimizer.lr, made.optimizer.betas, made.optimizer.weight_decay) == (1e-4, (0.9, 0.99), 0.0)
    assert made.optimizer.clip is None
    assert (made.schedule.kind, made.schedule.milestones, made.schedule.gamma) == ("multistep", (100_000, 200_000), 0.1)
    assert (made.loss.rec, made.loss.kd, made.loss.zoom_in) == (1.0, 1.0, 1.0)
    assert set(made.augment.zoom.model_dump().values()) == {0.3}
    assert made.augment.base.invert == 0.0
    assert made.patch is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "setting cache is missing"),
        ({"cahce": "c"}, "unknown setting 'cahce': did you mean 'cache'? (valid: " + OF_RUN + ")"),
        ({"cache": "c", "qqqq": 1}, "unknown setting 'qqqq': (valid: " + OF_RUN + ")"),
        (
            {"cache": "c", "optimizer": {"Lr": 1}},
            "unknown setting in optimizer 'Lr': did you mean 'lr'? (valid: " + OF_OPTIMIZER + ")",
        ),
        (
            {"cache": "c", "augment": {"zoom": {"flip": 1}}},
            "unknown setting in augment.zoom 'flip': did you mean 'vflip'? (valid: hflip, invert, transpose, vflip)",
        ),
        (
            {"cache": "c", "validation": {"sets": {"Set5": {"hr": "x", "lrs": "y"}}}},
            "unknown setting in validation.sets.Set5 'lrs': did you mean 'lr'? (valid: hr, lr)",
        ),
        ({"cache": "c", "validation": {"sets": {"Set5": {}}}}, "setting validation.sets.Set5.hr is missing"),
        (
            {"cache": "c", "method": "dudk"},
            "unknown method 'dudk': did you mean 'dukd'? (valid: dukd, kd, scratch)",
        ),
        (
            {"cache": "c", "schedule": {"kind": "cosinus"}},
            "unknown schedule.kind 'cosinus': did you mean 'cosine'? (valid: cosine, multistep)",
        ),
        ({"cache": "c", "method": 3}, "setting method: should be 'scratch', 'kd' or 'dukd', got 3"),
        ({"cache": "c", "steps": 0}, "setting steps: should be greater than 0, got 0"),
        ({"cache": "c", "steps": -5}, "setting steps: should be greater than 0, got -5"),
        (
            {"cache": "c", "steps": "many"},
            "setting steps: should be a valid integer, unable to parse string as an integer, got 'many'",
        ),
        (
            {"cache": "c", "steps": 1.5},
            "setting steps: should be a valid integer, got a number with a fractional part, got 1.5",
        ),
        ({"cache": "c", "seed": -1}, "setting seed: should be greater than or equal to 0, got -1"),
        ({"cache": "c", "patch": 0}, "setting patch: should be greater than 0, got 0"),
        ({"cache": "c", "loss": {"kd": -1}}, "setting loss.kd: should be greater than or equal to 0, got -1"),
        ({"cache": "c", "ema": 2}, "setting ema: should be less than or equal to 1, got 2"),
        (
            {"cache": "c", "optimizer": {"betas": [0.9, 9]}},
            "setting optimizer.betas.1: should be less than or equal to 1, got 9",
        ),
        (
            {"cache": "c", "schedule": {"milestones": [5, 0]}},
            "setting schedule.milestones.1: should be greater than 0, got 0",
        ),
        (
            {"cache": "c", "student": "EDSR"},
            "setting student: should be a valid dictionary or instance of Student, got 'EDSR'",
        ),
        ({"cache": 3}, "setting cache: should be a path, got 3"),
    ],
)
def test_each_mistake_gets_one_line(content: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError) as caught:
        validated(content)
    assert str(caught.value) == message


def test_one_chance_can_be_set_alone() -> None:
    made = validated({"cache": "c", "augment": {"base": {"invert": 0.1}, "zoom": {"transpose": 0}}})
    assert made.augment.base.model_dump() == {"hflip": 0.5, "vflip": 0.5, "transpose": 0.5, "invert": 0.1}
    assert made.augment.zoom.model_dump() == {"hflip": 0.3, "vflip": 0.3, "transpose": 0.0, "invert": 0.3}


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        validated({"cache": "c"}).steps = 1


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("steps=7", ("steps",), 7),
        ("cache=a=b", ("cache",), "a=b"),
        ("optimizer.lr=2e-4", ("optimizer", "lr"), "2e-4"),
        ("student.settings.channels=8", ("student", "settings", "channels"), 8),
        ("schedule.milestones=[5, 6]", ("schedule", "milestones"), [5, 6]),
        ("validation.sets.Set5.hr=a.b/c", ("validation", "sets", "Set5", "hr"), "a.b/c"),
        ("patch=null", ("patch",), None),
        ("patch=", ("patch",), None),
    ],
)
def test_set_makes_what_a_file_would_hold(tmp_path: Path, override: str, path: tuple[str, ...], value: object) -> None:
    file, longhand = tmp_path / "c.yaml", tmp_path / "longhand.yaml"
    content: dict[str, Any] = {"cache": "c"}
    file.write_text(yaml.safe_dump(content))
    inner = content
    for name in path[:-1]:
        inner[name] = {}
        inner = inner[name]
    inner[path[-1]] = value
    longhand.write_text(yaml.safe_dump(content))
    made = config.load(file, None, [override])
    assert made == config.load(longhand, None, [])
    assert path == ("patch",) or made != config.validated({"cache": "c"})


def test_set_changes_only_what_it_names(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("cache: c\noptimizer: {lr: 0.5, clip: 2}\n")
    made = config.load(path, None, ["optimizer.lr=0.25", "steps=3", "steps=4"])
    assert (made.optimizer.lr, made.optimizer.clip, made.steps) == (0.25, 2.0, 4)


def test_set_leaves_a_value_alone_that_shares_an_anchor(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("cache: c\naugment:\n  base: &often {hflip: 0.9, vflip: 0.9}\n  zoom: *often\n")
    made = config.load(path, None, ["augment.zoom.hflip=0.1"])
    assert (made.augment.base.hflip, made.augment.zoom.hflip) == (0.9, 0.1)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("steps", "--set steps: expected key=value, like optimizer.lr=2e-4"),
        ("=3", "--set =3: expected key=value, like optimizer.lr=2e-4"),
        ("steps.x=3", "--set steps.x=3: steps is a value, not a group of settings"),
        ("loss.kd.x=3", "--set loss.kd.x=3: loss.kd is a value, not a group of settings"),
        ("steps=[", "--set steps=[: '[' is not a YAML value"),
        ("optimiser.lr=3", "unknown setting 'optimiser': did you mean 'optimizer'? (valid: " + OF_RUN + ")"),
        ("optimizer.rl=3", "unknown setting in optimizer 'rl': did you mean 'lr'? (valid: " + OF_OPTIMIZER + ")"),
        ("optimizer.lr=-1", "setting optimizer.lr: should be greater than 0, got -1"),
    ],
)
def test_set_refuses(tmp_path: Path, override: str, message: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("cache: c\nsteps: 5\nloss: {kd: 1}\n")
    with pytest.raises(SettingError) as caught:
        config.load(path, None, [override])
    assert str(caught.value) == message


def test_section(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("build: {patch: 32}\nstudents: {steps: 3, cache: c}\nnote: none\n")
    assert config.load(path, "students", ["seed=4"]) == validated({"cache": "c", "steps": 3, "seed": 4})
    with pytest.raises(SettingError) as caught:
        config.load(path, "student", [])
    valid = "(valid: build, note, students)"
    assert str(caught.value) == f"{path}: unknown section 'student': did you mean 'students'? {valid}"
    with pytest.raises(SettingError) as caught:
        config.load(path, "note", [])
    assert str(caught.value) == f"{path}: section note: expected settings by name, found str"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such config file"),
        ("a: [1,\nb: }", "not a YAML file (while parsing a flow node"),
        ("- 1\n- 2\n", "expected settings by name, found list"),
        ("", "expected settings by name, found nothing"),
        ("just words", "expected settings by name, found str"),
    ],
)
def test_unusable_files(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "c.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SettingError) as caught:
        config.load(path, None, [])
    assert str(caught.value).startswith(f"{path}: {message}")
    assert "\n" not in str(caught.value)


def test_bytes_and_folders_are_no_config(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(b"\xff\xfe\x00\x81")
    for unusable in (path, tmp_path):
        with pytest.raises(SettingError, match="not a YAML file"):
            config.load(unusable, None, [])


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
    made = validated(content)
    path = tmp_path / "c.yaml"
    path.write_text(config.dump(made))
    assert config.load(path, None, []) == made
    assert set(yaml.safe_load(path.read_text())) == set(TrainConfig.model_fields)

"""Every kind of mistake in settings, at every setting, and the one line that it gets."""

from typing import Any

import pytest

from dukd_cache.settings.model import validated
from dukd_cache.settings.roles import called_here
from dukd_cache.settings.schema import names_in, paths, schema_of, settings
from dukd_cache.system.errors import SettingError
from dukd_train.settings import TrainConfig

SCHEMA = schema_of(TrainConfig)
TOP = ", ".join(sorted(TrainConfig.model_fields))


def content(path: tuple[str, ...], value: object) -> dict[str, Any]:
    """Settings that are complete but for one value."""
    made: dict[str, Any] = {"cache": "c"}
    if path[:2] == ("loss", "Set5"):
        made["loss"] = {"Set5": {"view": "base", "to": "truth"}}
    group = made
    for name in path[:-1]:
        group[name] = dict(group.get(name, {}))
        group = group[name]
    group[path[-1]] = value
    if path[:2] == ("validation", "sets") and path[-1] == "lr":
        group["hr"] = "x"
    return made


def line(given: dict[str, Any]) -> str:
    with pytest.raises(SettingError) as caught:
        validated(TrainConfig, given)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        # names
        ({}, "setting cache is missing: expected a path"),
        ({"cahce": "c"}, f"unknown setting 'cahce': did you mean 'cache'? (valid: {TOP})"),
        ({"cache": "c", "qqqq": 1}, f"unknown setting 'qqqq' (valid: {TOP})"),
        ({"cache": "c", "Steps": 1}, f"unknown setting 'Steps': did you mean 'steps'? (valid: {TOP})"),
        ({"cache": "c", "lr": 1}, f"unknown setting 'lr': did you mean 'optimizer.lr'? (valid: {TOP})"),
        ({"cache": "c", "kd": 1}, f"unknown setting 'kd': did you mean 'loss.kd'? (valid: {TOP})"),
        ({"cache": "c", "total_iter": 1}, f"unknown setting 'total_iter': did you mean 'steps'? (valid: {TOP})"),
        (
            {"cache": "c", "optimizer": {"Lr": 1}},
            "unknown setting 'optimizer.Lr': did you mean 'optimizer.lr'? "
            f"(valid: {', '.join(names_in(SCHEMA, ('optimizer',)))})",
        ),
        (
            {"cache": "c", "augment": {"hflip": 1}},
            "unknown setting 'augment.hflip': did you mean 'augment.base.hflip' or 'augment.zoom.hflip' "
            "or 'augment.zoom_out.hflip'? "
            f"(valid: {', '.join(names_in(SCHEMA, ('augment',)))})",
        ),
        (
            {"cache": "c", "augment": {"zoom": {"flip": 1}}},
            "unknown setting 'augment.zoom.flip': did you mean 'augment.zoom.vflip'? "
            f"(valid: {', '.join(names_in(SCHEMA, ('augment', 'zoom')))})",
        ),
        (
            {"cache": "c", "validation": {"sets": {"Set5": {"hr": "x", "lrs": "y"}}}},
            "unknown setting 'validation.sets.Set5.lrs': did you mean 'validation.sets.Set5.lr'? (valid: hr, lr)",
        ),
        (
            {"cache": "c", "validation": {"sets": {"A": {}}}},
            "setting validation.sets.A: expected hr, a folder of HR images, or lr alone",
        ),
        # words
        (
            {"cache": "c", "method": "dudk"},
            "unknown method 'dudk': did you mean 'dukd'? (valid: dukd, dukd-gan, kd, scratch)",
        ),
        (
            {"cache": "c", "schedule": {"kind": "cosinus"}},
            "unknown schedule.kind 'cosinus': did you mean 'cosine'? (valid: constant, cosine, multistep)",
        ),
        ({"cache": "c", "method": 3}, "setting method: expected scratch, kd, dukd or dukd-gan, got 3"),
        ({"cache": "c", "method": None}, "setting method: expected scratch, kd, dukd or dukd-gan, got null"),
        ({"cache": "c", "scale": 5}, "setting scale: expected 2, 3, 4 or null, got 5"),
        ({"cache": "c", "scale": "four"}, "setting scale: expected 2, 3, 4 or null, got 'four'"),
        # numbers
        ({"cache": "c", "steps": 0}, "setting steps: expected a whole number above 0, got 0"),
        ({"cache": "c", "steps": -5}, "setting steps: expected a whole number above 0, got -5"),
        ({"cache": "c", "steps": 1.5}, "setting steps: expected a whole number above 0, got 1.5"),
        ({"cache": "c", "steps": "many"}, "setting steps: expected a whole number above 0, got 'many'"),
        ({"cache": "c", "steps": [5]}, "setting steps: expected a whole number above 0, got [5]"),
        ({"cache": "c", "steps": True}, "setting steps: expected a whole number above 0, got true"),
        ({"cache": "c", "steps": None}, "setting steps: expected a whole number above 0, got null"),
        ({"cache": "c", "steps": "x" * 200}, f"setting steps: expected a whole number above 0, got '{'x' * 78}…"),
        ({"cache": "c", "patch": 0}, "setting patch: expected a whole number above 0 or null, got 0"),
        ({"cache": "c", "seed": -1},
         "setting seed: expected a whole number of at least 0 and below 9223372036854775808, got -1"),
        ({"cache": "c", "loss": {"kd": -1}}, "setting loss.kd: expected a number of at least 0, got -1"),
        ({"cache": "c", "loss": {"kd": float("nan")}}, "setting loss.kd: expected a number of at least 0, got nan"),
        ({"cache": "c", "loss": {"kd": float("inf")}}, "setting loss.kd: expected a number of at least 0, got inf"),
        ({"cache": "c", "optimizer": {"lr": "fast"}}, "setting optimizer.lr: expected a number above 0, got 'fast'"),
        ({"cache": "c", "optimizer": {"clip": 0}}, "setting optimizer.clip: expected a number above 0 or null, got 0"),
        ({"cache": "c", "ema": 2}, "setting ema: expected a number from 0 to 1, got 2"),
        # lists
        (
            {"cache": "c", "optimizer": {"betas": [0.9]}},
            "setting optimizer.betas: expected a list of 2, each a number of at least 0 and below 1, got [0.9]",
        ),
        (
            {"cache": "c", "optimizer": {"betas": 0.9}},
            "setting optimizer.betas: expected a list of 2, each a number of at least 0 and below 1, got 0.9",
        ),
        (
            {"cache": "c", "optimizer": {"betas": [0.9, 1]}},
            "setting optimizer.betas[1]: expected a number of at least 0 and below 1, got 1",
        ),
        (
            {"cache": "c", "schedule": {"milestones": 5}},
            "setting schedule.milestones: expected a list, each a whole number above 0, got 5",
        ),
        (
            {"cache": "c", "schedule": {"milestones": {"0": 5}}},
            "setting schedule.milestones: expected a list, each a whole number above 0, got {'0': 5}",
        ),
        (
            {"cache": "c", "schedule": {"milestones": [5, 0]}},
            "setting schedule.milestones[1]: expected a whole number above 0, got 0",
        ),
        # groups and paths
        ({"cache": "c", "student": "EDSR"}, "setting student: expected settings by name, got 'EDSR'"),
        ({"cache": "c", "student": {"settings": [1]}}, "setting student.settings: expected settings by name, got [1]"),
        (
            {"cache": "c", "validation": {"sets": {"Set5": "x"}}},
            "setting validation.sets.Set5: expected settings by name, got 'x'",
        ),
        ({"cache": 3}, "setting cache: expected a path, got 3"),
        # combinations
        (
            {"cache": "c", "schedule": {"milestones": [5, 9, 7]}},
            "setting schedule.milestones: must increase, got 7 after 9",
        ),
        (
            {"cache": "c", "schedule": {"milestones": [5, 5]}},
            "setting schedule.milestones: must increase, got 5 after 5",
        ),
    ],
)  # fmt: skip
def test_each_mistake_gets_one_line(given: dict[str, Any], message: str) -> None:
    assert line(given) == message


def test_settings_of_a_network_at_the_wrong_level() -> None:
    message = line({"cache": "c", "student": {"channels": 8}})
    assert message.startswith("unknown setting 'student.channels': did you mean 'student.settings.channels'? (valid: ")


SETTINGS = {
    ".".join(path): (tuple(part.replace("*", "Set5") for part in path), node) for path, node in settings(SCHEMA)
}


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_refuses_what_is_of_another_kind(name: str) -> None:
    path, node = SETTINGS[name]
    kinds = {choice.get("type", "enum") for choice in node.get("anyOf", [node])}
    shown = ".".join(path)
    for value, fits in {
        "?": {"string", "enum"},
        True: {"boolean"},
        -1: set(),
        float("nan"): set(),
        float("inf"): set(),
        3j: set(),
    }.items():
        if not kinds & fits:
            assert line(content(path, value)).startswith(f"setting {shown}: expected ")
    if "array" not in kinds:
        assert line(content(path, [[]])).startswith(f"setting {shown}: expected ")
    if not kinds & {"null", "object"}:
        assert line(content(path, None)).startswith(f"setting {shown}: expected ")
    if kinds & {"integer", "number"} and "enum" not in str(node):  # quotes do not matter; nor does 1e3 for 1000
        as_text, whole, real = (validated(TrainConfig, content(path, one)) for one in ("1", 1, 1.0))
        assert as_text == whole == real


@pytest.mark.parametrize("path", list(paths(SCHEMA)), ids=".".join)
def test_a_misspelt_name_is_mended_at_every_depth(path: tuple[str, ...]) -> None:
    twisted = path[-1] + path[-1][-1]
    message = line(content((*path[:-1], twisted), 1))
    given, meant = ".".join((*path[:-1], twisted)), ".".join(path)
    assert message.startswith(f"unknown setting '{given}': did you mean '{meant}'? (valid: ")


LEAVES = {path for path, node in settings(SCHEMA) if node.get("type") != "object"}


@pytest.mark.parametrize("path", [path for path in paths(SCHEMA) if path not in LEAVES], ids=".".join)
def test_an_empty_group_has_its_defaults(path: tuple[str, ...]) -> None:
    assert validated(TrainConfig, content(path, None)) == validated(TrainConfig, {"cache": "c"})


def test_names_of_other_programs_lead_to_settings_that_exist() -> None:
    existing = {".".join(path) for path in paths(SCHEMA)}
    others = called_here(SCHEMA)
    assert set(others.values()) <= existing
    assert len(others) > 15
    for theirs, ours in others.items():
        assert f"'{theirs}': did you mean '{ours}'?" in line({"cache": "c", theirs: 1})

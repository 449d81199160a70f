"""docs/settings.md: its tables of all settings, and of what other trainers call them."""

import re
from pathlib import Path

import pytest
from tests.conftest import PROJECT

from dukd_cache.command_line.options import options_of
from dukd_cache.commands.config import VIEWS, CacheConfig
from dukd_cache.settings import reference, schema
from dukd_cache.settings.presets import names
from dukd_cache.settings.roles import called_here
from dukd_cache.settings.schema import paths, schema_of
from dukd_train.settings import FREE, TrainConfig, with_role

SCHEMA = schema_of(TrainConfig)
PAGE = (PROJECT / "docs" / "settings.md").read_text()
CACHE = PAGE.partition("\n## Settings of a cache\n")[2]
TABLE = PAGE.partition("## What other trainers call it")[2].partition("## All settings")[0]
FOREIGN = re.findall(r"^\| (`[a-z].*?) \|(.*?)\| (.*) \|$", TABLE, re.MULTILINE)


def test_the_page_has_all_settings_as_they_are() -> None:
    """If not: `make docs`."""
    of_training = PAGE.partition("\n## Settings of a training\n")[2].removesuffix(CACHE)
    assert of_training.rpartition("\n## ")[0].strip() == reference.markdown(SCHEMA).strip()
    assert CACHE.strip() == reference.markdown(schema_of(CacheConfig)).strip()


def test_each_setting_has_one_row() -> None:
    rows = re.findall(r"^\| `([^`]+)` \|", reference.markdown(SCHEMA), re.MULTILINE)
    assert sorted(rows) == sorted(".".join(path).replace("*", "NAME") for path, _ in schema.settings(SCHEMA))


def test_rows_say_what_is_taken_and_what_is_the_default() -> None:
    text = reference.markdown(SCHEMA)
    assert "| `cache` | a path | must be given | " in text
    assert "| `optimizer.lr` | a number above 0 | `0.0001` | " in text
    assert "| `patch` | a whole number above 0 or null | `null` | " in text
    assert "### validation.sets.NAME\n\nA set of images to score on.\n\n" in text


def test_other_trainers_names_lead_to_settings_that_exist() -> None:
    existing = {".".join(path) for path in paths(SCHEMA)}
    assert len(FOREIGN) > 20
    for theirs, _, ours in FOREIGN:
        named = [name for name in re.findall(r"`([^`]+)`", ours) if name in existing]
        assert named or "dukd-cache" in ours or ours.startswith("none"), theirs


@pytest.mark.parametrize("name", called_here(SCHEMA))
def test_hints_of_error_messages_agree_with_the_table(name: str) -> None:
    row = next(row for row in FOREIGN if f"`{name}`" in f"{row[0]} {row[1]}")
    assert f"`{called_here(SCHEMA)[name]}`" in row[2]


def test_the_page_about_training_names_what_may_change() -> None:
    row = re.search(r"^\| (.*) \| may change;", (PROJECT / "docs" / "training.md").read_text(), re.MULTILINE)
    assert row is not None
    assert sorted(re.findall(r"`([\w.]+)`", row[1])) == sorted(with_role(FREE))


OF_A_CACHE = PAGE.partition("\n## A cache's file and options\n")[2].partition("\n## ")[0]
OVERRIDES = re.findall(r"--set (?:'([^']+)'|([^\s`]+=[^\s`]+))", PAGE.replace(OF_A_CACHE, ""))


@pytest.mark.parametrize("override", [quoted or bare for quoted, bare in OVERRIDES if bare != "a.b=value"])
def test_what_the_page_sets_can_be_set(override: str) -> None:
    default = TrainConfig.load("edsr_x4")
    assert TrainConfig.load("edsr_x4", None, [override]) != default


def test_the_pages_cache_can_be_asked_for(tmp_path: Path) -> None:
    example, *commands = re.findall(r"^```(?:yaml|bash)\n(.*?)^```$", OF_A_CACHE, re.MULTILINE | re.DOTALL)
    (tmp_path / "cache.yaml").write_text(example)
    found = CacheConfig.load(tmp_path / "cache.yaml")
    assert {view: found.crops(view) for view in VIEWS} == {"base": 8, "zoom_in": 4, "zoom_out": 4}
    overrides = re.findall(r"--set (\S+)", "".join(commands))
    assert CacheConfig.load(tmp_path / "cache.yaml", None, overrides).crops("zoom_in") == 8
    options = {option.word for option in options_of(CacheConfig)}
    assert {*re.findall(r"--[a-z][a-z-]+", OF_A_CACHE)} <= options | {"--config", "--set", "--out"}


def test_the_pages_presets_exist() -> None:
    table = PAGE.partition("## Presets")[2].partition("## ")[0]
    named = set(re.findall(r"`(\w+_x\d(?:_\w+)?|few|small)`", table))
    assert named == {*names(TrainConfig.presets)}
